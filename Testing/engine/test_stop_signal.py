"""How commands are stopped, seen from outside: real processes that ask ``stop_signal`` whether to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from semisam.cli import main
from semisam.processes import process_start
from semisam.worker import stop_signal
from semisam.worker.stop_signal import CHILD_VARIABLE
from worker_client import environment

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and process groups")

POLITE = """
import time
from semisam.worker import stop_signal
stop = stop_signal.install()
print("ready", flush=True)
while not stop():
    time.sleep(0.01)
print(stop.reason, flush=True)
"""
DEAF = """
import subprocess, sys, time
from semisam.worker import stop_signal
stop_signal.install(parent_gone_seconds=0.3)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""
HASTY = """
import time
from semisam.worker import stop_signal
stop_signal.exit_when_asked()
print("ready", flush=True)
time.sleep(60)
"""


def start(program: str, child: bool = True, errors: int | None = None) -> tuple[subprocess.Popen[bytes], bytes]:
    variables = {**environment(), **({CHILD_VARIABLE: "1"} if child else {})}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=pipe, stdout=pipe, stderr=errors, env=variables, process_group=0
    )
    assert process.stdout is not None
    return process, process.stdout.readline()


def finish(process: subprocess.Popen[bytes], data: bytes | None = None) -> str:
    try:
        return process.communicate(data, timeout=10)[0].decode()
    finally:
        process.kill()


def test_a_child_stops_on_the_word_also_when_it_comes_in_pieces() -> None:
    process, _ = start(POLITE)
    assert process.stdin is not None
    for piece in (b"noise\nst", b"op\r", b"\n"):
        process.stdin.write(piece)
        process.stdin.flush()
        time.sleep(0.05)
    assert process.wait(10) == 0
    assert "on request" in finish(process)


def test_a_child_stops_when_its_input_ends() -> None:
    process, _ = start(POLITE)
    assert "is gone" in finish(process)
    assert process.returncode == 0


def test_a_command_in_a_terminal_does_not_look_at_its_input() -> None:
    process, _ = start(POLITE, child=False)
    assert process.stdin is not None
    process.stdin.write(b"stop\n")
    process.stdin.close()
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert process.stdout is not None and b"SIGTERM" in process.stdout.read()


def test_an_interruption_is_told_at_once_and_not_among_the_answers() -> None:
    process, _ = start(DEAF, child=False, errors=subprocess.PIPE)
    assert process.stderr is not None
    try:
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == b"\n"
        assert b"saving what was learned" in process.stderr.readline()
        assert process.poll() is None  # long before its end
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    process, _ = start(POLITE, child=False, errors=subprocess.PIPE)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert out == b"Stopped.\n"


def test_a_child_that_does_not_listen_ends_after_its_parent_with_what_it_started() -> None:
    process, line = start(DEAF)
    grandchild = int(line)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) != 0
    end = time.monotonic() + 5
    while process_start(grandchild) is not None and time.monotonic() < end:
        time.sleep(0.02)
    assert process_start(grandchild) is None


def test_a_second_signal_ends_a_command_that_does_not_listen() -> None:
    process, line = start(DEAF, child=False)
    try:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM
    finally:
        os.kill(int(line), signal.SIGKILL)
        process.kill()


@pytest.mark.parametrize("data", [b"stop\n", b""])
def test_a_command_with_nothing_to_save_ends_at_once(data: bytes) -> None:
    process, _ = start(HASTY)
    begun = time.monotonic()
    finish(process, data)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "words",
    [
        "train nowhere",
        "propose nowhere",
        "segment nowhere a.nrrd -o masks",
        "report nowhere",
        "suggest nowhere",
        "model export nowhere a.semisam",
        "model import nowhere a.semisam",
        "generalists add sam nowhere.pth",
    ],
)
def test_every_job_of_the_worker_notices_when_the_worker_is_gone(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    watched: list[bool] = []
    monkeypatch.setenv(CHILD_VARIABLE, "1")
    monkeypatch.setattr(stop_signal, "_start_watching", lambda *_: watched.append(True))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main(words.split()) != 0
    assert watched == [True]
