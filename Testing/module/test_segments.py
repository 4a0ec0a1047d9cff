"""The structures of a project: the dialog, and changing them later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LIVER = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^10200004^Liver~^^~"
    "Anatomic codes - DICOM master list~^^~^^"
)


def dialog_of(*segments: tuple[int, str], used: bool = False) -> Any:
    from SemiSAMPlusLib.cases import SegmentInfo
    from SemiSAMPlusLib.segments_dialog import SegmentsDialog

    return SegmentsDialog([SegmentInfo(value, name, (10 * value, 20, 30)) for value, name in segments], used=used)


def ok(dialog: Any) -> Any:
    import qt

    return dialog.buttons.button(qt.QDialogButtonBox.Ok)


def test_names_are_checked_while_they_are_typed(module: Any, host: Any, screenshot: Callable[..., Path]) -> None:
    dialog = dialog_of()
    assert ok(dialog).enabled
    first = dialog.rows[0]
    first.name_edit.text = "  "
    assert dialog.problem.text == "Name at least one structure." and not ok(dialog).enabled
    first.name_edit.text = "Liver"
    second = dialog.add_row()
    assert ok(dialog).enabled and len(dialog.segments()) == 1
    second.name_edit.text = " liver"
    assert '"Liver" is there twice' in dialog.problem.text and not ok(dialog).enabled
    dialog.window.show()
    screenshot("structures", dialog.window)
    second.name_edit.text = "x" * 65
    assert "too long" in dialog.problem.text
    second.name_edit.text = "Spleen"
    assert ok(dialog).enabled
    assert [(item.value, item.name) for item in dialog.segments()] == [(1, "Liver"), (2, "Spleen")]
    assert dialog.segments()[0].color != dialog.segments()[1].color


def test_a_removed_row_frees_its_value_but_the_others_keep_theirs(module: Any, host: Any) -> None:
    dialog = dialog_of((1, "a"), (2, "b"), (3, "c"))
    dialog.remove_row(dialog.rows[1])
    dialog.add_row().name_edit.text = "d"
    assert [(item.value, item.name) for item in dialog.segments()] == [(1, "a"), (3, "c"), (2, "d")]


def test_more_than_255_are_refused(module: Any, host: Any) -> None:
    dialog = dialog_of(*((value, f"s{value}") for value in range(1, 256)))
    assert ok(dialog).enabled and not dialog.more_button.enabled


def test_with_masks_structures_cannot_come_or_go(module: Any, host: Any) -> None:
    dialog = dialog_of((1, "a"), (2, "b"), used=True)
    assert not dialog.more_button.enabled and dialog.rows[0].remove_button.isHidden()
    dialog.rows[0].name_edit.text = ""
    assert dialog.problem.text == "Every structure needs a name."


def test_terminology_names_and_colors_a_structure(module: Any, host: Any) -> None:
    dialog = dialog_of()
    row = dialog.add_row()
    row.describe(LIVER, (221, 130, 101))
    segment = dialog.segments()[1]
    assert (segment.name, segment.color, segment.terminology) == ("Liver", (221, 130, 101), LIVER)
    assert row.terminology_button.text == "Liver"
    row.name_edit.text = "whole liver"
    row.describe(LIVER)
    assert dialog.segments()[1].name == "whole liver"


def test_slicers_own_navigator_gives_the_entry(module: Any, host: Any) -> None:
    from SemiSAMPlusLib.terminology import TerminologyDialog, terminology_in_words

    serialized, _color = TerminologyDialog(LIVER).chosen()
    assert serialized == LIVER and terminology_in_words(serialized) == "Liver"
    assert TerminologyDialog("").chosen() is None and terminology_in_words("damaged") == ""


@pytest.fixture
def project(widget: Any, host: Any, tmp_path: Path) -> Any:
    """The sample project, its first case open."""
    controller = widget.controller
    controller.make_sample_project(tmp_path / "sample")
    assert host.process_events(
        until=lambda: controller.session is not None and controller.session.state.value == "open", timeout=60
    )
    controller.open_case("case01")
    return controller.session


def change(monkeypatch: pytest.MonkeyPatch, edit: Callable[[Any], None]) -> list[Any]:
    """Answer the dialog by ``edit`` and OK; the dialogs that were shown."""
    from SemiSAMPlusLib import segments_dialog

    shown: list[Any] = []

    def answer(segments: Any, *, used: bool, parent: Any) -> Any:
        dialog = segments_dialog.SegmentsDialog(segments, used=used)
        shown.append(dialog)
        edit(dialog)
        return dialog.segments()

    monkeypatch.setattr("SemiSAMPlusLib.panels.project_panel.ask_for_changes", answer)
    return shown


def test_structures_are_renamed_recolored_and_described_later(
    widget: Any, host: Any, project: Any, click: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from SemiSAMPlusLib.scene.segments import find_segment, read_segment

    scene = widget.controller.case_scene
    before = read_segment(scene.annotation, find_segment(scene.annotation, "head"), scene.grid).count

    def edit(dialog: Any) -> None:
        import qt

        dialog.rows[0].name_edit.text = "whole liver"
        dialog.rows[0].color_button.color = qt.QColor(255, 0, 51)
        dialog.rows[0].describe(LIVER)

    shown = change(monkeypatch, edit)
    click(widget.ui.segmentsButton)
    assert shown[0]._used
    assert host.process_events(until=lambda: project.segments[0].name == "whole liver", timeout=30)
    assert host.process_events(until=lambda: widget.controller.current_case() == "case01", timeout=30)
    assert "whole liver, tail" in widget.ui.projectLabel.text
    annotation = widget.controller.case_scene.annotation
    key = find_segment(annotation, "whole liver")
    segment = annotation.GetSegmentation().GetSegment(key)
    assert segment.GetColor() == pytest.approx((1.0, 0.0, 0.2))
    import vtk

    tag = vtk.reference("")
    assert segment.GetTag("TerminologyEntry", tag) and str(tag) == LIVER
    assert read_segment(annotation, key, scene.grid).count == before > 0
    stored = json.loads((project.project / "project.json").read_text())["segments"][0]
    assert stored["terminology"] == LIVER and stored["former_names"] == ["head"]


def test_what_the_engine_refuses_is_told_and_the_case_opens_again(
    widget: Any, host: Any, project: Any, click: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap(dialog: Any) -> None:
        for row, name in zip(dialog.rows, ("tail", "head"), strict=True):
            row.name_edit.text = name

    change(monkeypatch, swap)
    click(widget.ui.segmentsButton)
    assert host.process_events(until=lambda: host.dialogs.texts("errorDisplay") != [], timeout=30)
    assert "choose another name" in host.dialogs.texts("errorDisplay")[0]
    assert host.process_events(until=lambda: widget.controller.current_case() == "case01", timeout=30)
    assert [segment.name for segment in project.segments] == ["head", "tail"]
