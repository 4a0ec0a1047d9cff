"""What is known of the running training: its state, how far it is, its curves, and whom it trusts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from .signals import Signal
from .worker_messages import Event, WorkerError

# A few thousand lines; curves need no more, and reading them takes a moment only.
_HISTORY_BYTES = 1 << 20
# As many lines may be in the file already when the first one of a run is told.
_TOLD_LATE = 50


class TrainingState(Enum):
    """IDLE: none runs. STARTING: asked for. TRAINING. STOPPING: asked to stop. FAILED: ``problem`` says why."""

    IDLE = "idle"
    STARTING = "starting"
    TRAINING = "training"
    STOPPING = "stopping"
    FAILED = "failed"


# Which state may follow which; everything else is an event that came too late.
_FOLLOWING = {
    TrainingState.IDLE: {TrainingState.STARTING},
    TrainingState.STARTING: {
        TrainingState.TRAINING,
        TrainingState.STOPPING,
        TrainingState.IDLE,
        TrainingState.FAILED,
    },
    TrainingState.TRAINING: {TrainingState.STOPPING, TrainingState.IDLE, TrainingState.FAILED},
    TrainingState.STOPPING: {TrainingState.IDLE, TrainingState.FAILED},
    TrainingState.FAILED: {TrainingState.STARTING},
}


@dataclass
class TrainingMonitor:
    """The state of training, fed with the worker's events.

    fraction, seconds_left, text   of the last ``progress``
    history                        the lines of the engine's history, of this run and the ones before
    trust                          generalist -> segment -> 0 to 1, as measured last
    summary                        the answer of the last training that came to its end
    changed                        emitted without arguments after every change
    """

    state: TrainingState = TrainingState.IDLE
    fraction: float = 0.0
    seconds_left: float | None = None
    text: str = ""
    paused: bool = False
    problem: WorkerError | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    trust: dict[str, dict[str, float]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    changed: Signal = field(default_factory=Signal)
    _file: Path | None = None
    _begun: bool = False  # whether this run has told a line of its history

    @property
    def active(self) -> bool:
        """Whether one runs or is about to; then the Learn button is a Stop button."""
        return self.state in (TrainingState.STARTING, TrainingState.TRAINING, TrainingState.STOPPING)

    def go(self, state: TrainingState) -> bool:
        """Go to ``state`` if that makes sense now; whether it did."""
        if state not in _FOLLOWING[self.state]:
            return False
        self.state = state
        if state is TrainingState.STARTING:
            self.fraction, self.seconds_left, self.text = 0.0, None, ""
            self.problem, self.paused = None, False
            self._begun = False
        self.changed.emit()
        return True

    def take(self, event: Event) -> None:
        """An event of the ``train`` request that is not its last."""
        kind = event["event"]
        if kind == "started":
            self.go(TrainingState.TRAINING)
        elif kind == "progress":
            self.fraction = min(1.0, max(0.0, _number(event.get("fraction"), 0.0)))
            left = event.get("seconds_left")
            self.seconds_left = None if left is None else max(0.0, _number(left, 0.0))
            self.text = str(event.get("text") or "")
            self.changed.emit()
        elif kind == "metrics":
            line = {key: value for key, value in event.items() if key not in ("event", "id")}
            if not self._begun:
                self._begun = True
                self._read_file()  # learning anew has begun another one
            if line not in self.history[-_TOLD_LATE:]:
                self._take_line(line)
            self.changed.emit()

    def finish(self, answer: Mapping[str, Any]) -> None:
        """The ``done`` of training."""
        self.summary = {key: value for key, value in answer.items() if key not in ("event", "id")}
        self.paused = bool(answer.get("paused"))
        self.seconds_left = None
        if not answer.get("stopped"):
            self.fraction = 1.0
        self.go(TrainingState.IDLE)

    def fail(self, error: WorkerError) -> None:
        """The ``error`` of training."""
        self.seconds_left = None
        if error.cancelled:
            self.go(TrainingState.IDLE)
            return
        self.problem = error
        self.go(TrainingState.FAILED)

    def load_history(self, path: Path) -> None:
        """Read the lines that earlier runs left in ``log/history.jsonl``; damaged ones are passed over."""
        self._file = path
        self.reload_history()

    def reload_history(self) -> None:
        """Read them again, after the model was replaced: its curves are not those of the one before."""
        self._read_file()
        self.changed.emit()

    def _read_file(self) -> None:
        if self._file is None:
            return
        self.history.clear()
        self.trust = {}
        try:
            with self._file.open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - _HISTORY_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            try:
                facts = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(facts, dict):
                self._take_line(facts)

    def _take_line(self, facts: dict[str, Any]) -> None:
        self.history.append(facts)
        trust = facts.get("trust")
        if isinstance(trust, dict):
            self.trust = {
                str(name): {str(segment): _number(value, 0.0) for segment, value in values.items()}
                for name, values in trust.items()
                if isinstance(values, dict)
            }

    def names_of_curves(self) -> list[str]:
        """What ``curve`` can draw: every number in the history but those that only say when and where."""
        passed = {"step", "seconds", "round", "annotated", "learning_rate", "pseudo_labels"}
        names: dict[str, None] = {}
        for line in self.history:
            for name, value in line.items():
                if name not in passed and _is_number(value):
                    names[name] = None
        return list(names)

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        """Steps since the project's first training, and the values of ``name`` there; rounds follow each other."""
        steps: list[float] = []
        values: list[float] = []
        offset = last = 0.0
        this_round = None
        for line in self.history:
            step = _number(line.get("step"), 0.0)
            # A new round counts from 0 again; a killed one goes on a few steps before its end.
            if step < last and (line.get("round") is None or line.get("round") != this_round):
                offset += last
            last, this_round = step, line.get("round")
            if _is_number(line.get(name)):
                steps.append(offset + step)
                values.append(float(line[name]))
        return steps, values


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any, default: float) -> float:
    return float(value) if _is_number(value) else default
