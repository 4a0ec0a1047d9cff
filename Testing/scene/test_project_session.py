"""An open project as the user interface sees it, on a worker that says what the test wants."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from event_loop import EventLoop, ScriptedProcess
from SemiSAMPlusLib.cases import CaseInfo, CaseList
from SemiSAMPlusLib.jobs import TrainingOptions
from SemiSAMPlusLib.process import Launch
from SemiSAMPlusLib.project_session import ProjectSession, SessionState
from SemiSAMPlusLib.recent_projects import RecentProjects
from SemiSAMPlusLib.training import TrainingState
from SemiSAMPlusLib.worker_client import WorkerClient

SEGMENTS = [{"value": 1, "name": "liver", "color": [128, 174, 128]}]
HELLO = {"event": "hello", "id": None, "protocol": 1, "engine": "0.1.0", "pid": 0, "requests": []}


def case(name: str, state: str = "new", confidence: float | None = None, revision: int = 0) -> dict[str, Any]:
    annotation = {"path": f"/p/annotations/{name}.seg.nrrd", "revision": revision, "provenance": {}}
    return {
        "name": name,
        "image": f"/images/{name}.nii.gz",
        "state": state,
        "confidence": confidence,
        "annotation": annotation if state in ("annotated", "accepted", "in work") else None,
        "proposal": None,
    }


class Project:
    """A session, and a worker that answers when told to."""

    def __init__(self, loop: EventLoop, folder: Path) -> None:
        self.loop = loop
        self.processes: list[ScriptedProcess] = []
        self.client = WorkerClient(Launch("python"), self._make, loop, kill=lambda pids, **options: None)
        self.session = ProjectSession(folder, self.client, author="mk")
        self.changed: list[list[str]] = []
        self.session.cases_changed.connect(self.changed.append)
        self.failures: list[Any] = []
        self.session.failed.connect(self.failures.append)
        self.answered = 0

    def _make(self) -> ScriptedProcess:
        self.processes.append(ScriptedProcess())
        self.answered = 0
        return self.processes[-1]

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.processes[-1].written.splitlines()]

    def say(self, *events: dict[str, Any]) -> None:
        listener = self.processes[-1].listener
        assert listener is not None
        listener.on_output(b"".join(json.dumps(event).encode() + b"\n" for event in events))
        self.loop.settle()

    def answer(self, name: str, event: str = "done", **fields: Any) -> dict[str, Any]:
        """Answer the oldest request that has had no answer, which must be ``name``; the request."""
        request = self.sent[self.answered]
        self.answered += 1
        assert request["request"] == name, request
        self.say({"event": event, "id": request["id"], **fields})
        return request

    def open(self, *cases: dict[str, Any]) -> Project:
        self.session.open()
        self.say(HELLO)
        self.answer("open", segments=SEGMENTS, cases=list(cases), model="specialist-0001", revision=1)
        self.answer("status", jobs=[])
        self.answer("generalists", generalists={})
        assert self.session.state is SessionState.OPEN
        return self


@pytest.fixture
def project(loop: EventLoop, tmp_path: Path) -> Project:
    return Project(loop, tmp_path)


def test_the_devices_and_the_model_are_told_to_whoever_shows_them(project: Project) -> None:
    project.session.open()
    project.say(HELLO)
    project.answer("open", segments=SEGMENTS, cases=[case("a")], model=None, revision=1)
    project.answer("status", devices={"cuda": "NVIDIA H100, 80 GB", "cpu": "2 cores"})
    project.answer("generalists", generalists={})
    assert list(project.session.devices) == ["cuda", "cpu"] and project.changed == [["a"], []]
    project.session.refresh()
    project.answer("open", segments=SEGMENTS, cases=[case("a")], model="specialist-0001", revision=2)
    assert project.session.model == "specialist-0001" and len(project.changed) == 3


# Cases ----------------------------------------------------------------------------------------------------------------


def test_open_shows_segments_and_cases_and_a_refresh_tells_what_differs(project: Project) -> None:
    project.open(case("a"), case("b"))
    assert project.session.segments[0].name == "liver" and project.changed == [["a", "b"]]
    project.session.refresh()
    project.session.refresh()
    project.session.refresh()
    project.answer("open", segments=SEGMENTS, cases=[case("a", "annotated"), case("d")], revision=2)
    assert sorted(project.changed[-1]) == ["a", "b", "d"]
    project.answer("open", segments=SEGMENTS, cases=[case("a")], revision=3)  # the others became one
    assert project.answered == len(project.sent)


def test_cases_that_nobody_annotated_are_compared_once_and_ranked_by_what_comes_out(project: Project) -> None:
    session = project.open(case("a"), case("b"), case("c")).session
    assert [item.name for item in session.cases.ranked()] == ["a", "b", "c"]
    assert session.cases.first_to_annotate() is None
    project.answer("suggest", order=["c", "a", "b"])
    assert project.changed[-1] == []
    assert [item.name for item in session.cases.ranked()] == ["c", "a", "b"]
    assert session.cases.first_to_annotate().name == "c"

    session.refresh()
    cases = [case("a"), case("b"), case("c", "annotated")]
    project.answer("open", segments=SEGMENTS, cases=cases, suggested=["c", "a", "b"], revision=2)
    assert session.cases.first_to_annotate().name == "a"
    assert project.answered == len(project.sent)  # nothing new to compare

    session.refresh()
    cases.append(case("d"))
    project.answer("open", segments=SEGMENTS, cases=cases, suggested=["c", "a", "b"], revision=3)
    project.answer("suggest", "error", kind="system", text="The disk is full.")
    assert not project.failures  # nobody asked for it
    assert [item.name for item in session.cases.ranked()] == ["a", "b", "d", "c"]


def test_few_cases_and_finished_ones_are_not_compared(project: Project) -> None:
    project.open(case("a", "annotated"), case("b", "proposed"), case("c", "accepted"), case("d", "in work"))
    assert project.answered == len(project.sent)


def test_unsure_proposals_are_looked_at_first_and_finished_cases_last() -> None:
    cases = CaseList()
    rows = [("done", "annotated", None), ("new", "new", None), ("sure", "proposed", 0.9), ("unsure", "proposed", 0.2)]
    cases.replace_all(CaseInfo.from_dict(case(*row)) for row in rows)
    assert [item.name for item in cases.ranked()] == ["unsure", "sure", "new", "done"]
    assert cases.next_to_look_at(skipping=["unsure"]).name == "sure"
    assert cases.next_to_look_at(skipping=["unsure", "sure", "new"]) is None
    assert cases.neighbor("done", 1).name == "new" and cases.neighbor("unsure", 1) is None
    assert [item.name for item in cases.confident_proposals(0.5)] == ["sure"]
    assert [item.name for item in cases.matching("SURE", ["proposed"])] == ["sure", "unsure"]


def test_five_hundred_cases_are_ranked_and_filtered_in_a_moment() -> None:
    cases = CaseList()
    start = time.process_time()
    cases.replace_all(CaseInfo.from_dict(case(f"case {n:03}", "proposed", n / 500)) for n in range(500))
    assert cases.ranks()["case 000"] == 1 and len(cases.matching("49")) == 15
    assert time.process_time() - start < 0.1


def test_an_answer_changes_one_case(project: Project) -> None:
    project.open(case("a", "proposed", 0.4), case("b"))
    done = []
    project.session.accept("a", ["liver"], on_done=done.append)
    request = project.answer("accept", case=case("a", "accepted"), revision=2)
    assert request["segments"] == ["liver"] and request["author"] == "mk"
    assert project.session.cases.get("a").state == "accepted" and project.changed[-1] == ["a"]
    assert done[0].finished and project.session.revision == 2
    project.session.remove_case("b")
    project.answer("remove-case", revision=3)
    assert "b" not in project.session.cases and project.changed[-1] == ["b"]


def test_an_error_reaches_whoever_asked_or_else_everybody(project: Project) -> None:
    project.open(case("a"))
    errors = []
    project.session.reject("a", on_error=errors.append)
    project.answer("reject", "error", kind="project", text="It has no proposal.")
    project.session.reject("a")
    project.answer("reject", "error", kind="project", text="Still none.")
    assert [error.text for error in errors] == ["It has no proposal."]
    assert [error.text for error in project.failures] == ["Still none."]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (case("a", "proposed"), case("a", "accepted"), {"request": "remove-annotation"}),
        # The engine has not answered the accept yet.
        (case("a", "proposed"), case("a", "proposed"), {"request": "remove-annotation"}),
        (case("a", "in work", revision=1), case("a", "accepted", revision=2), {"state": "in work"}),
        (case("a", "annotated", revision=1), case("a", "accepted", revision=2), {"state": "annotated"}),
    ],
)
def test_an_accept_is_taken_back(project: Project, before: Any, now: Any, expected: Any) -> None:
    project.open(now)
    project.session.take_back(CaseInfo.from_dict(before))
    request = project.sent[-1]
    assert expected.items() <= request.items()
    if "state" in expected:
        assert request["path"] == str(Path("/p/annotations/previous/a.seg.nrrd"))


def test_a_reject_is_taken_back(project: Project) -> None:
    project.open(case("a", "rejected"))
    project.session.take_back_reject("a")
    assert project.sent[-1]["request"] == "take-back-reject"


# Annotations that must not be lost ------------------------------------------------------------------------------------


def test_a_mask_is_kept_until_the_engine_has_it(project: Project) -> None:
    project.open(case("a"))
    path = project.session.pending.path("a", "in work")
    path.write_bytes(b"mask")
    project.session.annotate("a", "in work")
    assert path.exists()
    request = project.answer("annotation-changed", case=case("a", "in work"), revision=2)
    assert request["path"] == str(path) and request["state"] == "in work"
    assert not path.exists() and not path.parent.parent.exists()


def test_a_mask_that_the_engine_took_after_the_project_was_closed_is_not_sent_again(project: Project) -> None:
    project.open(case("a"))
    path = project.session.pending.path("a", "in work")
    path.write_bytes(b"mask")
    project.session.annotate("a", "in work")
    project.session.close()
    project.answer("annotation-changed", case=case("a", "in work"), revision=2)
    assert not path.exists()


def test_a_waiting_mask_is_known_by_its_case_however_the_file_system_lists_its_name(project: Project) -> None:
    import unicodedata

    project.session.pending.path(unicodedata.normalize("NFD", "Müller"), "in work").write_bytes(b"mask")
    (waiting,) = project.session.pending.waiting()
    assert waiting.case == "M\u00fcller"


def test_a_mask_that_was_written_anew_meanwhile_stays(project: Project) -> None:
    project.open(case("a"))
    path = project.session.pending.path("a", "annotated")
    path.write_bytes(b"mask")
    project.session.annotate("a", "annotated")
    path.write_bytes(b"a later mask")
    project.answer("annotation-changed", case=case("a", "annotated"), revision=2)
    assert path.read_bytes() == b"a later mask"


def test_a_mask_that_was_replaced_or_taken_back_before_its_turn_is_missed_by_nobody(project: Project) -> None:
    project.open(case("a"))
    pending = project.session.pending
    for state in ("in work", "annotated"):
        pending.path("a", state).write_bytes(b"mask")
        project.session.annotate("a", state)
    for text in ("There is no such file.", "The disk is full."):
        project.answer("annotation-changed", "error", kind="system", text=text)
    assert [error.text for error in project.failures if not error.cancelled] == ["The disk is full."]
    assert pending.path("a", "annotated").exists()


def test_after_a_crash_the_waiting_mask_is_sent_again(project: Project) -> None:
    project.open(case("a"))
    path = project.session.pending.path("a", "annotated")
    path.write_bytes(b"mask")
    errors = []
    project.session.annotate("a", "annotated", on_error=errors.append)
    project.processes[-1].listener.on_finished(9, True)
    assert project.session.state is SessionState.FAILED and "crashed" in project.session.problem.text
    assert errors[0].kind == "crashed" and path.exists()
    project.session.restart()
    project.say(HELLO)
    project.answer("open", segments=SEGMENTS, cases=[case("a")], revision=1)
    project.answer("status", jobs=[])
    project.answer("generalists", generalists={})
    assert project.session.state is SessionState.OPEN and project.session.problem is None
    project.answer("annotation-changed", case=case("a", "annotated"), revision=2)
    assert not path.exists()


def test_of_drawn_slices_the_engine_is_told_that_the_others_are_unknown(project: Project) -> None:
    session = project.open(case("a")).session
    for partial in (True, False):
        session.pending.path("a", "in part").write_bytes(b"mask")
        session.annotate("a", "in part")
        answer = case("a", "in work")
        answer["annotation"]["provenance"] = {"partial": partial}
        request = project.answer("annotation-changed", case=answer, revision=2)
        assert request["unknown"] == "slices" and "state" not in request
        assert session.cases.get("a").teaches is partial and session.cases.annotated == partial
        assert bool(project.failures) is not partial  # where there is nothing to learn from, the person is told
    assert not session.pending.path("a", "in part").exists()


def test_half_done_work_replaces_an_older_finished_mask_that_still_waits(project: Project) -> None:
    project.open(case("a"))
    finished = project.session.pending.path("a", "annotated")
    finished.write_bytes(b"old")
    project.session.pending.path("a", "in work").write_bytes(b"new")
    project.session.annotate("a", "in work")
    assert not finished.exists()


# Training -------------------------------------------------------------------------------------------------------------


def test_training_goes_through_its_states_and_its_curves_grow(project: Project) -> None:
    project.open(case("a", "annotated"), case("b"))
    jobs, training = project.session.jobs, project.session.jobs.training
    jobs.train(TrainingOptions(minutes=2))
    jobs.train(TrainingOptions(minutes=2))  # a second click does nothing
    request = project.sent[-1]
    assert training.state is TrainingState.STARTING and request == {**request, "request": "train", "minutes": 2}
    number = request["id"]
    trust = {"nano": {"liver": 0.25}}
    project.say(
        {"event": "started", "id": number, "pid": 7},
        {"event": "metrics", "id": number, "step": 10, "loss": 0.8, "round": 0},
        {"event": "metrics", "id": number, "step": 20, "loss": 0.6, "round": 0, "trust": trust},
        {"event": "progress", "id": number, "fraction": 0.5, "seconds_left": 60, "text": "step 20"},
    )
    assert training.state is TrainingState.TRAINING and training.fraction == 0.5 and training.seconds_left == 60
    assert training.curve("loss") == ([10.0, 20.0], [0.8, 0.6]) and training.trust == trust
    assert training.names_of_curves() == ["loss"]
    jobs.stop_training()
    assert training.state is TrainingState.STOPPING and project.sent[-1]["request"] == "stop"
    project.say({"event": "done", "id": number, "stopped": True})
    assert training.state is TrainingState.IDLE and project.sent[-1]["request"] == "open"


def test_failed_training_says_why_and_may_begin_again(project: Project) -> None:
    project.open(case("a"))
    jobs = project.session.jobs
    jobs.train(TrainingOptions())
    project.answer("train", "error", kind="training", text="No case is annotated yet.")
    assert jobs.training.state is TrainingState.FAILED and "annotated" in jobs.training.problem.text
    jobs.train(TrainingOptions())
    assert jobs.training.state is TrainingState.STARTING and jobs.training.problem is None


def test_when_the_worker_dies_training_has_failed(project: Project) -> None:
    project.open(case("a", "annotated"))
    project.session.jobs.train(TrainingOptions())
    project.processes[-1].listener.on_finished(9, True)
    assert project.session.jobs.training.state is TrainingState.FAILED


def test_a_proposal_arrives_case_by_case(project: Project) -> None:
    project.open(case("a", "annotated"), case("b"))
    ready = []
    project.session.proposal_ready.connect(ready.append)
    project.session.jobs.train(TrainingOptions())
    number = project.sent[-1]["id"]
    project.answered += 1
    project.say({"event": "proposal-ready", "id": number, "case": "b", "confidence": 0.7})
    project.answer("case", case=case("b", "proposed", 0.7))
    assert ready == ["b"] and project.session.cases.get("b").confidence == 0.7


def test_earlier_rounds_are_in_the_curves(project: Project, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    lines = ['{"step": 10, "loss": 0.9}', '{"step": 20, "loss": 0.8}', '{"step": 10, "loss": 0.5}', '{"step": 2']
    (tmp_path / "log" / "history.jsonl").write_text("\n".join(lines))
    project.open(case("a"))
    assert project.session.jobs.training.curve("loss") == ([10.0, 20.0, 30.0], [0.9, 0.8, 0.5])


def test_a_round_that_was_killed_goes_on_in_its_own_curve(project: Project, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    steps = ((0, 10, 0.9), (0, 20, 0.8), (0, 15, 0.7), (1, 5, 0.5))
    lines = [f'{{"round": {number}, "step": {step}, "loss": {loss}}}' for number, step, loss in steps]
    (tmp_path / "log" / "history.jsonl").write_text("\n".join(lines))
    project.open(case("a"))
    assert project.session.jobs.training.curve("loss")[0] == [10.0, 20.0, 15.0, 20.0]


# Life -----------------------------------------------------------------------------------------------------------------


def test_nothing_is_told_after_close(project: Project) -> None:
    project.open(case("a"))
    project.session.refresh()
    before = len(project.changed)
    project.session.close()
    project.say({"event": "done", "id": project.sent[1]["id"], "segments": SEGMENTS, "cases": []})
    assert len(project.changed) == before and project.sent[-1]["request"] == "shutdown"


def test_a_project_that_cannot_be_read_says_why(project: Project) -> None:
    project.session.open()
    project.say(HELLO)
    project.answer("open", "error", kind="project", text="It is no project.")
    assert project.session.state is SessionState.FAILED and project.session.problem.text == "It is no project."


def test_recent_projects_survive_the_forms_in_which_qt_gives_lists_back(tmp_path: Path) -> None:
    class Settings:
        kept: Any = None

        def value(self, key: str) -> Any:
            return self.kept

        def setValue(self, key: str, value: list[str]) -> None:
            self.kept = value[0] if len(value) == 1 else tuple(value)

    recent = RecentProjects(Settings())
    folders = [tmp_path / str(n) for n in range(12)]
    for folder in folders:
        recent.add(folder)
    recent.add(folders[5])
    assert recent.all()[:2] == [folders[5], folders[11]] and len(recent.all()) == 10
    folders[5].mkdir()
    (folders[5] / "project.json").touch()
    assert recent.existing() == [folders[5]]
