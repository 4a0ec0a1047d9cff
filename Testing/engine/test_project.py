"""The project store: cases, annotations, proposals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from semisam.errors import ProjectError, VolumeError
from semisam.files.volume_files import read_mask, write_mask
from semisam.project import Project, State
from semisam.project.importing import import_project
from semisam.volumes import Geometry, Volume
from small_project import GEOMETRY, REPOSITORY, SEGMENTS, leftovers, make_image, make_mask, make_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def annotate(project: Project, name: str, number: int = 7, state: State = State.ANNOTATED) -> None:
    project.set_annotation(name, make_mask(number), author="Ada", source="drawn", state=state)


def propose(project: Project, name: str, number: int = 9, **options: object) -> None:
    project.set_proposal(name, make_mask(number), model="round 1", confidence=0.5, **options)  # type: ignore[arg-type]


def test_what_was_stored_is_there_after_opening_again(project: Project) -> None:
    uncertainty = Volume(np.full(GEOMETRY.shape, 0.25, np.float32), GEOMETRY)
    annotate(project, "a", 7)
    propose(project, "b", 9, uncertainty=uncertainty, details={"volumes_ml": {"anterior": 1.5}})
    opened = Project.open(project.path)
    assert opened.segments == SEGMENTS
    assert list(opened.cases) == ["a", "b", "c"]
    assert [opened.case(name).state for name in "abc"] == [State.ANNOTATED, State.PROPOSED, State.NEW]
    assert opened.training_cases() == ["a"] and opened.unannotated_cases() == ["b", "c"]
    assert np.array_equal(opened.annotation("a").voxels, make_mask(7).voxels)
    assert np.array_equal(opened.proposal("b").voxels, make_mask(9).voxels)
    assert opened.annotation("a").geometry.is_close(GEOMETRY)
    assert opened.image("a").geometry.is_close(GEOMETRY)
    path = opened.uncertainty_path("b")
    assert path is not None and sitk.GetArrayFromImage(sitk.ReadImage(str(path))).max() == 0.25
    assert opened.case("b").confidence == 0.5
    proposal, annotation = opened.case("b").proposal, opened.case("a").annotation
    assert proposal is not None and proposal.provenance["model"] == "round 1"
    assert proposal.provenance["details"] == {"volumes_ml": {"anterior": 1.5}}
    assert annotation is not None and annotation.provenance["author"] == "Ada"
    assert annotation.provenance["source"] == "drawn" and annotation.provenance["created"].endswith("+00:00")
    assert opened.check() == [] and leftovers(project.path) == []


def test_another_open_project_sees_a_change_after_reload(project: Project) -> None:
    other = Project.open(project.path)
    assert other.reload() is False
    annotate(project, "a")
    assert other.case("a").state is State.NEW
    assert other.reload() is True
    assert other.training_cases() == ["a"] and other.revision == project.revision


def test_a_change_builds_on_what_another_program_wrote(project: Project) -> None:
    other = Project.open(project.path)
    annotate(project, "a")
    annotate(other, "b")
    project.reload()
    assert project.training_cases() == ["a", "b"]


def test_a_change_builds_on_what_is_there_even_if_its_date_is_told_too_late(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semisam.project.store._signature", lambda folder: (1, 2, 3))
    annotate(project, "a")
    other = Project.open(project.path)
    annotate(project, "b")
    other.remove_case("c")
    assert Project.open(project.path).finished_cases() == ["a", "b"]


def test_revisions_count_the_writes_and_are_never_given_twice(project: Project) -> None:
    annotate(project, "a", 1)
    annotate(project, "a", 2)
    project.remove_annotation("a")
    annotate(project, "a", 3)
    record = project.case("a").annotation
    assert record is not None and record.revision == 3


def test_a_project_is_not_made_twice_in_one_folder(project: Project) -> None:
    with pytest.raises(ProjectError, match="already is a project"):
        Project.create(project.path, SEGMENTS)


def test_a_folder_without_project_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="is no project.*semisam init"):
        Project.open(tmp_path)
    with pytest.raises(ProjectError, match="does not exist"):
        Project.open(tmp_path / "nowhere")
    with pytest.raises(ProjectError, match="is no project"):
        Project.open(make_image(tmp_path / "file.nii.gz"))


def test_the_store_opens_without_heavy_imports(project: Project) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY / 'SemiSAMPlus')!r})\n"
        "from semisam.project import Project\n"
        "project = Project.open(sys.argv[1]); project.training_cases(); project.check()\n"
        "print([name for name in ('torch', 'SimpleITK', 'scipy', 'numpy') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code, str(project.path)], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


# -- cases


@pytest.mark.parametrize(
    "name",
    ["", "a/b", "a\\b", "..", ".a", "a.", " a", "a ", "con", "NUL.x", "com1", "a:b", "a\nb", "a*", "x" * 121, "-a"],
)
def test_names_that_are_no_file_names_everywhere_are_refused(project: Project, tmp_path: Path, name: str) -> None:
    with pytest.raises(ProjectError, match="cannot be the name of a case"):
        project.add_case(name, make_image(tmp_path / "images" / "new.nii.gz"))
    assert list(project.cases) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["Müller 2", "患者", "a.b-c_d (1)", "console", "ä" * 60])
def test_names_of_people_and_numbers_are_accepted(project: Project, tmp_path: Path, name: str) -> None:
    project.add_case(name, make_image(tmp_path / "images" / "new.nii.gz"))
    annotate(project, name)
    assert Project.open(project.path).training_cases() == [name]


def test_names_that_some_file_system_cannot_tell_apart_are_doubles(project: Project, tmp_path: Path) -> None:
    image = make_image(tmp_path / "images" / "new.nii.gz")
    with pytest.raises(ProjectError, match='already has a case "a"'):
        project.add_case("A", image)
    project.add_case("\u00e9", image)  # composed
    with pytest.raises(ProjectError, match="already has a case"):
        project.add_case("e\u0301", make_image(tmp_path / "images" / "other.nii.gz"))  # the same letter in two parts


def test_a_missing_image_adds_nothing(project: Project, tmp_path: Path) -> None:
    good = make_image(tmp_path / "images" / "new.nii.gz")
    with pytest.raises(ProjectError, match="gone.nii.gz.*does not exist"):
        project.add_cases({"new": good, "gone": tmp_path / "gone.nii.gz"})
    assert list(project.cases) == ["a", "b", "c"]


def test_one_image_is_one_case_only(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match='already belongs to the case "a"'):
        project.add_case("again", tmp_path / "images" / ".." / "images" / "a.nii.gz")


def test_unknown_cases_are_named(project: Project) -> None:
    for call in (project.image, project.annotation, project.remove_case, project.remove_annotation, project.proposal):
        with pytest.raises(ProjectError, match='no case "z"'):
            call("z")
    with pytest.raises(ProjectError, match='no case "z"'):
        annotate(project, "z")


def test_an_image_that_went_away_matters_only_when_it_is_used(project: Project, tmp_path: Path) -> None:
    annotate(project, "a")
    (tmp_path / "images" / "a.nii.gz").rename(tmp_path / "images" / "moved.nii.gz")
    opened = Project.open(project.path)
    assert np.array_equal(opened.annotation("a").voxels, make_mask(7).voxels)
    for call in (lambda: opened.image("a"), lambda: annotate(opened, "a"), lambda: propose(opened, "a")):
        with pytest.raises(ProjectError, match="a.nii.gz.*is not there"):
            call()
    assert any("a.nii.gz" in problem for problem in opened.check())
    opened.relink_image("a", tmp_path / "images" / "moved.nii.gz")
    assert opened.image("a").geometry.is_close(GEOMETRY) and opened.check() == []


def test_an_image_of_another_grid_is_not_linked_to_an_annotated_case(project: Project, tmp_path: Path) -> None:
    annotate(project, "a")
    path = tmp_path / "images" / "other.mha"
    sitk.WriteImage(sitk.Image([5, 4, 3], sitk.sitkFloat32), str(path))
    with pytest.raises(ProjectError, match="not on the grid of the annotation"):
        project.relink_image("a", path)


def test_project_and_images_move_together(project: Project, tmp_path: Path) -> None:
    annotate(project, "a")
    project.add_case("d", make_image(tmp_path / "d.nii.gz"), copy=True)
    inside = make_image(project.path / "raw" / "e.nii.gz")
    project.add_case("e", inside)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(project.path, tmp_path / "elsewhere" / "renamed")
    shutil.move(tmp_path / "images", tmp_path / "elsewhere" / "images")
    (tmp_path / "d.nii.gz").unlink()
    moved = Project.open(tmp_path / "elsewhere" / "renamed")
    for name in "abcde":
        assert moved.image(name).geometry.is_close(GEOMETRY)
    assert moved.check() == []


def test_a_project_that_is_moved_alone_finds_its_images_where_they_were(project: Project, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.move(project.path, tmp_path / "elsewhere" / "project")
    images = tmp_path / "images"
    (images / "c.nii.gz").rename(images / "away")
    moved = Project.open(tmp_path / "elsewhere" / "project")
    assert moved.image("a").shape == GEOMETRY.shape and moved.case("a").image == images / "a.nii.gz"
    moved.remove_case("b")
    (images / "away").rename(images / "c.nii.gz")
    again = Project.open(moved.path)
    assert again.case("a").image == images / "a.nii.gz" and again.case("c").image == images / "c.nii.gz"
    again.add_case("d", make_image(tmp_path / "elsewhere" / "images" / "d.nii.gz"))
    document = json.loads((moved.path / "project.json").read_text(encoding="utf-8"))
    assert document["cases"]["d"]["image"] == "../images/d.nii.gz"
    assert document["cases"]["c"]["image"] == str(images / "c.nii.gz")
    assert Project.open(moved.path).check() == []


def test_images_that_moved_with_the_project_are_taken_before_those_that_stayed(
    project: Project, tmp_path: Path
) -> None:
    for name in ("project", "images"):
        shutil.copytree(tmp_path / name, tmp_path / "copy" / name)
    assert Project.open(tmp_path / "copy" / "project").case("a").image == tmp_path / "copy" / "images" / "a.nii.gz"


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"beside": 1}'])
def test_a_project_opens_without_a_note_of_its_place(project: Project, content: bytes | None) -> None:
    note = project.path / "project.place.json"
    note.unlink()
    if content is not None:
        note.write_bytes(content)
    opened = Project.open(project.path)
    assert opened.check() == []
    annotate(opened, "a")
    assert json.loads(note.read_bytes()) == {"beside": str(project.path.parent)}


def test_a_project_reached_through_a_link_finds_its_images(project: Project, tmp_path: Path) -> None:
    link = tmp_path / "far" / "link"
    link.parent.mkdir()
    try:
        link.symlink_to(project.path, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no symbolic links")
    assert Project.open(link).image("a").geometry.is_close(GEOMETRY)


def test_copied_images_live_in_the_project_and_go_with_their_case(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", SEGMENTS, images_copied=True)
    source = make_image(tmp_path / "images" / "a.nii.gz")
    project.add_case("a", source)
    copy = project.case("a").image
    assert copy.is_relative_to(project.path) and copy.read_bytes() == source.read_bytes()
    project.remove_case("a")
    assert not copy.exists() and source.exists()


def test_a_header_is_copied_with_the_file_of_its_voxels(project: Project, tmp_path: Path) -> None:
    image = sitk.Image([5, 4, 3], sitk.sitkFloat32)
    sitk.WriteImage(image, str(tmp_path / "pair.mhd"))
    project.add_case("pair", tmp_path / "pair.mhd", copy=True)
    (tmp_path / "pair.raw").unlink()
    assert project.image("pair").shape == (3, 4, 5)
    with pytest.raises(ProjectError, match="cannot be copied.*not in one file beside it"):
        project.add_case("broken", tmp_path / "pair.mhd", copy=True)
    assert leftovers(project.path) == []


def test_a_folder_image_is_copied_as_a_folder(project: Project, tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    for index in range(3):
        (series / f"{index}.dcm").write_bytes(b"slice")
    project.add_case("series", series, copy=True)
    assert sorted(path.name for path in project.case("series").image.iterdir()) == ["0.dcm", "1.dcm", "2.dcm"]


def test_the_copy_of_a_series_on_a_cd_can_be_written_and_removed(project: Project, tmp_path: Path) -> None:
    series = tmp_path / "cd" / "series"
    (series / "more").mkdir(parents=True)
    for path in (series / "1.dcm", series / "more" / "2.dcm"):
        path.write_bytes(b"a slice")
        path.chmod(0o444)
    for folder in (series / "more", series):
        folder.chmod(0o555)
    project.add_case("series", series, copy=True)
    copy = project.case("series").image
    assert (copy / "more" / "2.dcm").read_bytes() == b"a slice"
    assert all(path.stat().st_mode & 0o200 for path in (copy, *copy.rglob("*")))


def test_removing_a_case_keeps_what_the_person_made_in_the_backup(project: Project, tmp_path: Path) -> None:
    annotate(project, "a", 5)
    propose(project, "a")
    project.remove_case("a")
    assert "a" not in Project.open(project.path).cases
    assert (tmp_path / "images" / "a.nii.gz").exists()
    backup = project.path / "annotations" / "previous" / "a.seg.nrrd"
    assert np.array_equal(read_mask(backup, SEGMENTS).voxels, make_mask(5).voxels)
    assert not list((project.path / "proposals").iterdir())


# -- annotations


def test_the_annotation_before_is_kept_and_can_be_brought_back(project: Project) -> None:
    annotate(project, "a", 5)
    annotate(project, "a", 6)
    project.restore_annotation("a", author="Ada")
    assert np.array_equal(project.annotation("a").voxels, make_mask(5).voxels)
    project.restore_annotation("a", author="Ada")
    assert np.array_equal(project.annotation("a").voxels, make_mask(6).voxels)
    project.remove_annotation("a")
    project.restore_annotation("a", author="Ada", state=State.IN_WORK)
    assert np.array_equal(project.annotation("a").voxels, make_mask(6).voxels)
    assert project.case("a").state is State.IN_WORK
    with pytest.raises(ProjectError, match="no earlier annotation"):
        project.restore_annotation("b", author="Ada")


def earlier(project: Project, name: str) -> dict[str, int]:
    """How many voxels are set in each of the annotations that were kept of a case, by revision."""
    files = (project.path / "annotations" / "previous" / "earlier").glob(f"{name}.*.seg.nrrd")
    return {file.name.split(".")[-3]: np.count_nonzero(read_mask(file, SEGMENTS).voxels) for file in files}


def test_the_last_few_annotations_are_kept(project: Project, tmp_path: Path) -> None:
    for number in range(1, 9):
        annotate(project, "a", number)
    assert earlier(project, "a") == {"3": 3, "4": 4, "5": 5, "6": 6, "7": 7}
    project.remove_annotation("a")
    assert earlier(project, "a") == {"4": 4, "5": 5, "6": 6, "7": 7, "8": 8}
    project.remove_case("a")
    project.add_case("a", tmp_path / "images" / "a.nii.gz")
    for number in (11, 12):
        annotate(project, "a", number)
    assert earlier(project, "a") == {"5": 5, "6": 6, "7": 7, "8": 8, "1": 11}


def test_the_same_mask_once_more_leaves_the_one_before_it(project: Project) -> None:
    for number in (5, 6, 6):
        annotate(project, "a", number)
    assert earlier(project, "a") == {"1": 5}
    project.restore_annotation("a", author="Ada")
    assert np.array_equal(project.annotation("a").voxels, make_mask(5).voxels)


def test_a_file_system_that_spells_accents_apart_loses_no_mask(project: Project, tmp_path: Path) -> None:
    project.add_case("Jos\u00e9", make_image(tmp_path / "images" / "e.nii.gz", 5))
    annotate(project, "Jos\u00e9", 5)
    path = project.annotation_path("Jos\u00e9")
    path.rename(path.with_name(".staged-1-" + unicodedata.normalize("NFD", path.name)))
    opened = Project.open(project.path)
    assert opened.annotation_path("Jos\u00e9") == path and opened.check() == []


def test_an_annotation_loads_in_other_programs_by_segment_name(project: Project) -> None:
    annotate(project, "a")
    image = sitk.ReadImage(str(project.annotation_path("a")))
    assert {image.GetMetaData("Segment0_Name"), image.GetMetaData("Segment1_Name")} == {"anterior", "posterior"}


@pytest.mark.parametrize(
    "mask, complaint",
    [
        (Volume(np.zeros((3, 4, 6), np.uint8), Geometry.simple((3, 4, 6))), "not on the grid of its image"),
        (Volume(np.zeros((3, 4, 5), np.uint8), Geometry.simple((3, 4, 5))), "not on the grid of its image"),
        (Volume(np.full((3, 4, 5), 3, np.uint8), GEOMETRY), "value 3, which is no segment"),
        (Volume(np.full((3, 4, 5), -1, np.int16), GEOMETRY), "value -1, which is no segment"),
        (Volume(np.full((3, 4, 5), 257, np.int32), GEOMETRY), "value 257, which is no segment"),
        (Volume(np.full((3, 4, 5), 0.5, np.float32), GEOMETRY), "float32 numbers instead of segment values"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_and_changes_nothing(
    project: Project, mask: Volume, complaint: str
) -> None:
    before = (project.path / "project.json").read_bytes()
    with pytest.raises(ProjectError, match=complaint):
        project.set_annotation("a", mask, author="Ada", source="drawn")
    with pytest.raises(ProjectError, match=complaint):
        project.set_proposal("a", mask, model="m", confidence=None)
    assert (project.path / "project.json").read_bytes() == before
    assert not list((project.path / "proposals").iterdir()) and leftovers(project.path) == []


def test_an_annotation_cannot_be_set_as_accepted(project: Project) -> None:
    with pytest.raises(ProjectError, match="annotated.*in work.*not as.*accepted"):
        annotate(project, "a", state=State.ACCEPTED)


def test_an_annotation_file_edited_by_another_program_is_adopted(project: Project) -> None:
    annotate(project, "a", 5)
    write_mask(project.annotation_path("a"), make_mask(8), SEGMENTS)
    assert any("changed by something else" in problem for problem in project.check())
    project.adopt_annotation("a", author="Ada")
    record = project.case("a").annotation
    assert record is not None and record.revision == 2 and project.check() == []
    assert np.array_equal(project.annotation("a").voxels, make_mask(8).voxels)
    with pytest.raises(ProjectError, match="no annotation file"):
        project.adopt_annotation("b", author="Ada")


def test_an_annotation_file_replaced_by_one_of_another_image_is_noticed(project: Project) -> None:
    annotate(project, "a")
    other = Geometry.simple((9, 9, 9))
    write_mask(project.annotation_path("a"), Volume(np.ones(other.shape, np.uint8), other), SEGMENTS)
    with pytest.raises(VolumeError):
        project.annotation("a")


def test_a_lost_annotation_file_is_told_with_its_name(project: Project) -> None:
    annotate(project, "a")
    project.annotation_path("a").unlink()
    opened = Project.open(project.path)
    with pytest.raises(ProjectError, match="annotation .*a.seg.nrrd.* is missing"):
        opened.annotation("a")
    assert any("lacks its file" in problem for problem in opened.check())
    opened.remove_annotation("a")
    assert opened.case("a").state is State.NEW and opened.check() == []


# -- proposals


def test_a_proposal_never_touches_an_annotation(project: Project) -> None:
    annotate(project, "a")
    before = project.annotation_path("a").read_bytes()
    propose(project, "a", 30)
    assert project.annotation_path("a").read_bytes() == before
    assert project.case("a").state is State.ANNOTATED and project.training_cases() == ["a"]


def test_a_newer_proposal_without_uncertainty_removes_the_old_one(project: Project) -> None:
    propose(project, "a", uncertainty=Volume(np.zeros(GEOMETRY.shape, np.float32), GEOMETRY))
    old = project.uncertainty_path("a")
    propose(project, "a")
    assert project.uncertainty_path("a") is None and old is not None and not old.exists()


@pytest.mark.parametrize("confidence", [-0.1, 1.5, float("nan")])
def test_a_confidence_is_a_number_from_0_to_1(project: Project, confidence: float) -> None:
    with pytest.raises(ProjectError, match="between 0 and 1"):
        project.set_proposal("a", make_mask(1), model="m", confidence=confidence)


def test_details_of_a_proposal_are_json(project: Project) -> None:
    for bad in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises(ProjectError, match="JSON values"):
            propose(project, "a", details=bad)


def test_accepting_makes_the_proposal_the_annotation_and_tells_where_it_came_from(project: Project) -> None:
    propose(project, "a", 9)
    project.accept("a", author="Ada")
    case = Project.open(project.path).case("a")
    assert case.state is State.ACCEPTED and case.annotation is not None and case.proposal is not None
    assert case.annotation.provenance["author"] == "Ada"
    assert case.annotation.provenance["from"]["model"] == "round 1"
    assert case.annotation.provenance["from"]["revision"] == case.proposal.revision
    assert np.array_equal(project.annotation("a").voxels, make_mask(9).voxels)
    assert project.training_cases() == ["a"]


def test_a_proposal_that_has_changed_since_it_was_seen_is_not_accepted(project: Project) -> None:
    propose(project, "a", 5)
    propose(project, "a", 6)
    with pytest.raises(ProjectError, match='proposal of the case "a" has changed meanwhile: look at the new one'):
        project.accept("a", author="Ada", revision=1)
    assert project.case("a").state is State.PROPOSED
    project.accept("a", author="Ada", revision=2)
    assert np.array_equal(project.annotation("a").voxels, make_mask(6).voxels)


def test_segments_accepted_one_by_one_are_learned_from_when_all_are_there(project: Project) -> None:
    propose(project, "a", 9)
    project.accept("a", author="Ada", segments=["Anterior"])
    assert project.case("a").state is State.IN_WORK and project.training_cases() == []
    assert set(np.unique(project.annotation("a").voxels)) == {0, 1}
    annotate(project, "a", 3, State.IN_WORK)  # saving unfinished work in between forgets nothing
    project.accept("a", author="Ada", segments=["posterior"])
    assert project.case("a").state is State.ACCEPTED and project.training_cases() == ["a"]


def test_accepting_one_segment_destroys_no_voxel_of_another_one(project: Project) -> None:
    drawn, proposed = np.zeros((2, 3, 4, 5), np.uint8)
    drawn[0], drawn[1] = 1, 2  # a person's anterior and posterior
    proposed[1], proposed[2] = 1, 1  # the proposal takes a slice of posterior for anterior
    project.set_annotation("a", Volume(drawn, GEOMETRY), author="Ada", source="drawn")
    project.set_proposal("a", Volume(proposed, GEOMETRY), model="m", confidence=None)
    project.accept("a", author="Ada", segments=["anterior"])
    voxels = project.annotation("a").voxels
    assert (voxels[1] == 2).all() and (voxels[2] == 1).all() and (voxels[0] == 0).all()
    assert project.case("a").state is State.ACCEPTED
    project.restore_annotation("a", author="Ada")
    assert np.array_equal(project.annotation("a").voxels, drawn)


def test_segments_to_accept_must_be_known(project: Project) -> None:
    propose(project, "a")
    with pytest.raises(ProjectError, match='"liver" is no segment; the project has anterior, posterior'):
        project.accept("a", author="Ada", segments=["liver"])
    with pytest.raises(ProjectError, match="No segment was chosen"):
        project.accept("a", author="Ada", segments=[])


def test_a_proposal_that_lost_its_file_cannot_be_accepted(project: Project) -> None:
    propose(project, "a")
    project.proposal_path("a").unlink()
    with pytest.raises(ProjectError, match="proposal .*a.seg.nrrd.* is missing"):
        project.accept("a", author="Ada")


def test_a_rejected_proposal_is_noted_and_can_still_be_accepted(project: Project) -> None:
    propose(project, "a")
    project.reject("a", author="Ada")
    case = Project.open(project.path).case("a")
    assert case.state is State.REJECTED and case.proposal is not None
    assert case.proposal.provenance["rejected"]["author"] == "Ada"
    project.accept("a", author="Ada")
    project.remove_annotation("a")
    assert project.case("a").state is State.PROPOSED


def test_a_removed_proposal_leaves_no_file(project: Project) -> None:
    propose(project, "a", uncertainty=Volume(np.zeros(GEOMETRY.shape, np.float32), GEOMETRY))
    project.remove_proposal("a")
    assert project.case("a").state is State.NEW and project.case("a").confidence is None
    assert not list((project.path / "proposals").iterdir())


def test_a_file_name_that_is_no_text_survives(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    odd = tmp_path / "images" / "x\udcff.nii.gz"
    try:
        shutil.copy(tmp_path / "images" / "a.nii.gz", odd)
    except (OSError, UnicodeError):
        pytest.skip("this file system has only names that are text")
    project.add_case("odd", odd)
    assert Project.open(project.path).case("odd").image.exists()


def test_project_json_is_readable(project: Project) -> None:
    document = json.loads((project.path / "project.json").read_text(encoding="utf-8"))
    assert document["schema"] == 1
    assert document["cases"]["a"]["image"] == "../images/a.nii.gz"
    assert document["cases"]["a"]["state"] == "new"


def test_an_image_that_is_checked_and_cannot_be_read_does_not_become_a_case(tmp_path):
    project = Project.create(tmp_path / "project", SEGMENTS)
    (tmp_path / "a.nii.gz").write_bytes(b"no image")
    with pytest.raises(VolumeError, match="a.nii.gz"):
        project.add_case("a", tmp_path / "a.nii.gz", check=True)
    assert project.cases == {}


def test_masks_find_their_images_however_accents_are_spelled(tmp_path: Path) -> None:
    make_image(tmp_path / "images" / "Jos\u00e9.nii.gz")
    (tmp_path / "masks").mkdir()
    write_mask(tmp_path / "masks" / "Jose\u0301.seg.nrrd", make_mask(7), SEGMENTS)
    folders = {"images": tmp_path / "images", "annotations": tmp_path / "masks"}
    project, _ = import_project(tmp_path / "new", segments=SEGMENTS, cases=["Jose\u0301"], **folders)
    assert project.finished_cases() == ["Jos\u00e9"]
