"""Progress on a terminal, in a pipe, and for machines."""

from __future__ import annotations

import io
import json

import pytest

from semisam.console import table
from semisam.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_durations_are_told_in_words():
    assert [duration(value) for value in (0.4, 59.4, 200, 3900)] == ["0 s", "59 s", "3 min 20 s", "1 h 05 min"]


def test_a_pipe_gets_plain_lines_now_and_then():
    stream = io.StringIO()
    with Progress(stream, title="Training") as progress:
        for step in range(1001):
            progress({"event": "progress", "fraction": step / 1000, "seconds_left": 60.0, "text": f"step {step}"})
    lines = stream.getvalue().splitlines()
    assert 10 <= len(lines) <= 12
    assert lines[0] == "Training: 0%, 1 min 00 s left, step 0"
    assert "\x1b" not in stream.getvalue() and "\r" not in stream.getvalue()


def test_a_terminal_gets_one_line_that_is_gone_at_the_end():
    stream = Terminal()
    with Progress(stream, title="Training") as progress:
        progress({"event": "progress", "fraction": 0.5, "seconds_left": 90, "text": "step 5"})
        progress({"event": "log", "text": "a remark"})
        progress({"event": "progress", "fraction": 1.0})
    text = stream.getvalue()
    assert "50%" in text and "1 min 30 s left" in text
    assert "\r\x1b[Ka remark\n" in text
    assert text.endswith("\r\x1b[K")


def test_machines_get_every_event_as_strict_json():
    stream = io.StringIO()
    with Progress(stream, as_json=True) as progress:
        progress({"event": "metrics", "loss": float("nan"), "step": 3})
        progress({"event": "progress", "fraction": 0.25})
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert events == [{"event": "metrics", "loss": None, "step": 3}, {"event": "progress", "fraction": 0.25}]


def test_a_loop_gets_an_estimate_of_the_time_left(monkeypatch: pytest.MonkeyPatch):
    stream, now = io.StringIO(), [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress(stream)
    for done in range(3):
        progress.step(done, 4, f"case {done}")
        now[0] += 10.0
    assert stream.getvalue().splitlines() == ["25%, 30 s left, case 1", "50%, 20 s left, case 2"]


def test_columns_of_numbers_are_aligned_to_the_right():
    text = table(["name", "Dice"], [["a", 0.5], ["longer", None]])
    assert text.splitlines() == ["name     Dice", "------  -----", "a       0.500", "longer"]
