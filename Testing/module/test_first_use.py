"""First use: what is missing is told, asked for and installed; nothing is downloaded in these tests.

``PythonSlicer`` is a program that answers like one, from a file that an "installation" changes. The PyTorch extension
and the network are not to be had here; what stands for them records how it was called.
"""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PACKAGES = ("torch", "monai", "numpy", "SimpleITK", "scipy", "skimage", "safetensors")
WHOLE = dict.fromkeys(PACKAGES, "1.0")


class FakePython:
    """A program that answers the finder's question with what ``has`` says."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.answer, self.asked = folder / "answer.json", folder / "asked.txt"
        self.site = folder / "site-packages"
        self.site.mkdir()
        self.program = folder / "PythonSlicer"
        self.program.write_text(f"#!/bin/sh\necho \"$3\" >> '{self.asked}'\necho \"PROBE $(cat '{self.answer}')\"\n")
        self.program.chmod(0o755)
        self.has(WHOLE)

    def has(self, packages: dict[str, str], reasons: dict[str, str] | None = None) -> None:
        content = {"version": [3, 12, 1], "packages": packages, "site": str(self.site), "reasons": reasons or {}}
        self.answer.write_text(json.dumps(content))

    @property
    def questions(self) -> list[str]:
        return self.asked.read_text().split() if self.asked.exists() else []


@pytest.fixture
def python(tmp_path: Path) -> FakePython:
    return FakePython(tmp_path / "slicer")


@pytest.fixture
def panel(host: Any, module: Any, python: FakePython, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """A set-up panel for this PythonSlicer, and no other Python unless ``variable`` names one."""
    import qt
    import slicer

    from SemiSAMPlusLib.panels.setup_panel import PENDING_KEY, SetupPanel
    from SemiSAMPlusLib.python_finder import PythonFinder
    from SemiSAMPlusLib.qprocess import QtProcess, QtScheduler

    requirements = Path(slicer.util.modulePath("SemiSAMPlus")).parent / "Resources" / "requirements.txt"
    uis = []

    def make(program: Path | None = python.program, variable: str = "") -> Any:
        ui_widget = slicer.util.loadUI(str(requirements.parent / "UI" / "SemiSAMPlus.ui"))
        ui = slicer.util.childWidgetVariables(ui_widget)
        uis.append(ui_widget)
        environment = {"PATH": os.environ["PATH"]} | ({"SEMISAMPLUS_PYTHON": variable} if variable else {})
        finder = PythonFinder(
            QtProcess, QtScheduler(), environment, python_slicer=str(program) if program is not None else None
        )
        made = SetupPanel(ui, finder, requirements)
        made.ui = ui
        return made

    yield make
    qt.QSettings().remove(PENDING_KEY)


@pytest.fixture
def look(host: Any) -> Callable[[Any], str]:
    """Let it look; what it says then."""

    def ask(panel: Any) -> str:
        panel.look()
        assert host.process_events(until=lambda: not panel._looking, timeout=60)
        return str(panel.ui.setupLabel.text)

    return ask


class Recorder:
    """What stands for slicer.packaging and the extension: records, and changes what the Python answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []


@pytest.fixture
def installing(host: Any, python: FakePython, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    import slicer

    recorder = Recorder()

    def pip_ensure(requirements: Any, constraints: str, prompt_install: bool, requester: str) -> None:
        recorder.calls.append(("pip", (list(requirements), Path(constraints).read_text(), prompt_install, requester)))
        python.has({**json.loads(python.answer.read_text())["packages"], **dict.fromkeys(PACKAGES[1:], "1.0")})

    monkeypatch.setattr(slicer.packaging, "pip_ensure", pip_ensure)
    return recorder


@pytest.fixture
def extension(python: FakePython, installing: Recorder, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The PyTorch extension, as far as it is used."""

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation: bool = False) -> object:  # noqa: N802, N803  # Slicer's names
            installing.calls.append(("torch", askConfirmation))
            python.has({**json.loads(python.answer.read_text())["packages"], "torch": "2.9"})
            return object()

    made = types.ModuleType("PyTorchUtils")
    made.PyTorchUtilsLogic = PyTorchUtilsLogic  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "PyTorchUtils", made)
    return made


def lacking(*names: str, torch: str = "1.0") -> dict[str, str]:
    return {**WHOLE, "torch": torch, **dict.fromkeys(names, "")}


def test_a_python_with_everything_hides_the_frame(panel: Any, look: Any, python: FakePython) -> None:
    made = panel()
    look(made)
    assert made.ready and made.ui.setupFrame.isHidden() and python.questions == ["quick"]


def test_without_any_python_the_remedy_is_told(panel: Any, look: Any) -> None:
    made = panel(program=None)
    text = look(made)
    assert "SEMISAMPLUS_PYTHON" in text and "torch" in text
    assert not made.ready and made.ui.setupButton.isHidden() and not made.ui.setupFrame.isHidden()


def test_a_variable_that_leads_nowhere_is_told_with_its_path(panel: Any, look: Any, tmp_path: Path) -> None:
    text = look(panel(program=None, variable=str(tmp_path / "nowhere")))
    assert str(tmp_path / "nowhere") in text and "SEMISAMPLUS_PYTHON" in text


def test_the_variable_serves_where_slicers_python_lacks_something(
    panel: Any, look: Any, python: FakePython, tmp_path: Path
) -> None:
    python.has(lacking("monai", torch=""))
    other = FakePython(tmp_path / "hospital")
    made = panel(variable=str(other.program))
    look(made)
    assert made.ready and made.launch(("status", "x")).program == str(other.program)


def test_neither_has_the_packages_and_both_are_named(panel: Any, look: Any, python: FakePython, tmp_path: Path) -> None:
    python.has(lacking(torch=""))
    other = FakePython(tmp_path / "hospital")
    other.has(lacking("monai"))
    text = look(panel(variable=str(other.program)))
    assert f'"{python.program}" lacks torch' in text and f'"{other.program}" lacks monai' in text


def test_consent_tells_packages_size_and_place_and_no_means_no(
    panel: Any, look: Any, python: FakePython, host: Any, click: Any, installing: Recorder, screenshot: Any
) -> None:
    python.has(lacking("monai", torch=""))
    made = panel()
    look(made)
    made.ui.setupFrame.show()
    screenshot("first-use", made.ui.setupFrame)
    host.dialogs.answers[:] = [False]
    click(made.ui.setupButton)
    (asked,) = host.dialogs.texts("confirmOkCancelDisplay")
    for words in ("torch, monai", "1200 MB", str(python.site), "offline", "NVIDIA"):
        assert words in asked
    assert installing.calls == [] and not made.ready


@pytest.mark.parametrize(
    ("missing", "consent", "remedy"),
    [
        (("monai",), "needs the package monai in the Python of Slicer.\nIt is downloaded", "install it there"),
        (("torch", "monai"), "packages in the Python of Slicer: torch, monai.\nThey are", "install them there"),
    ],
)
def test_one_package_is_not_many(host: Any, missing: tuple[str, ...], consent: str, remedy: str) -> None:
    from SemiSAMPlusLib.installation import consent_text
    from SemiSAMPlusLib.python_finder import PythonProbe

    probe = PythonProbe("py", "PythonSlicer", versions={name: "" for name in missing})
    assert consent in consent_text(probe) and remedy in probe.text()


def test_torch_comes_by_its_extension_and_the_rest_by_packaging(
    panel: Any, look: Any, python: FakePython, host: Any, click: Any, installing: Recorder, extension: Any
) -> None:
    import numpy

    python.has(lacking("monai", torch=""))
    made = panel()
    look(made)
    host.dialogs.answers[:] = [True]
    click(made.ui.setupButton)
    assert host.process_events(until=lambda: made.ready, timeout=60)
    assert [kind for kind, _ in installing.calls] == ["torch", "pip"] and installing.calls[0][1] is False
    requirements, constraints, prompt, requester = installing.calls[1][1]
    assert any(text.startswith("monai") for text in requirements) and not any("torch" in text for text in requirements)
    assert f"numpy=={numpy.__version__}" in constraints and (prompt, requester) == (False, "SemiSAM+")
    assert made.ui.setupFrame.isHidden() and python.questions[-1] == "thorough"
    import qt

    from SemiSAMPlusLib.panels.setup_panel import PENDING_KEY

    assert not qt.QSettings().value(PENDING_KEY)
    assert "torch" not in sys.modules


def test_a_wish_that_waited_is_served_after_the_installation(
    panel: Any, look: Any, python: FakePython, host: Any, click: Any, installing: Recorder
) -> None:
    python.has(lacking("monai"))
    made, served = panel(), []
    made.when_ready(lambda: served.append(1))
    assert host.process_events(until=lambda: not made._looking, timeout=60) and served == []
    host.dialogs.answers[:] = [True]
    click(made.ui.setupButton)
    assert host.process_events(until=lambda: served == [1], timeout=60)


def test_half_an_installation_is_cleared_away_first(
    panel: Any, look: Any, python: FakePython, host: Any, click: Any, installing: Recorder, extension: Any
) -> None:
    halves = ("torch/lib", "torch-2.9.dist-info", "torchvision", "skimage", "scikit_image-0.25.dist-info")
    for name in (*halves, "torchmetrics", "monai"):
        (python.site / name).mkdir(parents=True)
    python.has({**lacking(torch="broken"), "skimage": "broken"})
    made = panel()
    assert "in part only" in look(made)
    host.dialogs.answers[:] = [True]
    click(made.ui.setupButton)
    assert host.process_events(until=lambda: made.ready, timeout=60)
    assert sorted(path.name for path in python.site.iterdir()) == ["monai", "torchmetrics"]


def test_after_an_installation_that_did_not_end_the_packages_are_tried(
    panel: Any, look: Any, python: FakePython
) -> None:
    import qt

    from SemiSAMPlusLib.panels.setup_panel import PENDING_KEY

    qt.QSettings().setValue(PENDING_KEY, True)
    python.has(lacking("monai"))
    look(panel())
    assert python.questions[-1] == "thorough"


def test_a_package_that_cannot_be_loaded_after_the_installation_is_told(
    panel: Any, look: Any, python: FakePython, host: Any, click: Any, installing: Recorder, extension: Any
) -> None:
    python.has(lacking(torch=""))
    made = panel()
    look(made)
    logic = extension.PyTorchUtilsLogic

    def install(self: Any, askConfirmation: bool = False) -> object:  # noqa: N803
        python.has(lacking(torch="broken"), {"torch": "c10.dll: module not found"})
        return object()

    logic.installTorch = install
    host.dialogs.answers[:] = [True]
    click(made.ui.setupButton)
    assert host.process_events(until=lambda: "c10.dll" in made.ui.setupLabel.text, timeout=60)
    assert "install it again" in made.ui.setupLabel.text and made.ui.setupButton.enabled and not made.ready


def test_offline_the_failure_is_one_sentence_with_the_remedy(
    panel: Any, look: Any, python: FakePython, host: Any, click: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    def fail(*arguments: Any, **keywords: Any) -> None:
        raise RuntimeError("pip ended with 1\nERROR: Could not find a version that satisfies the requirement monai")

    monkeypatch.setattr(slicer.packaging, "pip_ensure", fail)
    python.has(lacking("monai"))
    made = panel()
    look(made)
    host.dialogs.answers[:] = [True]
    click(made.ui.setupButton)
    text = made.ui.setupLabel.text
    assert "Could not find a version" in text and "internet connection" in text and "SEMISAMPLUS_PYTHON" in text
    assert made.ui.setupButton.enabled and "Traceback" not in text
    # After a restart it is remembered that something was begun.
    again = panel()
    assert look(again).startswith("The installation is not finished")


def test_without_the_extension_the_way_to_it_is_told(
    panel: Any, look: Any, python: FakePython, host: Any, click: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    python.has(lacking(torch=""))
    made = panel()
    look(made)
    host.dialogs.answers[:] = [True]
    click(made.ui.setupButton)
    assert "Extensions Manager" in made.ui.setupLabel.text and "restart Slicer" in made.ui.setupLabel.text


def test_the_extension_is_installed_and_slicer_restarted(
    panel: Any, look: Any, python: FakePython, host: Any, click: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This host's Slicer has no extensions manager, as the one whose API was read; here is one."""
    import slicer

    calls: list[Any] = []

    class Manager:
        interactive = True

        def installExtensionFromServer(self, name: str, restart: bool) -> bool:  # noqa: N802
            calls.append((name, restart, self.interactive))
            return True

    from SemiSAMPlusLib import installation

    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    monkeypatch.setattr("SemiSAMPlusLib.panels.setup_panel.can_install_extension", lambda: True)
    monkeypatch.setattr(
        installation, "slicer", types.SimpleNamespace(app=types.SimpleNamespace(extensionsManagerModel=Manager))
    )
    monkeypatch.setattr(slicer.util, "restart", lambda: calls.append("restart"))
    python.has(lacking(torch=""))
    made = panel()
    look(made)
    host.dialogs.answers[:] = [True, True, True]
    click(made.ui.setupButton)
    assert calls == [("PyTorch", False, False), "restart"]
    assert "Restart Slicer" in made.ui.setupLabel.text
    # The restarted Slicer.
    again = panel()
    assert look(again).startswith("The installation is not finished: press Install to go on.")


def test_check_again_finds_what_was_installed_elsewhere(
    panel: Any, look: Any, python: FakePython, host: Any, click: Any
) -> None:
    python.has(lacking("monai"))
    made = panel()
    look(made)
    python.has(WHOLE)
    click(made.ui.setupCheckButton)
    assert host.process_events(until=lambda: made.ready, timeout=60) and python.questions[-1] == "thorough"


def test_a_real_python_is_checked_thoroughly(host: Any, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from SemiSAMPlusLib import python_finder
    from SemiSAMPlusLib.qprocess import QtProcess, QtScheduler

    monkeypatch.setattr(python_finder, "PACKAGES", ("json", "antigravity_does_not_exist"))
    found: list[Any] = []
    finder = python_finder.PythonFinder(
        QtProcess, QtScheduler(), {"PATH": os.environ["PATH"], "SEMISAMPLUS_PYTHON": sys.executable}
    )
    finder.find(found.append, lambda text, probes: found.append(probes[-1]), thorough=True)
    assert host.process_events(until=lambda: found, timeout=60)
    assert found[0].versions == {"json": "unknown", "antigravity_does_not_exist": ""}
    assert Path(found[0].site).is_dir() and found[0].reasons == {}
