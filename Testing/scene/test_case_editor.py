"""The open case between scene and project: what is sent when, and what a person finds again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: pip install slicer-core")
pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: the tests write their files with it")

import dataclasses

import numpy as np

import images
from event_loop import EventLoop
from SemiSAMPlusLib.case_editor import CaseEditor
from SemiSAMPlusLib.cases import CaseInfo, CaseList, MaskInfo
from SemiSAMPlusLib.pending import PendingAnnotations
from SemiSAMPlusLib.scene.case_scene import CaseScene
from SemiSAMPlusLib.scene.mask_files import MaskFileError
from SemiSAMPlusLib.scene.segments import find_segment
from SemiSAMPlusLib.signals import Signal
from SemiSAMPlusLib.worker_messages import WorkerError
from test_case_scene import NAMES, SEGMENTS, case, labels, paint, voxels

BOX = (slice(0, 2), slice(0, 2), slice(0, 2))


class Session:
    """Notes what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.cases = CaseList()
        self.segments = SEGMENTS
        self.pending = PendingAnnotations(folder)
        self.cases_changed = Signal()
        self.asked: list[tuple[Any, ...]] = []
        self.seen: int | None = None
        self.on_error: Any = None

    def annotate(
        self, name: str, state: str, *, seen: int | None = None, on_done: Any = None, on_error: Any = None
    ) -> None:
        self.pending.put(name, state)
        self.asked.append(("annotate", name, state))
        self.seen, self.on_error = seen, on_error

    def accept(
        self, name: str, segments: Any = None, *, revision: int, seen: int, on_done: Any = None, on_error: Any = None
    ) -> None:
        assert revision == self.cases.get(name).proposal.revision
        self.asked.append(("accept", name, segments))

    def reject(self, name: str, *, on_done: Any = None, on_error: Any = None) -> None:
        self.asked.append(("reject", name))
        self.on_error = on_error

    def take_back_reject(self, name: str, *, on_done: Any = None, on_error: Any = None) -> None:
        self.asked.append(("take back reject", name))
        self.on_error = on_error

    def take_back(self, before: CaseInfo, *, seen: int, on_done: Any = None, on_error: Any = None) -> None:
        self.asked.append(("take back", before.state))
        self.on_error = on_error

    def put(self, item: CaseInfo) -> None:
        self.cases.put(item)
        self.cases_changed.emit([item.name])


@pytest.fixture
def session(tmp_path: Path) -> Session:
    (tmp_path / "project").mkdir()
    made = Session(tmp_path / "project")
    (tmp_path / "data").mkdir()
    made.put(case(tmp_path / "data"))
    return made


@pytest.fixture
def editor(session: Session, scene: Any) -> CaseEditor:
    made = CaseEditor(session, CaseScene(scene))
    made.open("a")
    return made


def test_closing_an_untouched_case_sends_nothing(editor: CaseEditor, session: Session) -> None:
    editor.close()
    assert session.asked == [] and editor.name is None


@pytest.mark.parametrize("state", ["in work", "annotated"])
def test_closing_a_case_keeps_its_edits(editor: CaseEditor, session: Session, state: str) -> None:
    session.cases.put(dataclasses.replace(session.cases.get("a"), state=state))
    editor.open("a")
    paint(editor.scene.annotation, "head", BOX, editor.scene.volume)
    editor.close()
    assert session.asked == [("annotate", "a", state)]
    # The engine has not answered yet: what was drawn is found again nevertheless.
    editor.open("a")
    assert voxels(editor.scene.annotation, "head", editor.scene.volume)[BOX].all()
    assert not editor.scene.annotation_changed


def test_a_case_annotated_in_part_stays_that_when_it_is_closed(editor: CaseEditor, session: Session) -> None:
    mask = MaskInfo(Path("a.seg.nrrd"), 1, {"partial": True})
    session.cases.put(dataclasses.replace(session.cases.get("a"), state="in work", annotation=mask))
    paint(editor.scene.annotation, "head", BOX, editor.scene.volume)
    editor.close()
    assert session.asked == [("annotate", "a", "in part")]


def test_drawn_slices_can_be_finished_alone(editor: CaseEditor, session: Session) -> None:
    paint(editor.scene.annotation, "head", BOX, editor.scene.volume)
    editor.finish_drawn_slices()
    assert session.asked == [("annotate", "a", "in part")]
    assert not editor.scene.annotation_changed


def test_closing_the_scene_keeps_edits_too(editor: CaseEditor, session: Session, scene: Any) -> None:
    paint(editor.scene.annotation, "head", BOX, editor.scene.volume)
    editor.on_scene_start_close()
    scene.Clear(False)
    assert session.asked == [("annotate", "a", "in work")]
    editor.open("a")
    assert voxels(editor.scene.annotation, "head", editor.scene.volume)[BOX].all()


def test_a_proposal_that_was_not_edited_is_accepted_by_the_engine(editor: CaseEditor, session: Session) -> None:
    assert editor.accept(["head"])
    assert session.asked == [("accept", "a", ["head"])]
    editor.close()
    assert len(session.asked) == 1


def test_edits_beside_an_accepted_segment_are_not_lost(editor: CaseEditor, session: Session) -> None:
    paint(editor.scene.annotation, "tail", BOX, editor.scene.volume)
    assert editor.accept(["head"])
    assert session.asked == [("annotate", "a", "in work")]  # the tail is still to be finished
    assert voxels(editor.scene.annotation, "tail", editor.scene.volume)[BOX].all()
    assert editor.accept()
    assert session.asked[-1] == ("accept", "a", None)


def test_undo_brings_the_annotation_back_also_after_later_edits(editor: CaseEditor, session: Session) -> None:
    volume = editor.scene.volume
    paint(editor.scene.annotation, "tail", BOX, volume)
    editor.accept()
    paint(editor.scene.annotation, "head", (slice(10, 12), slice(0, 2), slice(0, 2)), volume)
    assert editor.undo()
    assert not voxels(editor.scene.annotation, "head", volume).any()
    assert voxels(editor.scene.annotation, "tail", volume).sum() == 8
    assert session.asked[-1] == ("take back", "proposed") and not editor.undo()


def test_an_undo_of_the_editor_that_takes_back_an_accept_is_not_learned_from(
    editor: CaseEditor, session: Session
) -> None:
    told: list[WorkerError] = []
    editor.failed.connect(told.append)
    editor.accept()
    session.put(dataclasses.replace(session.cases.get("a"), state="accepted"))
    assert editor.scene.undo() and not voxels(editor.scene.annotation, "head", editor.scene.volume).any()
    editor.close()
    assert session.asked[-1] == ("annotate", "a", "in work") and "a is in work again" in told[0].text


def test_what_is_shown_is_accepted_and_not_a_newer_proposal_that_nobody_has_seen(
    editor: CaseEditor, session: Session, tmp_path: Path
) -> None:
    editor.accept(["head"])
    newer = tmp_path / "newer.seg.nrrd"
    images.write_mask(newer, np.zeros(images.SHAPE, np.uint8), NAMES)
    session.put(dataclasses.replace(session.cases.get("a"), proposal=MaskInfo(newer, 2, {})))
    editor.accept(["tail"])
    assert session.asked == [("accept", "a", ["head"]), ("annotate", "a", "annotated")]
    assert voxels(editor.scene.annotation, "tail", editor.scene.volume).any()


def test_what_the_engine_could_not_take_is_still_to_be_saved(editor: CaseEditor, session: Session) -> None:
    paint(editor.scene.annotation, "head", BOX, editor.scene.volume)
    assert editor.keep_changes() and not editor.keep_changes()
    session.on_error(WorkerError("system", "The disk is full."))
    assert editor.keep_changes() and len(session.asked) == 2
    session.on_error(WorkerError("cancelled", ""))
    assert not editor.keep_changes()


def test_a_segment_that_was_removed_is_there_again_for_what_is_accepted(editor: CaseEditor, session: Session) -> None:
    scene = editor.scene
    scene.annotation.GetSegmentation().RemoveSegment(find_segment(scene.annotation, "tail"))
    assert editor.accept()
    assert voxels(scene.annotation, "tail", scene.volume).any() and session.asked == [("annotate", "a", "annotated")]
    session.put(dataclasses.replace(session.cases.get("a"), state="accepted"))
    # A person says so that this case has none; it is finished nevertheless.
    scene.annotation.GetSegmentation().RemoveSegment(find_segment(scene.annotation, "tail"))
    editor.close()
    assert session.asked[-1] == ("annotate", "a", "annotated")
    editor.open("a")
    assert voxels(scene.annotation, "head", scene.volume).any()
    assert not voxels(scene.annotation, "tail", scene.volume).any()


def test_a_newer_proposal_is_shown_unless_the_old_one_was_edited(
    editor: CaseEditor, session: Session, tmp_path: Path
) -> None:
    waiting: list[str] = []
    editor.proposal_waiting.connect(waiting.append)
    path = tmp_path / "newer.seg.nrrd"
    images.write_mask(path, (labels() == 1).astype(np.uint8), NAMES)
    newer = dataclasses.replace(session.cases.get("a"), proposal=MaskInfo(path, 2, {}))
    session.put(newer)
    volume = editor.scene.volume
    assert not voxels(editor.scene.proposal, "tail", volume).any() and waiting == []
    paint(editor.scene.proposal, "tail", BOX, volume)
    session.put(dataclasses.replace(newer, proposal=MaskInfo(path, 3, {})))
    assert waiting == ["a"] and voxels(editor.scene.proposal, "tail", volume).any()
    editor.show_newest_proposal()
    assert not voxels(editor.scene.proposal, "tail", volume).any()


def test_a_newer_proposal_gets_a_turn_of_the_event_loop_to_itself(session: Session, scene: Any, tmp_path: Path) -> None:
    loop, shown = EventLoop(), list[str]()
    editor = CaseEditor(session, CaseScene(scene), loop)
    editor.proposal_shown.connect(shown.append)
    editor.open("a")
    path = tmp_path / "newer.seg.nrrd"
    images.write_mask(path, (labels() == 1).astype(np.uint8), NAMES)
    for revision in (2, 3):
        session.put(dataclasses.replace(session.cases.get("a"), proposal=MaskInfo(path, revision, {})))
    assert shown == [] and voxels(editor.scene.proposal, "tail", editor.scene.volume).any()
    loop.settle()
    assert shown == ["a"] and not voxels(editor.scene.proposal, "tail", editor.scene.volume).any()
    session.put(dataclasses.replace(session.cases.get("a"), proposal=MaskInfo(path, 4, {})))
    editor.dispose()
    loop.settle()
    assert shown == ["a"]


def test_a_damaged_newer_proposal_is_told(editor: CaseEditor, session: Session, tmp_path: Path) -> None:
    failures: list[Any] = []
    editor.failed.connect(failures.append)
    bad = MaskInfo(tmp_path / "gone.seg.nrrd", 2, {})
    session.put(dataclasses.replace(session.cases.get("a"), proposal=bad))
    assert "gone.seg.nrrd" in failures[0].text


def test_a_case_that_leaves_the_project_leaves_the_scene(editor: CaseEditor, session: Session, scene: Any) -> None:
    opened: list[str | None] = []
    editor.opened.connect(opened.append)
    session.cases.remove("a")
    session.cases_changed.emit(["a"])
    assert opened == [None] and scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_deleted_nodes_make_every_action_harmless(editor: CaseEditor, session: Session, scene: Any) -> None:
    scene.RemoveNode(editor.scene.annotation)
    assert not editor.accept() and not editor.undo() and not editor.keep_changes()
    editor.finish()
    scene.RemoveNode(editor.scene.proposal)
    assert not editor.reject()
    scene.Clear(True)
    editor.close()
    assert session.asked == []


CRASH = WorkerError("crashed", "The engine crashed.")


def test_an_accepted_mask_waits_until_the_engine_has_accepted_it(editor: CaseEditor, session: Session) -> None:
    editor.accept()
    (waiting,) = session.pending.waiting()
    assert waiting.case == "a" and waiting.state == "annotated"


def test_a_reject_that_the_engine_refused_did_not_happen(editor: CaseEditor, session: Session) -> None:
    told: list[WorkerError] = []
    editor.failed.connect(told.append)
    editor.reject()
    assert not editor.scene.proposal.GetDisplayNode().GetVisibility()
    session.on_error(CRASH)
    assert editor.scene.proposal.GetDisplayNode().GetVisibility() and not editor.can_undo and told == [CRASH]


def test_an_undo_that_the_engine_refused_can_be_tried_again(editor: CaseEditor, session: Session) -> None:
    editor.reject()
    editor.undo()
    assert not editor.can_undo
    session.on_error(CRASH)
    assert editor.can_undo and editor.undo()


def test_work_that_cannot_be_kept_keeps_its_case_open(editor: CaseEditor, session: Session, tmp_path: Path) -> None:
    session.put(dataclasses.replace(session.cases.get("a"), name="b"))
    (tmp_path / "project").rmdir()
    paint(editor.scene.annotation, "head", BOX, editor.scene.volume)
    with pytest.raises(MaskFileError, match="project"):
        editor.open("b")
    assert editor.name == "a" and editor.scene.annotation_changed


def test_work_that_cannot_be_kept_is_put_elsewhere_when_the_case_has_to_close(
    editor: CaseEditor, tmp_path: Path
) -> None:
    told: list[WorkerError] = []
    editor.failed.connect(told.append)
    (tmp_path / "project").rmdir()
    paint(editor.scene.annotation, "head", BOX, editor.scene.volume)
    editor.close()
    assert editor.name is None and not (tmp_path / "project").exists()
    rescued = Path(told[0].text.split('"')[1])
    assert rescued.is_file()
    rescued.unlink()


def test_an_annotation_that_was_changed_from_elsewhere_is_shown(
    editor: CaseEditor, session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "accepted.seg.nrrd"
    paint(editor.scene.annotation, "head", BOX, editor.scene.volume)
    editor.scene.save_annotation(path)
    editor.scene.load_annotation(None)
    before = session.cases.get("a")
    assert not voxels(editor.scene.annotation, "head", editor.scene.volume).any()
    session.put(dataclasses.replace(before, state="accepted", annotation=MaskInfo(path, 7, {})))
    assert voxels(editor.scene.annotation, "head", editor.scene.volume)[BOX].all()
    assert not editor.scene.annotation_changed
    session.put(dataclasses.replace(before, annotation=None))
    assert not voxels(editor.scene.annotation, "head", editor.scene.volume).any()


def test_what_is_sent_tells_which_annotation_it_began_with(
    editor: CaseEditor, session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.seg.nrrd"
    paint(editor.scene.annotation, "head", BOX, editor.scene.volume)
    editor.scene.save_annotation(path)
    editor.finish()
    assert session.seen == 0
    theirs = dataclasses.replace(session.cases.get("a"), annotation=MaskInfo(path, 7, {}))
    editor.close()
    session.put(theirs)
    editor.open("a")
    paint(editor.scene.annotation, "head", BOX, editor.scene.volume)
    editor.keep_changes()
    assert session.seen == 7
    session.put(dataclasses.replace(theirs, annotation=MaskInfo(path, 8, {})))
    editor.finish()
    assert session.seen == 7, "the eighth is not in the scene"


def test_taking_back_an_accept_leaves_what_was_drawn_before_to_be_kept(editor: CaseEditor, session: Session) -> None:
    session.cases.put(dataclasses.replace(session.cases.get("a"), annotation=None, state="proposed"))
    paint(editor.scene.annotation, "head", BOX, editor.scene.volume)
    before = voxels(editor.scene.annotation, "head", editor.scene.volume)
    editor.accept()
    editor.undo()
    assert (voxels(editor.scene.annotation, "head", editor.scene.volume) == before).all()
    editor.close()
    assert session.asked[-1] == ("annotate", "a", "in work")


def test_taking_back_a_reject_leaves_an_accept_that_came_before_it(editor: CaseEditor, session: Session) -> None:
    editor.accept()  # the engine has not answered yet
    editor.reject()
    editor.undo()
    assert session.asked[-1] == ("take back reject", "a")
    assert [waiting.case for waiting in session.pending.waiting()] == ["a"]
