"""The client of the worker, on a process that says what the test wants."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from event_loop import ChildProcess, EventLoop, ScriptedProcess
from SemiSAMPlusLib.lines import LineReader
from SemiSAMPlusLib.process import Launch
from SemiSAMPlusLib.worker_client import SHUTDOWN_SECONDS, WorkerClient, WorkerRequest, WorkerState

HELLO = {
    "event": "hello",
    "id": None,
    "protocol": 1,
    "engine": "0.1.0",
    "pid": 4712,
    "requests": ["open", "train", "cancel"],
}


class Heard:
    """Remembers what became of a request."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.done: list[dict[str, Any]] = []
        self.errors: list[Any] = []

    def ask(self, client: WorkerClient, name: str, **fields: Any) -> WorkerRequest:
        return client.request(
            name, fields, on_event=self.events.append, on_done=self.done.append, on_error=self.errors.append
        )


class Stage:
    """A client whose processes are scripted."""

    def __init__(self, loop: EventLoop) -> None:
        self.loop = loop
        self.processes: list[ScriptedProcess] = []
        self.killed: list[int] = []
        self.states: list[WorkerState] = []
        self.client = WorkerClient(Launch("python"), self._make, loop, kill=self._kill)
        self.client.state_changed.connect(self.states.append)

    def _kill(self, pids: list[int], *, children: bool = True) -> None:
        self.killed += pids
        self.children = children

    def _make(self) -> ScriptedProcess:
        self.processes.append(ScriptedProcess())
        return self.processes[-1]

    @property
    def process(self) -> ScriptedProcess:
        return self.processes[-1]

    @property
    def listener(self) -> Any:
        assert self.process.listener is not None
        return self.process.listener

    def start(self) -> Stage:
        self.client.start()
        self.say(HELLO)
        return self

    def say(self, *events: dict[str, Any]) -> None:
        self.listener.on_output(b"".join(json.dumps(event).encode() + b"\n" for event in events))
        self.loop.settle()

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.process.written.splitlines()]


@pytest.fixture
def stage(loop: EventLoop) -> Stage:
    return Stage(loop)


# Lines ----------------------------------------------------------------------------------------------------------------


def test_lines_in_pieces_of_every_size_come_out_whole() -> None:
    text = "första raden\r\n\n{}\n最後".encode()
    for size in range(1, len(text) + 1):
        reader = LineReader()
        lines = [line for start in range(0, len(text), size) for line in reader.feed(text[start : start + size])]
        assert [line.data.decode() for line in lines] == ["första raden", "{}"]
        rest = reader.rest()
        assert rest is not None and rest.data.decode() == "最後"


def test_a_line_that_is_too_long_is_told_once_and_the_next_one_is_read() -> None:
    reader = LineReader(limit=10)
    pieces = [b"x" * 8, b"x" * 8, b"x" * 8, b"\nshort\n"]
    lines = [line for piece in pieces for line in reader.feed(piece)]
    assert [(line.too_long, line.data) for line in lines] == [(True, b"x" * 16), (False, b"short")]


# Requests -------------------------------------------------------------------------------------------------------------


def test_requests_wait_for_hello_and_keep_their_order(stage: Stage) -> None:
    stage.client.start()
    Heard().ask(stage.client, "open")
    Heard().ask(stage.client, "train", steps=3, minutes=None)
    assert stage.process.written == b""
    stage.say(HELLO)
    assert [(item["request"], item.get("steps")) for item in stage.sent] == [("open", None), ("train", 3)]
    assert "minutes" not in stage.sent[1]
    assert stage.states == [WorkerState.STARTING, WorkerState.RUNNING]


def test_each_request_hears_its_own_events_and_one_end(stage: Stage) -> None:
    stage.start()
    first, second = Heard(), Heard()
    one, two = first.ask(stage.client, "open"), second.ask(stage.client, "train")
    stage.say(
        {"event": "progress", "id": two.id, "fraction": 0.5},
        {"event": "done", "id": one.id, "name": "Lungenflügel – 肺"},
        {"event": "error", "id": two.id, "kind": "busy", "text": "Training already runs."},
        {"event": "done", "id": two.id},
    )
    assert [event["name"] for event in first.done] == ["Lungenflügel – 肺"]
    assert [event["fraction"] for event in second.events] == [0.5]
    assert [(error.kind, error.text) for error in second.errors] == [("busy", "Training already runs.")]
    assert second.done == []


def test_an_event_cut_within_a_character_is_read(stage: Stage) -> None:
    stage.start()
    heard = Heard()
    request = heard.ask(stage.client, "open")
    line = json.dumps({"event": "done", "id": request.id, "name": "é"}, ensure_ascii=False).encode() + b"\n"
    cut = line.index("é".encode()) + 1
    stage.listener.on_output(line[:cut])
    stage.listener.on_output(line[cut:])
    assert heard.done[0]["name"] == "é"


def test_garbage_is_logged_and_does_no_harm(stage: Stage) -> None:
    stage.start()
    heard, logged = Heard(), []
    stage.client.logged.connect(logged.append)
    request = heard.ask(stage.client, "open")
    stage.listener.on_output(b'Warning: \xff\xfe\n[1, 2]\n{"event": 3}\n' + b"[" * 100_000 + b"\n")
    stage.say(
        {"event": "done", "id": "unknown"}, {"event": "new kind", "id": None}, {"event": "done", "id": request.id}
    )
    assert len(heard.done) == 1
    assert logged[0].startswith("Warning: ") and len(logged) == 4


def test_an_answer_that_is_too_long_ends_its_request_with_an_error(stage: Stage, monkeypatch) -> None:
    monkeypatch.setattr("SemiSAMPlusLib.ear.LineReader", lambda limit=1000: LineReader(1000))
    stage.start()
    heard = Heard()
    request = heard.ask(stage.client, "open")
    stage.say({"event": "done", "id": request.id, "cases": ["x" * 2000]})
    assert "too long" in heard.errors[0].text


def test_a_listener_that_fails_does_not_stop_the_others(stage: Stage) -> None:
    stage.start()
    heard = Heard()

    def fail(event: object) -> None:
        raise RuntimeError("defect")

    bad = stage.client.request("open", on_done=fail)
    good = heard.ask(stage.client, "open")
    stage.say({"event": "done", "id": bad.id}, {"event": "done", "id": good.id})
    assert len(heard.done) == 1


def test_what_the_engine_cannot_do_is_told_in_words(stage: Stage, loop: EventLoop) -> None:
    stage.start()
    heard = Heard()
    heard.ask(stage.client, "dance")
    assert heard.errors == []  # never before the call has returned
    loop.run_until(lambda: heard.errors)
    assert '"dance"' in heard.errors[0].text and stage.sent == []


def test_cancel_is_sent_for_what_runs_and_ends_at_once_what_was_not_sent(stage: Stage, loop: EventLoop) -> None:
    stage.client.start()
    waiting = Heard()
    stage.client.cancel(waiting.ask(stage.client, "open"))
    stage.say(HELLO)
    loop.run_until(lambda: waiting.errors)
    assert waiting.errors[0].cancelled and stage.sent == []
    running = Heard().ask(stage.client, "train")
    stage.client.cancel(running)
    assert stage.sent[-1]["request"] == "cancel" and stage.sent[-1]["target"] == running.id


def test_a_flood_of_lines_leaves_the_event_loop_its_turns(stage: Stage, loop: EventLoop) -> None:
    stage.start()
    heard = []
    request = stage.client.request("train", on_event=lambda event: (heard.append(event), time.sleep(0.001)))
    flood = b"".join(
        json.dumps({"event": "metrics", "id": request.id, "step": step}).encode() + b"\n" for step in range(300)
    )
    stage.listener.on_output(flood)
    assert 0 < len(heard) < 50  # a turn takes some 15 ms, and each event 1 ms at least
    loop.run_until(lambda: len(heard) == 300)
    assert [event["step"] for event in heard] == list(range(300))


# Versions, deaths -----------------------------------------------------------------------------------------------------


def test_another_version_of_the_protocol_is_refused_in_words(stage: Stage) -> None:
    stage.client.start()
    heard = Heard()
    heard.ask(stage.client, "open")
    stage.say({**HELLO, "protocol": 2})
    assert stage.client.state is WorkerState.FAILED and stage.process.killed
    assert "version 2" in heard.errors[0].text and stage.process.written == b""


def test_when_the_worker_dies_every_request_ends_and_its_jobs_are_killed(stage: Stage) -> None:
    stage.start()
    first, second = Heard(), Heard()
    first.ask(stage.client, "open")
    training = second.ask(stage.client, "train")
    stage.say({"event": "started", "id": training.id, "pid": 5001})
    stage.listener.on_error_output(b"Traceback\nMemoryError")
    stage.listener.on_finished(9, True)
    assert [heard.errors[0].kind for heard in (first, second)] == ["crashed", "crashed"]
    assert "crashed" in first.errors[0].text and first.errors[0].last_lines == ("Traceback", "MemoryError")
    assert stage.killed == [5001] and stage.client.state is WorkerState.FAILED


def test_after_a_death_requests_fail_with_its_reason_until_it_is_restarted(stage: Stage, loop: EventLoop) -> None:
    stage.start()
    stage.listener.on_finished(3, False)
    heard = Heard()
    heard.ask(stage.client, "open")
    loop.run_until(lambda: heard.errors)
    assert "exit code 3" in heard.errors[0].text
    stage.client.restart()
    stage.say(HELLO)
    assert stage.client.state is WorkerState.RUNNING and stage.client.problem is None
    again = Heard()
    request = again.ask(stage.client, "open")
    stage.say({"event": "done", "id": request.id})
    assert again.done


def test_the_old_process_is_not_heard_after_a_restart(stage: Stage) -> None:
    stage.start()
    old = stage.listener
    stage.client.restart()
    stage.say(HELLO)
    heard = Heard()
    request = heard.ask(stage.client, "open")
    old.on_output(json.dumps({"event": "done", "id": request.id}).encode() + b"\n")
    old.on_finished(9, True)
    assert heard.done == [] and stage.client.state is WorkerState.RUNNING


def test_kill_ends_launcher_worker_and_jobs(stage: Stage) -> None:
    stage.start()
    heard = Heard()
    training = heard.ask(stage.client, "train")
    stage.say({"event": "started", "id": training.id, "pid": 5001})
    stage.client.kill()
    assert stage.process.killed and sorted(stage.killed) == [4712, 5001]
    assert heard.errors[0].cancelled and stage.client.state is WorkerState.STOPPED


def test_at_exit_jobs_may_save_what_they_have(stage: Stage) -> None:
    stage.start()
    training = Heard().ask(stage.client, "train")
    stage.say({"event": "started", "id": training.id, "pid": 5001})
    stage.client.kill(jobs_may_save=True)
    assert stage.process.killed and stage.killed == [4712] and not stage.children


def test_stop_asks_first_and_kills_after_a_while(stage: Stage, loop: EventLoop, monkeypatch) -> None:
    monkeypatch.setattr("SemiSAMPlusLib.worker_client.SHUTDOWN_SECONDS", 0.05)
    assert SHUTDOWN_SECONDS > 8  # what the worker gives its jobs
    stage.start()
    stage.client.stop()
    assert stage.sent[-1]["request"] == "shutdown" and stage.process.input_closed and not stage.process.killed
    loop.run_until(lambda: stage.process.killed, 2)
    assert stage.client.state is WorkerState.STOPPED


def test_a_worker_that_never_answers_is_told(stage: Stage, loop: EventLoop, monkeypatch) -> None:
    monkeypatch.setattr("SemiSAMPlusLib.worker_client.HELLO_SECONDS", 0.05)
    stage.client.start()
    loop.run_until(lambda: stage.client.state is WorkerState.FAILED, 2)
    assert stage.process.killed and "does not answer" in stage.client.problem.text


def test_a_program_that_cannot_be_started_is_named(loop: EventLoop) -> None:
    client = WorkerClient(Launch("/nowhere/python"), lambda: ChildProcess(loop), loop)
    heard = Heard()
    client.start()
    heard.ask(client, "open")
    loop.run_until(lambda: heard.errors)
    assert "/nowhere/python" in heard.errors[0].text and client.state is WorkerState.FAILED


def test_a_program_that_says_why_it_cannot_run_is_quoted(loop: EventLoop) -> None:
    launch = Launch("/bin/sh", ("-c", "echo No module named semisam >&2; exit 1"), {"PATH": "/usr/bin:/bin"})
    client = WorkerClient(launch, lambda: ChildProcess(loop), loop)
    client.start()
    loop.run_until(lambda: client.state is WorkerState.FAILED)
    assert "No module named semisam" in client.problem.text
