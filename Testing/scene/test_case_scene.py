"""Cases in a real MRML scene: images, annotations, proposals, on straight, flipped and oblique grids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: pip install slicer-core")
pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: the tests write their files with it")

import numpy as np
import SimpleITK as sitk
import slicer

import images
from places import VOLUMES
from SemiSAMPlusLib.cases import CaseInfo, MaskInfo, SegmentInfo
from SemiSAMPlusLib.scene.case_scene import CaseScene
from SemiSAMPlusLib.scene.grids import Grid, Patch, to_vtk, world_to_volume
from SemiSAMPlusLib.scene.images import ImageError, load_image
from SemiSAMPlusLib.scene.mask_files import MaskFileError, export_mask, write_segmentation
from SemiSAMPlusLib.scene.nodes import Logics
from SemiSAMPlusLib.scene.preview import PromptPreview
from SemiSAMPlusLib.scene.segments import (
    SegmentStatus,
    add_segment,
    find_segment,
    read_segment,
    segment_ids,
    status_of,
    write_segment,
)

SEGMENTS = (SegmentInfo(1, "head", (200, 10, 20)), SegmentInfo(2, "tail", (20, 200, 30)))
NAMES = {1: "head", 2: "tail"}


def labels() -> np.ndarray:
    voxels = np.zeros(images.SHAPE, np.uint8)
    voxels[2:6, 3:9, 4:12] = 1
    voxels[6:9, 3:7, 5:15] = 2
    return voxels


def case(folder: Path, kind: str = "straight", *, proposal: bool = True, annotation: np.ndarray | None = None) -> Any:
    image, mask, drawn = folder / "a.nrrd", folder / "p.seg.nrrd", folder / "d.seg.nrrd"
    images.write_image(image, kind)
    images.write_mask(mask, labels(), NAMES, kind)
    if annotation is not None:
        images.write_mask(drawn, annotation, NAMES, kind)
    state = "new" if annotation is None else "in work"
    return CaseInfo(
        "a",
        image,
        "proposed" if proposal and annotation is None else state,
        0.7 if proposal else None,
        None if annotation is None else MaskInfo(drawn, 1, {}),
        MaskInfo(mask, 1, {}) if proposal else None,
    )


def voxels(node: Any, name: str, volume: Any) -> np.ndarray:
    """(k, j, i) bool on the volume node's grid."""
    key = find_segment(node, name)
    assert key is not None
    return read_segment(node, key, Grid.of_volume(volume)).whole()


def paint(node: Any, name: str, box: tuple[slice, slice, slice], volume: Any) -> None:
    key, grid = find_segment(node, name), Grid.of_volume(volume)
    array = read_segment(node, key, grid).whole()
    array[box] = True
    write_segment(node, key, Patch(grid, (0, 0, 0), array))


# Geometry -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", images.KINDS)
@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz"])
def test_the_grid_of_a_volume_node_says_where_the_voxels_lie(
    scene: Any, tmp_path: Path, kind: str, ending: str
) -> None:
    images.write_image(tmp_path / f"a{ending}", kind)
    node = load_image(Logics(scene), tmp_path / f"a{ending}", "a")
    file = sitk.ReadImage(str(tmp_path / f"a{ending}"))
    array = slicer.util.arrayFromVolume(node)
    grid = Grid.of_volume(node)
    for k, j, i in ((0, 0, 0), (11, 15, 19), (3, 5, 7), (8, 2, 18)):
        found = np.rint(grid.to_kji(images.point_ras(file, k, j, i))[0]).astype(int)
        assert array[tuple(found)] == file[i, j, k]
        assert grid.to_ras(found)[0] == pytest.approx(images.point_ras(file, k, j, i), abs=1e-3)


@pytest.mark.parametrize("kind", images.KINDS)
def test_a_proposal_is_an_editable_segmentation_on_the_grid_of_the_image(scene: Any, tmp_path: Path, kind: str) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path, kind), SEGMENTS)
    proposal, volume = case_scene.proposal, case_scene.volume
    assert list(segment_ids(proposal)) == ["head", "tail"]
    segment = proposal.GetSegmentation().GetSegment(find_segment(proposal, "head"))
    assert segment.GetColor() == pytest.approx([200 / 255, 10 / 255, 20 / 255])
    assert status_of(proposal, find_segment(proposal, "head")) is SegmentStatus.FLAGGED
    file = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    grid = Grid.of_volume(volume)
    for value, name in NAMES.items():
        expected = np.argwhere(labels() == value)
        found = voxels(proposal, name, volume)
        assert found.sum() == len(expected)
        for k, j, i in expected[::37]:
            assert found[tuple(np.rint(grid.to_kji(images.point_ras(file, k, j, i))[0]).astype(int))]


@pytest.mark.parametrize("kind", images.KINDS)
def test_a_saved_annotation_lies_on_the_original_grid(scene: Any, tmp_path: Path, kind: str) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path, kind), SEGMENTS)
    case_scene.accept()
    path = tmp_path / "out" / "a.seg.nrrd"
    assert case_scene.save_annotation(path)
    file = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    for value, name in NAMES.items():
        assert np.array_equal(images.read_segment(path, name, file), labels() == value)
    export = tmp_path / "whole.seg.nrrd"
    write_segmentation(case_scene.annotation, export)
    assert sitk.ReadImage(str(export)).GetSize() == file.GetSize()
    assert np.array_equal(images.read_segment(export, "tail", file), labels() == 2)
    assert [item.name for item in path.parent.iterdir()] == ["a.seg.nrrd"]  # no temporaries


@pytest.mark.parametrize(
    "name",
    ["oblique/CT_pitch.nii.gz", "oblique/T2w_anisotropic.nii.gz", "nrrd/brain1_image.nrrd", "dicom/brain_T2_oblique"],
)
def test_real_volumes_keep_their_place_in_the_world(scene: Any, tmp_path: Path, name: str) -> None:
    path = VOLUMES / name
    if not path.exists():
        pytest.skip(f"the real volumes are not at {VOLUMES}")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)) if path.is_dir() else str(path)
    file = sitk.ReadImage(names)
    case_scene = CaseScene(scene)
    case_scene.open(CaseInfo("a", path, "new"), SEGMENTS)
    grid = case_scene.grid
    i, j, k = (size // 3 for size in file.GetSize())
    a, b, c = np.rint(grid.to_kji(images.point_ras(file, k, j, i))[0]).astype(int)
    array = slicer.util.arrayFromVolume(case_scene.volume)
    assert array[a, b, c] == pytest.approx(file[i, j, k], rel=1e-4)
    paint(case_scene.annotation, "tail", (slice(a, a + 1), slice(b, b + 1), slice(c, c + 1)), case_scene.volume)
    assert case_scene.save_annotation(tmp_path / "a.seg.nrrd")
    assert np.argwhere(images.read_segment(tmp_path / "a.seg.nrrd", "tail", file)).tolist() == [[k, j, i]]


def test_positions_in_the_views_are_taken_back_through_the_transform_of_the_volume(scene: Any, tmp_path: Path) -> None:
    images.write_image(tmp_path / "a.nrrd")
    node = load_image(Logics(scene), tmp_path / "a.nrrd", "a")
    assert world_to_volume(node, [[1, 2, 3]]).tolist() == [[1, 2, 3]]
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = 10, 20, 30
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert world_to_volume(node, [[11, 22, 33]])[0] == pytest.approx([1, 2, 3])


def test_a_label_map_is_exported_with_the_projects_values(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path, "oblique flipped"), SEGMENTS)
    path = tmp_path / "mask.nii.gz"
    export_mask(case_scene.proposal, case_scene.volume, SEGMENTS, path)
    written, file = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / "a.nrrd"))
    back = sitk.Resample(written, file, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert np.array_equal(sitk.GetArrayFromImage(back), labels())


# Accept, reject, undo -------------------------------------------------------------------------------------------------


def test_accepting_one_segment_leaves_the_others_alone(scene: Any, tmp_path: Path) -> None:
    drawn = np.zeros(images.SHAPE, np.uint8)
    drawn[2:4, 3:5, 4:6] = 2  # where the proposal says head
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path, annotation=drawn), SEGMENTS)
    volume = case_scene.volume
    assert not case_scene.annotation_changed
    assert case_scene.accept(["head"])
    head, tail = voxels(case_scene.annotation, "head", volume), voxels(case_scene.annotation, "tail", volume)
    assert np.array_equal(tail, drawn == 2)
    assert np.array_equal(head, (labels() == 1) & (drawn != 2))
    assert status_of(case_scene.annotation, find_segment(case_scene.annotation, "head")) is SegmentStatus.COMPLETED
    assert status_of(case_scene.annotation, find_segment(case_scene.annotation, "tail")) is SegmentStatus.IN_PROGRESS
    assert case_scene.annotation_changed
    assert case_scene.undo()
    assert not voxels(case_scene.annotation, "head", volume).any()
    assert np.array_equal(voxels(case_scene.annotation, "tail", volume), drawn == 2)


def test_accepting_all_takes_over_everything_also_where_segments_trade_voxels(scene: Any, tmp_path: Path) -> None:
    swapped = labels().copy()
    swapped[labels() == 1], swapped[labels() == 2] = 2, 1
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path, annotation=swapped), SEGMENTS)
    case_scene.accept()
    for value, name in NAMES.items():
        assert np.array_equal(voxels(case_scene.annotation, name, case_scene.volume), labels() == value)


def test_an_edited_proposal_is_noticed_and_accepted_as_it_was_edited(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path), SEGMENTS)
    assert not case_scene.proposal_changed
    box = (slice(0, 1), slice(0, 2), slice(0, 3))
    paint(case_scene.proposal, "head", box, case_scene.volume)
    assert case_scene.proposal_changed and not case_scene.annotation_changed
    case_scene.accept(["head"])
    assert voxels(case_scene.annotation, "head", case_scene.volume)[box].all()


def test_a_rejected_proposal_is_hidden_and_can_come_back(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path), SEGMENTS)
    case_scene.reject()
    assert not case_scene.proposal.GetDisplayNode().GetVisibility()
    case_scene.reconsider()
    assert case_scene.proposal.GetDisplayNode().GetVisibility()
    assert voxels(case_scene.proposal, "head", case_scene.volume).any()


def test_a_newer_proposal_takes_the_place_of_the_old_one(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    opened = case(tmp_path, proposal=False)
    case_scene.open(opened, SEGMENTS)
    assert case_scene.proposal is None
    later = tmp_path / "later.seg.nrrd"
    images.write_mask(later, (labels() == 1).astype(np.uint8), NAMES)
    case_scene.show_proposal(CaseInfo("a", opened.image, "proposed", 0.5, None, MaskInfo(later, 2, {})))
    assert not voxels(case_scene.proposal, "tail", case_scene.volume).any()
    assert voxels(case_scene.proposal, "head", case_scene.volume).sum() == (labels() == 1).sum()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2


def test_the_difference_shows_what_only_one_of_them_has(scene: Any, tmp_path: Path) -> None:
    drawn = labels().copy()
    drawn[2:3, 3:9, 4:12] = 0  # only proposed
    drawn[0, 0, 0:4] = 1  # only annotated
    drawn[8, 3:7, 5:15] = 1  # another segment
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path, annotation=drawn), SEGMENTS)
    node = case_scene.show_difference(True)
    sizes = [voxels(node, name, case_scene.volume).sum() for name in segment_ids(node)]
    assert sizes == [48, 4, 40]
    case_scene.show_difference(False)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2


def test_the_uncertainty_is_an_overlay_of_the_slice_views(scene: Any, tmp_path: Path) -> None:
    opened = case(tmp_path)
    doubt = tmp_path / "u.nii.gz"
    images.write_image(doubt)
    info = MaskInfo(opened.proposal.path, 1, {}, doubt)
    case_scene = CaseScene(scene)
    case_scene.open(CaseInfo("a", opened.image, "proposed", 0.5, None, info), SEGMENTS)
    node = case_scene.show_uncertainty(True)
    composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetForegroundVolumeID() == node.GetID()
    assert composite.GetBackgroundVolumeID() == case_scene.volume.GetID()
    case_scene.show_uncertainty(False)
    assert composite.GetForegroundVolumeID() is None


# Prompts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_committed_preview_leaves_other_segments_their_voxels_unless_told_so(
    scene: Any, tmp_path: Path, overwrite: bool
) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path, annotation=labels()), SEGMENTS)
    volume, annotation = case_scene.volume, case_scene.annotation
    preview = PromptPreview(case_scene.logics, case_scene.undo_history)
    answer = np.ones((4, 3, 6), bool)
    patch = Patch(Grid.of_volume(volume), (5, 2, 3), answer)  # over a part of both segments
    preview.show(patch, volume)
    assert np.array_equal(voxels(annotation, "tail", volume), labels() == 2)  # a preview changes nothing
    whole = patch.whole()
    assert preview.commit(annotation, find_segment(annotation, "head"), overwrite_others=overwrite)
    head, tail = voxels(annotation, "head", volume), voxels(annotation, "tail", volume)
    if overwrite:
        assert np.array_equal(head, (labels() == 1) | whole)
        assert np.array_equal(tail, (labels() == 2) & ~whole)
    else:
        assert np.array_equal(head, (labels() == 1) | (whole & (labels() != 2)))
        assert np.array_equal(tail, labels() == 2)
    assert preview.node is None
    assert case_scene.undo()
    for value, name in NAMES.items():
        assert np.array_equal(voxels(annotation, name, volume), labels() == value)


def test_a_preview_may_replace_the_segment_and_is_not_saved_with_the_scene(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path, annotation=labels()), SEGMENTS)
    preview = PromptPreview(case_scene.logics, case_scene.undo_history)
    patch = Patch(case_scene.grid, (0, 0, 0), np.ones((2, 2, 2), bool))
    preview.show(patch, case_scene.volume)
    preview.show(patch, case_scene.volume)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 3 and not preview.node.GetSaveWithScene()
    preview.commit(case_scene.annotation, find_segment(case_scene.annotation, "head"), replace=True)
    assert voxels(case_scene.annotation, "head", case_scene.volume).sum() == 8
    preview.show(patch, case_scene.volume)
    assert not preview.commit(case_scene.annotation, "no such segment")


# What may happen at any time ------------------------------------------------------------------------------------------


def test_closing_a_case_leaves_nothing_in_the_scene(scene: Any, tmp_path: Path) -> None:
    before = scene.GetNumberOfNodes()
    case_scene = CaseScene(scene)
    names = set()
    for _ in range(3):
        case_scene.open(case(tmp_path), SEGMENTS)
        case_scene.show_difference(True)
        case_scene.accept()
        case_scene.close()
        names.add(tuple(sorted(scene.GetNthNode(n).GetClassName() for n in range(scene.GetNumberOfNodes()))))
    assert len(names) == 1 and scene.GetNumberOfNodes() <= before + 4  # shared color tables may stay
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


def test_deleted_nodes_and_a_closed_scene_are_noticed(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path), SEGMENTS)
    scene.RemoveNode(case_scene.proposal)
    assert case_scene.proposal is None and not case_scene.accept()
    assert case_scene.show_difference(True) is None
    scene.RemoveNode(case_scene.volume)
    assert case_scene.grid is None
    assert case_scene.save_annotation(tmp_path / "x.seg.nrrd")  # what a person drew needs no image
    scene.Clear(True)
    assert case_scene.annotation is None and not case_scene.annotation_changed
    case_scene.reject()
    case_scene.reconsider()
    case_scene.show_uncertainty(True)
    assert not case_scene.undo()
    case_scene.open(case(tmp_path), SEGMENTS)
    assert case_scene.annotation is not None


def test_what_cannot_be_loaded_is_told_in_words_and_leaves_no_half_open_case(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    with pytest.raises(ImageError, match="not there"):
        case_scene.open(CaseInfo("a", tmp_path / "gone.nrrd", "new"), SEGMENTS)
    assert case_scene.case is None and scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_masks_are_told_in_words(scene: Any, tmp_path: Path, compressed: bool) -> None:
    """Slicer's reader ends the whole process where the file is cut."""
    case_scene = CaseScene(scene)
    bad = case(tmp_path)
    path = bad.proposal.path
    if compressed:
        sitk.WriteImage(sitk.ReadImage(str(path)), str(path), useCompression=True)
    whole = path.read_bytes()
    for data in (b"", b"NRRD0004\n", whole[:200], whole[:-30], whole.replace(b"sizes:", b"sizez:")):
        path.write_bytes(data)
        with pytest.raises(MaskFileError, match="damaged"):
            case_scene.open(bad, SEGMENTS)
        assert case_scene.case is None and scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0
    path.write_bytes(whole)
    case_scene.open(bad, SEGMENTS)
    assert voxels(case_scene.proposal, "tail", case_scene.volume).any()


def test_a_segment_that_somebody_made_as_a_help_takes_no_other_ones_place(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path), SEGMENTS)
    case_scene.accept()
    volume, everywhere = case_scene.volume, (slice(0, 12), slice(0, 16), slice(0, 20))
    before = {name: voxels(case_scene.annotation, name, volume) for name in NAMES.values()}
    add_segment(case_scene.annotation, "a help", (1, 2, 3))
    paint(case_scene.annotation, "a help", everywhere, volume)  # over the others: in a layer of its own
    case_scene.save_annotation(tmp_path / "with.seg.nrrd")
    case_scene.close()
    case_scene.open(case(tmp_path), SEGMENTS)
    case_scene.load_annotation(tmp_path / "with.seg.nrrd")
    for name, expected in before.items():
        assert np.array_equal(voxels(case_scene.annotation, name, case_scene.volume), expected)


def test_a_mask_from_before_a_segment_was_renamed_finds_its_segment(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path), SEGMENTS)
    case_scene.accept()
    case_scene.save_annotation(tmp_path / "before.seg.nrrd")
    case_scene.close()
    renamed = (SegmentInfo(1, "Kopf", (200, 10, 20)), SEGMENTS[1])
    case_scene.open(case(tmp_path), renamed)
    case_scene.load_annotation(tmp_path / "before.seg.nrrd")
    assert voxels(case_scene.annotation, "Kopf", case_scene.volume).sum() == (labels() == 1).sum()


def test_what_is_drawn_on_a_volume_goes_with_it_under_a_transform(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path), SEGMENTS)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    case_scene.volume.SetAndObserveTransformNodeID(transform.GetID())
    difference = case_scene.show_difference(True)
    case_scene.volume.SetAndObserveTransformNodeID(None)
    case_scene.volume.SetAndObserveTransformNodeID(transform.GetID())
    for node in (case_scene.annotation, case_scene.proposal, difference):
        assert node.GetTransformNodeID() == transform.GetID()
    case_scene.volume.SetAndObserveTransformNodeID(None)
    assert case_scene.annotation.GetTransformNodeID() is None


def test_what_the_project_has_is_not_saved_with_the_scene(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path), SEGMENTS)
    assert not case_scene.proposal.GetSaveWithScene() and not case_scene.show_difference(True).GetSaveWithScene()
    assert case_scene.annotation.GetSaveWithScene() and case_scene.volume.GetSaveWithScene()


def test_saving_the_scene_cannot_write_into_the_project(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path, annotation=labels()), SEGMENTS)
    assert case_scene.annotation.GetStorageNode() is None and case_scene.proposal.GetStorageNode() is None
    case_scene.save_annotation(tmp_path / "x.seg.nrrd")
    assert case_scene.annotation.GetStorageNode() is None


def test_a_full_disk_or_a_missing_permission_is_told_in_words(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    case_scene.open(case(tmp_path), SEGMENTS)
    paint(case_scene.annotation, "head", (slice(0, 2),) * 3, case_scene.volume)
    (tmp_path / "file").touch()
    with pytest.raises(MaskFileError, match="Cannot write"):
        case_scene.save_annotation(tmp_path / "file" / "a.seg.nrrd")
    assert case_scene.annotation_changed


def test_a_volume_that_is_in_the_scene_already_is_used_and_stays(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    opened = case(tmp_path)
    volume = load_image(case_scene.logics, opened.image, "mine")
    case_scene.open(opened, SEGMENTS, volume)
    assert case_scene.volume is volume and voxels(case_scene.proposal, "head", volume).any()
    case_scene.close()
    assert scene.IsNodePresent(volume)


def test_masks_go_into_the_study_of_their_volume(scene: Any, tmp_path: Path, monkeypatch) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    logics = Logics(scene)
    opened = case(tmp_path)
    volume = load_image(logics, opened.image, "a")
    item = hierarchy.GetItemByDataNode(volume) or hierarchy.CreateItem(study, volume)
    hierarchy.SetItemParent(item, study)

    def add(caller: Any, event: str) -> None:  # as the application does
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
            node = scene.GetNthNodeByClass(index, "vtkMRMLSegmentationNode")
            if not hierarchy.GetItemByDataNode(node):
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, add)
    case_scene = CaseScene(scene)
    case_scene.open(opened, SEGMENTS, volume)
    for node in (case_scene.annotation, case_scene.proposal):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
        role = node.GetReferenceImageGeometryReferenceRole()
        assert node.GetNodeReference(role) is volume


# Views ----------------------------------------------------------------------------------------------------------------


def open_next(case_scene: CaseScene, folder: Path, scale: float) -> Any:
    folder.mkdir()
    opened = case(folder)
    images.write_image(opened.image, scale=scale)
    case_scene.open(opened, SEGMENTS)
    return case_scene.volume.GetScalarVolumeDisplayNode()


def test_window_and_level_survive_in_numbers_or_in_proportion(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    display = open_next(case_scene, tmp_path / "1", 1.0)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(500, 1500)
    display = open_next(case_scene, tmp_path / "2", 1.2)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((500, 1500))
    display = open_next(case_scene, tmp_path / "3", 1000.0)
    assert display.GetWindowLevelMin() == pytest.approx(500_000 / 1.2, rel=0.02)
    assert display.GetWindowLevelMax() == pytest.approx(1_500_000 / 1.2, rel=0.02)


def test_an_automatic_window_stays_automatic(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    open_next(case_scene, tmp_path / "1", 1.0)
    display = open_next(case_scene, tmp_path / "2", 1000.0)
    assert display.GetAutoWindowLevel() and display.GetWindowLevelMax() > 10_000


def test_visibility_of_segments_survives_by_name(scene: Any, tmp_path: Path) -> None:
    case_scene = CaseScene(scene)
    open_next(case_scene, tmp_path / "1", 1.0)
    shown = case_scene.annotation.GetDisplayNode()
    shown.SetSegmentVisibility(find_segment(case_scene.annotation, "tail"), False)
    shown.SetSegmentOpacity2DFill(find_segment(case_scene.annotation, "head"), 0.25)
    open_next(case_scene, tmp_path / "2", 1.0)
    shown = case_scene.annotation.GetDisplayNode()
    assert not shown.GetSegmentVisibility(find_segment(case_scene.annotation, "tail"))
    assert shown.GetSegmentVisibility(find_segment(case_scene.annotation, "head"))
    assert shown.GetSegmentOpacity2DFill(find_segment(case_scene.annotation, "head")) == 0.25


def test_terminology_is_kept_with_the_segments(scene: Any, tmp_path: Path) -> None:
    entry = "Segmentation category and type~SCT^85756007^Tissue~SCT^10200004^Liver~^^~Anatomic codes~^^~^^"
    case_scene = CaseScene(scene, terminology={"head": entry})
    case_scene.open(case(tmp_path), SEGMENTS)
    segment = case_scene.annotation.GetSegmentation().GetSegment(find_segment(case_scene.annotation, "head"))
    assert "10200004" in segment.GetTerminology()
