"""The section "Project": new, open, recent, and adding cases from files, folders, DICOM series and the scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semisam.files.volume_files import read_image, write_image
from semisam.volumes import Geometry, Volume

OBLIQUE = (0.9397, -0.342, 0.0, 0.342, 0.9397, 0.0, 0.0, 0.0, 1.0)


def write(path: Path, seed: int = 0, direction: tuple[float, ...] = OBLIQUE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    geometry = Geometry((6, 8, 7), (2.5, 1.2, 1.0), (-7.0, 12.0, 3.0), direction)
    write_image(path, Volume(np.random.default_rng(seed).normal(50, 6, geometry.shape).astype(np.float32), geometry))
    return path


def write_series(folder: Path) -> Path:
    """A DICOM series of five slices."""
    import SimpleITK as sitk

    folder.mkdir(parents=True)
    voxels = np.arange(5 * 8 * 9, dtype=np.int16).reshape(5, 8, 9)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, slice_voxels in enumerate(voxels):
        image = sitk.GetImageFromArray(slice_voxels[None])
        image.SetSpacing((1.0, 1.0, 3.0))
        for key, value in {
            "0008|0060": "CT",
            "0020|000d": "1.2.3.1",
            "0020|000e": "1.2.3.2",
            "0008|0018": f"1.2.3.2.{number + 1}",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0020|0013": str(number + 1),
            "0020|0032": f"0\\0\\{3 * number}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|0030": "1\\1",
        }.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"slice{number}.dcm"))
        writer.Execute(image)
    return folder


@pytest.fixture
def project(widget: Any, host: Any, tmp_path: Path) -> Any:
    """An empty open project."""
    from SemiSAMPlusLib.cases import SegmentInfo

    widget.controller.open_project(tmp_path / "project", [SegmentInfo(1, "organ", (200, 100, 50))])
    session = widget.controller.session
    assert host.process_events(until=lambda: session.state.value == "open", timeout=60)
    return session


@pytest.fixture
def add(widget: Any, host: Any, project: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Choose an entry of the menu "Add cases" and the files for it; the warnings that came."""
    import qt

    def choose(entry: str, answer: Any = None) -> list[str]:
        for name in ("getOpenFileNames", "getExistingDirectory"):
            monkeypatch.setattr(qt.QFileDialog, name, lambda *arguments: answer)
        adding = widget.controller.project_panel._adding
        action = next(action for action in adding._menu.actions() if action.text.startswith(entry))
        action.trigger()
        assert host.process_events(until=lambda: not adding._adding.busy, timeout=60)
        return [text for kind in ("warningDisplay", "infoDisplay") for text in host.dialogs.texts(kind)]

    return choose


def names(project: Any) -> set[str]:
    return {case.name for case in project.cases}


def test_good_files_become_cases_and_all_others_are_told_in_one_list(
    widget: Any, project: Any, add: Callable[..., list[str]], tmp_path: Path, host: Any
) -> None:
    folder = tmp_path / "images"
    good, also = write(folder / "a.nii.gz"), write(folder / "b.nrrd", 1)
    broken = folder / "broken.nii.gz"
    broken.write_bytes(good.read_bytes()[:200])
    text = folder / "text.nrrd"
    text.write_text("no image")
    missing = folder / "missing.mha"
    shown = add("Image files", tuple(map(str, (good, broken, also, good, text, missing))))
    assert names(project) == {"a", "b"}
    assert len(shown) == 1 and shown[0].startswith("2 images were added, 4 could not be used:")
    for path, words in (
        (broken, "broken"),
        (good, "add it once only"),
        (text, "text.nrrd"),
        (missing, "does not exist"),
    ):
        assert any(str(path) in line and words in line for line in shown[0].splitlines()), (path, shown[0])
    assert "Traceback" not in shown[0] and widget.ui.addingFrame.isHidden()
    assert widget.ui.projectLabel.text == f"{project.project}: 2 cases; structure: organ"


def test_one_added_image_is_told_as_one(
    widget: Any, project: Any, add: Callable[..., list[str]], tmp_path: Path
) -> None:
    good = write(tmp_path / "a.nii.gz")
    (shown,) = add("Image files", (str(good), str(tmp_path / "missing.mha")))
    assert shown.startswith("1 image was added, 1 could not be used:")
    assert widget.ui.projectLabel.text == f"{project.project}: 1 case; structure: organ"


def test_files_of_one_name_in_several_folders_are_told_apart(
    project: Any, add: Callable[..., list[str]], tmp_path: Path
) -> None:
    paths = [
        write(tmp_path / patient / "t1.nii.gz", seed) for seed, patient in enumerate(("anna", "berta", "anna/old"))
    ]
    assert add("Image files", tuple(map(str, paths))) == []
    assert names(project) == {"t1", "berta_t1", "old_t1"}


def test_a_folder_gives_its_images_and_series_but_no_segmentations(
    project: Any, add: Callable[..., list[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    image = write(folder / "a.nii")
    write(folder / ".hidden.nii.gz")
    (folder / "a.seg.nrrd").write_bytes(image.read_bytes())
    (folder / "notes.txt").write_text("x")
    write_series(folder / "CT 1")
    assert add("All images", str(folder)) == []
    assert names(project) == {"a", "CT 1"}
    assert project.cases.get("CT 1").image == folder / "CT 1"


def test_a_folder_without_images_is_told(project: Any, add: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no NIfTI" in add("All images", str(tmp_path / "empty"))[0]
    assert names(project) == set()


def test_a_dicom_folder_becomes_a_case(project: Any, add: Callable[..., list[str]], tmp_path: Path) -> None:
    assert add("DICOM series", str(write_series(tmp_path / "series 7"))) == []
    assert names(project) == {"series 7"}


def test_volumes_of_the_scene_keep_their_geometry(
    project: Any, add: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer
    import vtk

    monkeypatch.setattr("SemiSAMPlusLib.panels.adding_panel.ask_for_volumes", lambda nodes, parent: nodes)
    stored = write(tmp_path / "stored.nii.gz")
    slicer.util.loadVolume(str(stored))
    changed = slicer.util.loadVolume(str(write(tmp_path / "changed.nii.gz", 1)))
    slicer.util.arrayFromVolume(changed)[0, 0, 0] = 999
    slicer.util.arrayFromVolumeModified(changed)
    new = slicer.util.addVolumeFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4), name="2: T1/axial")
    matrix = vtk.vtkMatrix4x4()
    for place, value in zip(
        ((0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (0, 3), (2, 3)), (-0.8, 0.6, -0.6, -0.8, 2.0, 5.0, -4.0), strict=True
    ):
        matrix.SetElement(*place, value)
    new.SetIJKToRASMatrix(matrix)
    series = slicer.util.addVolumeFromArray(np.zeros((2, 2, 2), np.int16), name="label")
    series.SetHideFromEditors(True)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    files = [node.GetStorageNode() and node.GetStorageNode().GetFileName() for node in (changed, new)]

    assert add("Volumes of the scene") == []

    assert names(project) == {"stored", "changed", "2_ T1_axial"}
    assert project.cases.get("stored").image == stored
    written = project.cases.get("2_ T1_axial").image
    assert written.is_relative_to(project.project)
    volume = read_image(written)
    assert volume.voxels.ravel().tolist() == list(range(24))
    geometry = volume.geometry
    assert geometry.spacing == pytest.approx((2.0, 1.0, 1.0))
    assert geometry.origin == pytest.approx((-5.0, 0.0, -4.0))
    # From RAS to LPS the first two rows change their signs.
    assert geometry.direction == pytest.approx((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1), abs=1e-6)
    assert read_image(project.cases.get("changed").image).voxels[0, 0, 0] == 999
    assert files == [node.GetStorageNode() and node.GetStorageNode().GetFileName() for node in (changed, new)]
    assert "already" in add("Volumes of the scene")[0]


def test_a_volume_of_several_instance_files_is_copied_into_the_project(
    project: Any, add: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    from SemiSAMPlusLib.scene.images import load_image
    from SemiSAMPlusLib.scene.nodes import Logics

    monkeypatch.setattr("SemiSAMPlusLib.panels.adding_panel.ask_for_volumes", lambda nodes, parent: nodes)
    folder = write_series(tmp_path / "database" / "0a1b")
    load_image(Logics(slicer.mrmlScene), folder, "3: CT")
    assert add("Volumes of the scene") == []
    image = project.cases.get("3_ CT").image
    assert image.is_relative_to(project.project)
    copied, original = read_image(image), read_image(folder)
    assert copied.geometry.is_close(original.geometry) and np.array_equal(copied.voxels, original.voxels)


def test_adding_many_shows_progress_and_can_be_cancelled(
    widget: Any,
    host: Any,
    project: Any,
    tmp_path: Path,
    click: Callable[[Any], None],
    screenshot: Callable[..., Path],
) -> None:
    ui = widget.ui
    widget.controller.project_panel.add_files([write(tmp_path / f"i{n:03d}.nii.gz", n) for n in range(60)])
    assert not ui.addingFrame.isHidden()
    assert host.process_events(until=lambda: ui.addingBar.value >= 2, timeout=60)
    assert ui.addingBar.maximum == 60
    screenshot("adding", ui.projectSection)
    click(ui.cancelAddingButton)
    assert host.process_events(until=lambda: ui.addingFrame.isHidden(), timeout=30)
    assert 2 <= len(project.cases) < 60 and host.dialogs.shown == []


def test_an_engine_that_dies_in_the_middle_leaves_the_rest_told(
    widget: Any, host: Any, project: Any, tmp_path: Path
) -> None:
    import os
    import signal

    widget.controller.project_panel.add_files([write(tmp_path / f"i{n:02d}.nii.gz", n) for n in range(30)])
    assert host.process_events(until=lambda: len(project.cases) >= 1, timeout=60)
    os.kill(project.client._process.pid, signal.SIGKILL)
    assert host.process_events(until=lambda: host.dialogs.texts("warningDisplay") != [], timeout=30)
    assert "could not be used" in host.dialogs.texts("warningDisplay")[0] and widget.ui.addingFrame.isHidden()


def test_recent_projects_that_are_gone_are_shown_but_cannot_be_chosen(
    widget: Any, project: Any, tmp_path: Path
) -> None:
    panel = widget.controller.project_panel
    panel._recent.add(tmp_path / "gone")
    panel._fill_recent()
    entries = {action.text: action for action in panel._recent_menu.actions()}
    assert entries[str(project.project)].enabled
    assert not entries[str(tmp_path / "gone")].enabled and "not there" in entries[str(tmp_path / "gone")].toolTip
    panel._recent.remove(tmp_path / "gone")


def test_new_and_open_answer_wrong_folders_in_words(
    widget: Any, host: Any, project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, click: Callable[[Any], None]
) -> None:
    import qt

    from SemiSAMPlusLib.cases import SegmentInfo

    def choose(folder: Path) -> None:
        monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *arguments: str(folder))

    asked: list[Any] = []
    monkeypatch.setattr(
        "SemiSAMPlusLib.panels.project_panel.ask_for_segments",
        lambda parent: asked.append(parent) or (SegmentInfo(1, "liver", (1, 2, 3)),),
    )
    choose(tmp_path / "images")
    click(widget.ui.openProjectButton)
    assert "is not a project" in host.dialogs.texts("errorDisplay")[0]
    host.dialogs.answers[:] = [False]
    choose(project.project)
    click(widget.ui.newProjectButton)
    assert "is a project already" in host.dialogs.texts("confirmYesNoDisplay")[0]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter").write_text("")
    host.dialogs.answers[:] = [False]
    choose(tmp_path / "other")
    click(widget.ui.newProjectButton)
    assert "holds other files" in host.dialogs.texts("confirmYesNoDisplay")[1] and asked == []
    assert widget.controller.session is project
    (tmp_path / "new").mkdir()
    choose(tmp_path / "new")
    click(widget.ui.newProjectButton)
    session = widget.controller.session
    assert host.process_events(until=lambda: session.state.value == "open", timeout=60)
    assert session.project == tmp_path / "new" and session.segments[0].name == "liver"


def test_what_lies_in_the_project_is_not_offered_as_a_case(
    project: Any, add: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    offered: list[str] = []
    monkeypatch.setattr(
        "SemiSAMPlusLib.panels.adding_panel.ask_for_volumes",
        lambda nodes, parent: offered.extend(node.GetName() for node in nodes) or [],
    )
    slicer.util.loadVolume(str(write(project.project / "proposals" / "a.uncertainty.nii.gz")))
    slicer.util.loadVolume(str(write(tmp_path / "other.nii.gz")))
    add("Volumes of the scene")
    assert offered == ["other"]
