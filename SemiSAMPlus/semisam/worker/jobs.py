"""The worker's long jobs: at most one training, and beside it at most one of the others, which wait for each other; and
what nobody waits for, which is beside them all."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semisam.worker.process import STOP_SECONDS, ChildJob
from semisam.worker.protocol import RequestId
from semisam.worker.tickets import Ticket


class Jobs:
    """Starts, stops and reports on the child processes."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._jobs: dict[RequestId, tuple[Ticket, ChildJob]] = {}
        self._training: RequestId | None = None
        self._beside: set[RequestId] = set()
        self._queue: deque[tuple[Ticket, list[str]]] = deque()
        self._waiting_for_training: list[Ticket] = []
        self._options: dict[str, Any] = {}
        self._pausing = False
        self._paused: dict[str, Any] | None = None
        self._closed = False

    # Training ---------------------------------------------------------------------------------------------------------

    def train(self, ticket: Ticket, project: Path, options: Mapping[str, Any]) -> None:
        """Start training with the options of the ``train`` command; "busy" when it already runs."""
        with self._lock:
            if self._training is not None:
                text = "Training already runs: stop it first, or let it learn from what you annotate meanwhile."
                ticket.refuse("busy", text)
                return
            self._options = {name: value for name, value in options.items() if value is not None}
            self._paused = None
            self._pausing = False
            self._training = ticket.id
            self._start(ticket, ["train", str(project), "--json", *option_words(self._options)])

    def resume(self, ticket: Ticket, project: Path) -> None:
        """Go on after ``pause``, with the options and for what is left of the budget."""
        with self._lock:
            if self._paused is None:
                ticket.refuse("usage", 'No training is paused: use "train", it goes on where the last one ended.')
                return
            self.train(ticket, project, self._paused)

    def stop_training(self, ticket: Ticket, pause: bool) -> None:
        """Ask training to end; ``ticket`` is done when it has, or at once when none runs."""
        with self._lock:
            if not ticket.begin():
                return
            if self._training is None:
                if not pause:
                    self._paused = None
                ticket.done({"was_running": False})
                return
            self._pausing = pause
            self._waiting_for_training.append(ticket)
            self._jobs[self._training][1].stop()

    # The others -------------------------------------------------------------------------------------------------------

    def beside(self, ticket: Ticket, arguments: list[str]) -> None:
        """Run ``python -m semisam`` with ``arguments`` now, without standing in the way of any other job."""
        with self._lock:
            self._beside.add(ticket.id)
            self._start(ticket, arguments)
            self._beside &= self._jobs.keys()  # it may have been cancelled already

    def queue(self, ticket: Ticket, arguments: list[str]) -> None:
        """Run ``python -m semisam`` with ``arguments`` as soon as no other job (but training) runs."""
        with self._lock:
            self._queue.append((ticket, arguments))
            self._start_next()

    def _start_next(self) -> None:
        while self._queue and not self._jobs.keys() - self._beside - {self._training}:
            ticket, arguments = self._queue.popleft()
            if not ticket.closed:
                self._start(ticket, arguments)

    # All --------------------------------------------------------------------------------------------------------------

    def _start(self, ticket: Ticket, arguments: list[str]) -> None:
        job = ChildJob(arguments, ticket.emit, lambda name, fields: self._end(ticket, name, dict(fields)))
        if self._closed or not ticket.begin(on_cancel=job.stop):
            if self._training == ticket.id:
                self._training = None
            return
        self._jobs[ticket.id] = (ticket, job)
        job.start()

    def _end(self, ticket: Ticket, name: str, fields: dict[str, Any]) -> None:
        with self._lock:
            del self._jobs[ticket.id]
            self._beside.discard(ticket.id)
            waiting: list[Ticket] = []
            if self._training == ticket.id:
                self._training = None
                waiting, self._waiting_for_training = self._waiting_for_training, []
                # One that was stopped while it wrote its last proposals has nothing left of its budget to go on with.
                if name == "done" and self._pausing and fields.get("finished") is False:
                    # The checkpoint knows how much of the budget is left; a second fresh start would forget it.
                    self._paused = {name: value for name, value in self._options.items() if name != "fresh"}
                    fields["paused"] = True
            if ticket.cancelled and name == "done":
                name, fields = "error", {"kind": "cancelled", "text": "The request was cancelled."}
            ticket.end_with(name, fields)
            for other in waiting:
                other.done({"was_running": True})
            self._start_next()
            self._idle.notify_all()

    def status(self) -> list[dict[str, Any]]:
        """What runs and what waits, for people and programs."""
        with self._lock:
            running = [
                {
                    "id": ticket.id,
                    "request": ticket.request.name,
                    "state": "stopping" if job.stopping else "running",
                    "pid": job.pid,
                    "seconds": round(job.seconds, 1),
                    "progress": job.latest,
                }
                for ticket, job in self._jobs.values()
            ]
            waiting = [
                {"id": ticket.id, "request": ticket.request.name, "state": "waiting"}
                for ticket, _ in self._queue
                if not ticket.closed
            ]
            return running + waiting

    @property
    def busy(self) -> bool:
        """Whether any job runs or waits that another project would have to wait for."""
        with self._lock:
            return bool(self._jobs.keys() - self._beside) or any(not ticket.closed for ticket, _ in self._queue)

    @property
    def paused(self) -> bool:
        """Whether ``resume`` has something to go on with."""
        return self._paused is not None

    def forget_pause(self) -> None:
        """Drop what ``resume`` would go on with, because it belonged to another project."""
        self._paused = None

    def close(self, seconds: float) -> None:
        """Stop everything and start nothing more; returns when all processes are gone."""
        with self._lock:
            self._closed = True
            for ticket, _ in self._queue:
                ticket.cancel()
            self._queue.clear()
            for _, job in self._jobs.values():
                job.stop(seconds)
            self._idle.wait_for(lambda: not self._jobs, timeout=seconds + STOP_SECONDS)


def option_words(values: Mapping[str, Any]) -> list[str]:
    """Options of a command as words of its command line; None and False are left out."""
    words: list[str] = []
    for name, value in values.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            # One word, so that a value that begins with a dash is not taken for an option.
            words.append(f"--{name}={value:g}" if isinstance(value, float) else f"--{name}={value}")
    return words
