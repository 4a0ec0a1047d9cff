"""Long work behind the worker: real training processes that run, stop, crash, and lose their parent."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from semisam.processes import process_start
from semisam.project import Project
from semisam.worker import process
from semisam.worker.jobs import Jobs
from semisam.worker.process import ChildJob, Emit
from semisam.worker.protocol import Request
from semisam.worker.tickets import Desk, Ticket
from test_worker import WALKER, make_project, wait_until_gone
from worker_client import WorkerClient

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_project(tmp_path / "ein Ordner")


@pytest.fixture
def client(path: Path) -> Iterator[WorkerClient]:
    with WorkerClient(path) as worker:
        yield worker


def begin_training(client: WorkerClient, **options: object) -> tuple[object, int]:
    """The request's id and the process id, once steps are being made."""
    training = client.send("train", generalist="none", **options)
    pid = client.event(training, "started")["pid"]
    client.event(training, "metrics", seconds=90)
    return training, pid


def test_clicks_are_served_while_training_runs_which_stops_and_goes_on(client: WorkerClient, tmp_path: Path) -> None:
    click = {"case": "b", "generalist": WALKER, "box": [7, 9, 7, 17, 23, 21], "output": tmp_path / "o.nrrd"}
    client.ask("prompt", **click)
    training, pid = begin_training(client, minutes=5)
    assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, client.process.pid)

    begun = time.monotonic()
    for _ in range(5):
        assert client.ask("prompt", **click)["event"] == "done"
    assert time.monotonic() - begun < 5
    assert client.ask("train")["kind"] == "busy"
    (job,) = client.ask("status")["jobs"]
    assert (job["request"], job["state"], job["pid"]) == ("train", "running", pid)

    begun = time.monotonic()
    pause = client.send("pause")
    last = client.event(training)
    assert last["event"] == "done" and last["stopped"] and last["paused"], last
    assert client.event(pause)["was_running"]
    assert time.monotonic() - begun < 15
    assert wait_until_gone(pid, 1)

    resumed = client.send("resume")
    pid = client.event(resumed, "started")["pid"]
    client.event(resumed, "progress", seconds=60)
    os.kill(pid, signal.SIGKILL)
    last = client.event(resumed)
    assert (last["event"], last["kind"]) == ("error", "crashed")
    assert client.ask("prompt", **click)["event"] == "done"
    assert client.ask("stop")["was_running"] is False


def test_training_ends_when_the_worker_is_killed(path: Path) -> None:
    worker = WorkerClient(path)
    try:
        _, pid = begin_training(worker, minutes=5)
        worker.process.kill()
        worker.process.wait()
        assert wait_until_gone(pid, 15)
        assert Project.open(path).annotation("a").voxels.any()
    finally:
        worker.kill()


def test_the_end_of_input_ends_jobs_and_worker(path: Path) -> None:
    with WorkerClient(path) as worker:
        training = worker.send("train", generalist="none", minutes=5)
        pid = worker.event(training, "started")["pid"]
        assert worker.end(20) == 0
        assert process_start(pid) is None


def test_what_a_command_says_in_words_becomes_the_error(client: WorkerClient, tmp_path: Path) -> None:
    wrong = client.ask("train", generalist="guessing", steps=1, seconds=60)
    assert (wrong["event"], wrong["kind"]) == ("error", "generalist") and "guessing" in wrong["text"]
    image = str(tmp_path / "-none.nii.gz")
    missing = client.ask("segment", images=[image], output=tmp_path / "out", seconds=60)
    assert (missing["event"], missing["kind"]) == ("error", "usage") and image in missing["text"]


def test_jobs_wait_for_each_other_and_can_be_cancelled(client: WorkerClient, tmp_path: Path) -> None:
    first, second = client.send("report"), client.send("report")
    client.event(first, "started")
    states = [job["state"] for job in client.ask("status")["jobs"]]
    assert states == ["running", "waiting"]
    assert client.ask("cancel", target=second)["cancelled"]
    assert client.event(second)["kind"] == "cancelled"
    assert client.ask("cancel", target=first)["cancelled"]
    assert client.event(first, seconds=60)["event"] == "error"


def test_which_cases_to_annotate_first_is_found_out_beside_the_jobs(client: WorkerClient) -> None:
    client.ask("open")
    report, suggest = client.send("report"), client.send("suggest")
    client.event(suggest, "started")  # at once, although the report has only begun
    answer = client.event(suggest, seconds=60)
    assert answer["event"] == "done" and answer["order"]
    assert client.event(report, seconds=60)["event"] == "done"
    assert client.ask("open")["suggested"] == answer["order"]


def test_a_process_that_does_not_listen_is_killed_with_everything_it_started(path: Path) -> None:
    events: list[tuple[str, dict]] = []
    over = threading.Event()

    def on_end(name: str, fields: dict) -> None:
        events.append((name, fields))
        over.set()

    # A worker is a command that runs until its input ends and does not know the word "stop".
    job = ChildJob(["worker", str(path)], lambda name, fields: events.append((name, fields)), on_end)
    job.start()
    pid = job.pid
    assert pid is not None
    while not any(name == "hello" for name, _ in events):
        time.sleep(0.02)
    job.stop(seconds=0.3)
    assert over.wait(10)
    assert process_start(pid) is None
    name, fields = events[-1]
    assert (name, fields["kind"]) == ("error", "cancelled")


def ticket(number: int, events: list[dict]) -> Ticket:
    desk = Desk(lambda event: events.append(dict(event)))
    made = desk.open(Request(number, "report", {}))
    assert made is not None
    return made


def test_a_process_that_cannot_be_started_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(arguments: object) -> None:
        raise ValueError("half a character")

    monkeypatch.setattr("semisam.worker.process._spawn", refuse)
    events: list[dict] = []
    jobs = Jobs()
    for number in (1, 2):
        jobs.queue(ticket(number, events), ["report"])
    assert [(event["id"], event["event"], event["kind"]) for event in events] == [
        (1, "error", "crashed"),
        (2, "error", "crashed"),
    ]
    assert not jobs.busy


def test_a_job_that_is_cancelled_while_it_starts_stops(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[dict] = []
    jobs, request = Jobs(), ticket(1, events)
    spawn = process._spawn

    def slow(arguments: list[str]) -> object:
        assert request.cancel()
        return spawn(arguments)

    monkeypatch.setattr(process, "_spawn", slow)
    jobs.queue(request, ["report", str(path), "--json"])
    end = time.monotonic() + 30
    while jobs.busy and time.monotonic() < end:
        time.sleep(0.02)
    assert (events[-1]["event"], events[-1]["kind"]) == ("error", "cancelled")
    assert not (path / "report.html").exists()


@pytest.mark.parametrize("finished", [False, True])
def test_only_a_round_that_is_not_finished_can_be_resumed(
    path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    class Trained:
        """A training that ends as soon as it is asked to."""

        def __init__(self, arguments: list[str], emit: Emit, on_end: Emit) -> None:
            self.start = lambda: None
            self.stop = lambda: on_end("done", {"finished": finished, "stopped": True})

    monkeypatch.setattr("semisam.worker.jobs.ChildJob", Trained)
    events: list[dict] = []
    jobs = Jobs()
    jobs.train(ticket(1, events), path, {"minutes": 5.0})
    jobs.stop_training(ticket(2, events), pause=True)
    assert [event["id"] for event in events] == [1, 2]
    assert jobs.paused is not finished and events[0].get("paused", False) is not finished
