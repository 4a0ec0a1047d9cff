"""One click: volumes of the scene segmented with the project's model, exported, and the model passed on as a file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semisam.files.volume_files import read_image, read_mask
from semisam.model_file import read_model
from semisam.segments import parse_segments
from small_study import SEGMENTS, SMALL_PLAN, make_images, make_project, open_project

Click = Callable[[Any], None]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    project = make_project(folder / "a" / "project", make_images(folder / "images", 4), annotated=2)
    SMALL_PLAN.save(project.models_dir / "plan.json")
    options = ["--steps", "150", "--generalist", "none", "--framework", "supervised", "--device", "cpu"]
    # In a process of its own: the module's tests notice torch in theirs. On one core, as small steps are fastest there.
    command = [sys.executable, "-m", "semisam", "train", str(project.path), *options]
    subprocess.run(command, check=True, preexec_fn=_on_one_core)
    return project.path


def _on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders of the module go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def session(widget: Any, host: Any, trained_once: Path, tmp_path: Path, temporary: Path) -> Any:
    """A trained project, open in the panel."""
    widget.ui.segmentSection.collapsed = False
    return open_project(widget, host, Path(shutil.copytree(trained_once, tmp_path / "project")))


def made_in_the_scene(name: str, number: int = 0, shift: float = 0.0) -> Any:
    """A volume node that lies in no file, on an oblique grid."""
    import slicer
    import vtk

    folder = Path(tempfile.mkdtemp(prefix="made-"))
    voxels = read_image(make_images(folder / name, number + 1)[number]).voxels
    node = slicer.util.addVolumeFromArray(np.ascontiguousarray(voxels), name=name)
    matrix = vtk.vtkMatrix4x4()
    for row, values in enumerate([(0.96, 0.34, 0, 5 + shift), (-0.28, 1.13, 0, -3), (0, 0, 1.5, 11)]):
        for column, value in enumerate(values):
            matrix.SetElement(row, column, value)
    node.SetIJKToRASMatrix(matrix)
    return node


def study_with(volume: Any) -> tuple[Any, int]:
    """The subject hierarchy, and a study in it that holds the volume; other nodes get items as they do in Slicer."""
    import slicer
    import vtk

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, volume)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def on_node_added(scene: Any, event: str, node: Any) -> None:
        if node.IsA("vtkMRMLSegmentationNode"):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, on_node_added)
    return hierarchy, study


def voxels_of(result: Any, volume: Any) -> np.ndarray:
    """(k, j, i) uint8 on the grid of the volume: 1 head, 2 tail."""
    from SemiSAMPlusLib.scene.grids import Grid
    from SemiSAMPlusLib.scene.segments import find_segment, read_segment

    grid = Grid.of_volume(volume)
    found = np.zeros(grid.shape, np.uint8)
    for value, name in enumerate(SEGMENTS, 1):
        segment_id = find_segment(result, name)
        assert segment_id is not None
        found[read_segment(result, segment_id, grid).whole()] = value
    return found


def leftovers(temporary: Path) -> list[Path]:
    return list(temporary.glob("semisam-[!p]*"))  # those of prompts live as long as the panel


@contextmanager
def asleep(session: Any) -> Iterator[None]:
    """The engine takes requests and answers none: what is to be seen while it works is seen however busy this computer
    is."""
    pid = session.client._process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def wait(widget: Any, host: Any, seconds: float = 120) -> None:
    assert host.process_events(until=lambda: not widget.controller.segment_panel.busy, timeout=seconds)


def action(button: Any, text: str) -> Any:
    return next(item for item in button.menu().actions() if text in str(item.text))


def test_a_volume_that_was_never_saved_is_segmented_beside_it_in_its_study(
    widget: Any, session: Any, host: Any, click: Click, temporary: Path, screenshot: Callable[..., Path]
) -> None:
    import slicer

    ui, volume = widget.ui, made_in_the_scene("ct")
    hierarchy, study = study_with(volume)
    assert "Choose a volume first" in ui.segmentButton.toolTip and not ui.segmentButton.enabled
    widget._parameterNode.inputVolume = volume
    click(ui.segmentButton)
    assert widget.controller.segment_panel.busy, ui.messageLabel.text
    assert not ui.segmentFrame.isHidden() and not ui.segmentButton.enabled
    wait(widget, host)
    assert ui.messageLabel.text == "" and ui.segmentFrame.isHidden()
    assert ui.segmentLabel.text == "1 of 1 volume"
    result = widget.controller.segment_panel.result(volume)
    assert result.GetName() == "ct segmentation"
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert result.GetNodeReference(role) is volume
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(result)) == study
    segmentation = result.GetSegmentation()
    for index, segment in enumerate(session.segments):
        shown = segmentation.GetNthSegment(index)
        assert shown.GetName() == segment.name
        assert [round(255 * value) for value in shown.GetColor()] == list(segment.color)
    bright = slicer.util.arrayFromVolume(volume) > 90
    found = voxels_of(result, volume) > 0
    assert 2 * (found & bright).sum() / (found.sum() + bright.sum()) > 0.5
    assert volume.GetStorageNode() is None and not leftovers(temporary)
    screenshot("segmented", widget.parent)

    click(ui.segmentButton)
    wait(widget, host)
    again = widget.controller.segment_panel.result(volume)
    assert again is not result and slicer.mrmlScene.IsNodePresent(result) and again.GetName() != result.GetName()


def test_masks_are_exported_in_every_format_and_problems_are_told(
    widget: Any, session: Any, host: Any, click: Click, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt
    import slicer

    ui = widget.ui
    path = make_images(tmp_path / "new", 1)[0]
    volume = slicer.util.loadVolume(str(path))
    widget._parameterNode.inputVolume = volume
    assert "Segment this volume first" in ui.exportMaskButton.toolTip
    click(ui.segmentButton)
    wait(widget, host)
    assert volume.GetStorageNode().GetFileName() == str(path)
    expected = None
    for name in ("mask.seg.nrrd", "mask.nii.gz", "mask.nrrd", "without ending"):
        monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *values, name=name: str(tmp_path / name))
        click(ui.exportMaskButton)
        written = tmp_path / (name if "." in name else f"{name}.seg.nrrd")
        mask = read_mask(written, parse_segments("1=head,2=tail"), reference=read_image(path).geometry)
        expected = mask.voxels if expected is None else expected
        assert mask.voxels.any() and np.array_equal(mask.voxels, expected), name
    (tmp_path / "file").write_text("")
    for name, words in (("mask.jpg", "no ending of a mask file"), ("file/mask.nii.gz", "Cannot write")):
        monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *values, name=name: str(tmp_path / name))
        click(ui.exportMaskButton)
        assert words in ui.messageLabel.text and name in ui.messageLabel.text


def test_all_loaded_volumes_are_segmented_but_nothing_that_is_no_image(
    widget: Any, session: Any, host: Any, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    volumes = [made_in_the_scene(f"mr {number}", number, number * 10.0) for number in range(3)]
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    panel, ui = widget.controller.segment_panel, widget.ui
    seen = []
    panel_progress = panel._on_progress
    monkeypatch.setattr(panel, "_on_progress", lambda *values: (seen.append(values), panel_progress(*values)))
    action(ui.segmentAllButton, "All loaded").trigger()
    wait(widget, host)
    assert all(voxels_of(panel.result(volume), volume).any() for volume in volumes)
    assert [words for done, total, words in seen if total == 3 and done] == [f"{n} of 3 volumes" for n in (1, 2, 3)]
    assert not leftovers(temporary)

    monkeypatch.setattr("SemiSAMPlusLib.panels.segment_panel.ask_for_volumes", lambda nodes, *more: nodes[1:2])
    action(ui.segmentAllButton, "Some of").trigger()
    wait(widget, host)
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
    assert len(names) == 4 and sum("mr 1" in name for name in names) == 2


def test_segmenting_is_cancelled_and_a_deleted_volume_is_passed_over(
    widget: Any, session: Any, host: Any, click: Click, temporary: Path
) -> None:
    import slicer

    ui = widget.ui
    volumes = [made_in_the_scene(f"v{number}") for number in range(2)]
    action(ui.segmentAllButton, "All loaded").trigger()
    click(ui.cancelSegmentButton)
    wait(widget, host)
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode") and not leftovers(temporary)
    with asleep(session):
        action(ui.segmentAllButton, "All loaded").trigger()
        assert host.process_events(until=lambda: ui.segmentLabel.text == "the model is being loaded", timeout=30)
        slicer.mrmlScene.RemoveNode(volumes[0])
    wait(widget, host)
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1
    assert ui.messageLabel.text == "" and not leftovers(temporary)
    with asleep(session):
        action(ui.segmentAllButton, "All loaded").trigger()
        assert host.process_events(until=lambda: ui.segmentLabel.text == "the model is being loaded", timeout=30)
        click(ui.cancelSegmentButton)
    wait(widget, host)
    assert ui.messageLabel.text == "" and not leftovers(temporary)
    assert "Choose a volume first" in ui.segmentButton.toolTip


def test_volumes_that_cannot_be_segmented_are_told_by_their_names(
    widget: Any, session: Any, host: Any, temporary: Path
) -> None:
    import slicer

    good = made_in_the_scene("good")
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "the empty one")
    panel = widget.controller.segment_panel
    panel.segment([empty, good])
    wait(widget, host)
    assert "the empty one" in widget.ui.messageLabel.text and panel.result(good) is not None
    flat = slicer.util.addVolumeFromArray(np.full((1, 1, 1), np.nan, np.float32), name="the flat one")
    panel.segment([flat])
    wait(widget, host)
    assert str(temporary) not in widget.ui.messageLabel.text and not leftovers(temporary)


def test_a_project_that_is_closed_or_an_engine_that_dies_leaves_nothing_behind(
    widget: Any, session: Any, host: Any, temporary: Path
) -> None:
    panel, volume = widget.controller.segment_panel, made_in_the_scene("ct")
    with asleep(session):
        panel.segment([volume])
        assert host.process_events(until=lambda: bool(leftovers(temporary)), timeout=30)
        os.kill(session.client._process.pid, signal.SIGKILL)
        wait(widget, host)
    assert widget.ui.messageLabel.text and not leftovers(temporary)
    widget.controller.open_project(session.project)
    opened = widget.controller.session
    assert host.process_events(until=lambda: opened.state.value == "open", timeout=60)
    with asleep(opened):
        panel.segment([volume])
        assert host.process_events(until=lambda: bool(leftovers(temporary)), timeout=30)
        widget.controller.close_project()
    assert host.process_events(until=lambda: not leftovers(temporary), timeout=30)
    assert panel.result(volume) is None and not panel.busy


def test_all_cases_are_proposed_at_once(widget: Any, session: Any, host: Any) -> None:
    revisions = {case.name: case.proposal.revision for case in session.cases if case.proposal}
    assert len(revisions) == 2
    action(widget.ui.segmentAllButton, "All unfinished cases").trigger()
    wait(widget, host)
    newer = lambda: all(session.cases.get(name).proposal.revision > revision for name, revision in revisions.items())  # noqa: E731
    assert host.process_events(until=newer, timeout=30)


# The model as a file --------------------------------------------------------------------------------------------------


def export(widget: Any, host: Any, click: Click, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import qt

    card = {"title": "Ellipsoids", "description": "", "licence": "CC BY 4.0"}
    monkeypatch.setattr("SemiSAMPlusLib.panels.model_panel.ask_for_card", lambda parent: card)
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *values: str(path.with_suffix("")))
    click(widget.ui.exportModelButton)
    assert host.process_events(until=lambda: widget.ui.exportModelButton.enabled, timeout=60)


def choose(monkeypatch: pytest.MonkeyPatch, file: Path, folder: Path | None = None) -> None:
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *values: str(file))
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *values: str(folder or ""))


def test_a_model_goes_to_a_colleague_who_has_no_project(
    widget: Any,
    session: Any,
    host: Any,
    click: Click,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    screenshot: Callable[..., Path],
) -> None:
    ui, path = widget.ui, tmp_path / "ellipsoids.semisam"
    export(widget, host, click, path, monkeypatch)
    assert str(path) in ui.modelLabel.text and ui.messageLabel.text == ""
    card = read_model(path).card
    assert (card.title, card.licence, card.annotated_cases) == ("Ellipsoids", "CC BY 4.0", 2)
    screenshot("exported", widget.parent)

    widget.controller.close_project()
    assert not ui.exportModelButton.enabled and not ui.segmentButton.enabled
    (tmp_path / "colleague").mkdir()
    choose(monkeypatch, path, tmp_path / "colleague")
    click(ui.importModelButton)
    opened = widget.controller.session
    assert host.process_events(until=lambda: opened.state.value == "open", timeout=90), opened.problem
    assert [segment.name for segment in opened.segments] == list(SEGMENTS)
    assert ui.modelLabel.text == "Model: specialist-0001"
    volume = made_in_the_scene("ct")
    widget._parameterNode.inputVolume = volume
    click(ui.segmentButton)
    wait(widget, host)
    assert voxels_of(widget.controller.segment_panel.result(volume), volume).any()


def test_a_model_replaces_another_only_after_asking_and_says_where_that_is(
    widget: Any, session: Any, host: Any, click: Click, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ui, path, before = widget.ui, tmp_path / "m.semisam", session.model
    export(widget, host, click, path, monkeypatch)
    choose(monkeypatch, path)
    host.dialogs.answers.append(False)
    click(ui.importModelButton)
    assert host.process_events(until=lambda: ui.importModelButton.enabled, timeout=60)
    (question,) = host.dialogs.texts("confirmOkCancelDisplay")
    assert "models/previous" in question and "Ellipsoids" in question
    assert session.model == before and not (session.project / "models" / "previous").exists()
    assert session.jobs.training.history and ui.showCurvesButton.enabled
    host.dialogs.answers.append(True)
    click(ui.importModelButton)
    assert host.process_events(until=lambda: session.model != before, timeout=120)
    # The curves were those of the model before, also when the project is opened again.
    assert not session.jobs.training.history and not ui.showCurvesButton.enabled
    assert not (session.project / "log" / "history.jsonl").exists()
    (kept,) = (session.project / "models" / "previous").iterdir()
    assert str(kept) in ui.modelLabel.text


def test_files_that_are_no_models_and_models_of_other_segments_are_told(
    widget: Any, session: Any, host: Any, click: Click, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ui, path = widget.ui, tmp_path / "m.semisam"
    export(widget, host, click, path, monkeypatch)
    broken = tmp_path / "broken.semisam"
    broken.write_bytes(path.read_bytes()[:1000])
    choose(monkeypatch, broken)
    click(ui.importModelButton)
    assert host.process_events(until=lambda: ui.importModelButton.enabled, timeout=60)
    assert str(broken) in ui.messageLabel.text and "damaged" in ui.messageLabel.text

    from semisam.project import Project

    images = make_images(tmp_path / "others", 1)
    other = Project.create(tmp_path / "other", parse_segments("1=liver"))
    other.add_case("case0", images[0])
    open_project(widget, host, other.path)
    assert "The project has no model yet: learn, or import one" in ui.segmentAllButton.toolTip
    choose(monkeypatch, path)
    click(ui.importModelButton)
    assert host.process_events(until=lambda: ui.importModelButton.enabled, timeout=60)
    assert '"head", "tail"' in ui.messageLabel.text and '"liver"' in ui.messageLabel.text

    choose(monkeypatch, path, other.path)
    widget.controller.close_project()
    click(ui.importModelButton)
    assert "is a project already" in ui.messageLabel.text


def test_the_card_is_what_was_typed(widget: Any) -> None:
    from SemiSAMPlusLib.panels.model_dialog import ModelDialog

    dialog = ModelDialog()
    dialog.lines["licence"].text = "CC0"
    assert dialog.card() == {"title": "", "description": "", "licence": "CC0"}


def test_the_device_is_told_in_words_once_the_engine_knows_it(widget: Any, session: Any, host: Any) -> None:
    controller = widget.controller
    assert host.process_events(until=lambda: bool(session.devices), timeout=30)
    assert controller.device_in_words().startswith(next(iter(session.devices.values())))
    assert controller.device_in_words() in widget.ui.learnSummaryLabel.text
    widget._parameterNode.device = "cpu"
    assert controller.device_in_words().startswith("this computer's processor (")
