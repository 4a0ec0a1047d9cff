"""``SemiSAMPlusTest``, which is for inside Slicer, runs in the host as well; and the generic tests' conditions."""

from __future__ import annotations

import sys
import unittest
from typing import Any

import pytest

from SemiSAMPlusLib.self_test import Stories

STORIES = [
    "test_parameters_have_defaults_and_are_kept_in_the_scene",
    *unittest.defaultTestLoader.getTestCaseNames(Stories),
]


def run(name: str) -> unittest.TestResult:
    """Run one of them as Slicer's test runner does."""
    result = unittest.TestResult()
    sys.modules["SemiSAMPlus"].SemiSAMPlusTest(name).run(result)
    return result


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "test_whole_story" else name for name in STORIES]
)
def test_inside_slicer(widget: Any, name: str) -> None:
    result = run(name)
    assert result.testsRun == 1 and result.wasSuccessful(), result.failures + result.errors


def test_reload_and_test_runs_all_of_them(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    test_class = sys.modules["SemiSAMPlus"].SemiSAMPlusTest
    done: list[str] = []
    for name in STORIES:
        monkeypatch.setattr(test_class, name, lambda self, name=name: done.append(name))
    test_class().runTest()
    assert sorted(done) == sorted(STORIES)


def test_without_the_engine_the_rest_is_tested_and_that_is_said(
    widget: Any, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = widget.controller.setup_panel
    monkeypatch.setattr(panel, "_probe", None)
    monkeypatch.setattr(panel._finder, "_current", {"PATH": ""})
    said: list[str] = []
    test_class = sys.modules["SemiSAMPlus"].SemiSAMPlusTest
    monkeypatch.setattr(test_class, "say", lambda self, text: said.append(text))
    assert run("test_whole_story").wasSuccessful()
    assert len(said) == 1 and said[0].startswith("Without the engine:") and "SEMISAMPLUS_PYTHON" in said[0]
    monkeypatch.undo()
    panel.look()  # the widget outlives this test: what it says about the engine must be true again
    assert host.process_events(until=lambda: widget.ui.setupFrame.isHidden(), timeout=60)


def test_the_widget_is_made_and_works_without_a_main_window(
    host: Any, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    monkeypatch.setattr(slicer.util, "mainWindow", lambda verbose=True: None)
    monkeypatch.setattr(type(slicer.app), "layoutManager", lambda self: None, raising=False)
    before = slicer.modules.SemiSAMPlusWidget if hasattr(slicer.modules, "SemiSAMPlusWidget") else None
    made = slicer.modules.semisamplus.createNewWidgetRepresentation()
    widget = slicer.modules.SemiSAMPlusWidget
    try:
        assert widget is not before and widget.ui.projectLabel.text == "No project is open."
        foreign = slicer.vtkMRMLScene()
        made.setMRMLScene(foreign)
        foreign.Clear(False)
        made.setMRMLScene(slicer.mrmlScene)
        widget.enter()
        assert host.process_events(until=lambda: widget.controller.setup_panel.ready, timeout=60)
        widget.exit()
        for text in (
            module.title,
            module.helpText,
            module.acknowledgementText,
            *module.categories,
            *module.contributors,
        ):
            assert text
    finally:
        widget.cleanup()
        slicer.modules.SemiSAMPlusWidget = before
