"""The worker: serves the protocol of ``PROTOCOL.md`` on standard input and output until its parent goes away.

It serves clicks itself, from generalists and embeddings kept in memory, and never trains: training, proposals and
segmentation run in child processes at low priority (``worker_process.py``). Nothing heavy is imported before the first
request that needs it.
"""

from __future__ import annotations

import logging
import os
import platform
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from semisam import __version__
from semisam.errors import UsageError
from semisam.generalists import registry, weights
from semisam.specialists.devices import devices_in_words
from semisam.worker.jobs import Jobs, option_words
from semisam.worker.lanes import Lane
from semisam.worker.outbox import Outbox
from semisam.worker.protocol import (
    ERROR_KINDS,
    LINE_BYTES,
    PROTOCOL_VERSION,
    REQUESTS,
    LineSplitter,
    Refusal,
    Request,
    parse_line,
)
from semisam.worker.stop_signal import take_stdin
from semisam.worker.store import Store
from semisam.worker.tickets import Desk, Ticket

if TYPE_CHECKING:
    from semisam.worker.interactive import PromptService

CLOSE_SECONDS = 8.0
_WAITING_CLICKS = 200
_WAITING_LINES = 1000
_FAREWELL_SECONDS = 2.0


class _End:
    """In the inbox, this means: no more requests come."""


class Worker:
    """Hands requests to whoever serves them. ``put`` takes the events."""

    def __init__(self, project: Path, put: Callable[[dict[str, Any]], None]) -> None:
        self._put = put
        self._desk = Desk(lambda event: put(dict(event)))
        self._jobs = Jobs()
        self._store = Store(project)
        self._store_lane = Lane("store")
        self._click_lane = Lane("clicks")
        self._clicks: PromptService | None = None
        self._handlers: dict[str, Callable[[Ticket], None]] = {
            "open": self._open,
            "create": lambda ticket: self._in_store_lane(ticket, self._store.create),
            "change-segments": lambda ticket: self._in_store_lane(ticket, self._store.change_segments),
            "status": lambda ticket: self._in_store_lane(ticket, self._status),
            "train": lambda ticket: self._jobs.train(ticket, self._store.path, ticket.request.values),
            "resume": lambda ticket: self._jobs.resume(ticket, self._store.path),
            "pause": lambda ticket: self._jobs.stop_training(ticket, pause=True),
            "stop": lambda ticket: self._jobs.stop_training(ticket, pause=False),
            "propose": lambda ticket: self._command(ticket),
            "report": lambda ticket: self._command(ticket),
            "suggest": self._suggest,
            "segment": self._segment,
            "export-model": lambda ticket: self._model(ticket, "export"),
            "import-model": lambda ticket: self._model(ticket, "import"),
            "show-model": lambda ticket: self._in_store_lane(ticket, self._store.show_model),
            "generalists": lambda ticket: self._in_store_lane(ticket, _generalists),
            "add-generalist": self._add_generalist,
            "encode": lambda ticket: self._in_click_lane(ticket, priority=1),
            "prompt": lambda ticket: self._in_click_lane(ticket, priority=0),
            "cancel": self._cancel,
        }
        for name in self._store.requests:
            self._handlers[name] = lambda ticket: self._in_store_lane(ticket, self._store.serve)

    @property
    def computing(self) -> bool:
        """Whether a click or a change of the store is being served this moment."""
        return self._click_lane.busy or self._store_lane.busy

    def hello(self) -> None:
        """Say who we are."""
        self._put(
            {
                "event": "hello",
                "id": None,
                "protocol": PROTOCOL_VERSION,
                "engine": __version__,
                "python": platform.python_version(),
                "pid": os.getpid(),
                "project": self._store.path,
                "requests": list(REQUESTS),
                "generalists": registry.at_hand(),
                "error_kinds": list(ERROR_KINDS),
                "line_bytes": LINE_BYTES,
            }
        )

    def take(self, item: Request | Refusal) -> bool:
        """Begin to serve a request; returns at once. False when it was ``shutdown`` and everything has ended."""
        if isinstance(item, Refusal):
            self._refuse(item)
            return True
        ticket = self._desk.open(item)
        if ticket is None:
            text = f'A request with the id "{item.id}" is still being served: give every request an id of its own.'
            self._refuse(Refusal(item.id, "bad-request", text))
            return True
        if item.name == "shutdown":
            self.close(besides=ticket)
            ticket.done()
            return False
        try:
            self._handlers[item.name](ticket)
        except Exception as error:  # a defect in serving one request must not end the others
            ticket.fail(error)
        return True

    def close(self, besides: Ticket | None = None) -> None:
        """Stop all jobs and cancel all requests; returns when nothing of ours runs any more."""
        self._jobs.close(CLOSE_SECONDS)
        self._desk.cancel_all(besides, CLOSE_SECONDS)

    def _refuse(self, refusal: Refusal) -> None:
        # An error with the id of an unfinished request would be taken for its end.
        request_id = None if self._desk.get(refusal.id) else refusal.id
        self._put({"event": "error", "id": request_id, "kind": refusal.kind, "text": refusal.text})

    # Project ----------------------------------------------------------------------------------------------------------

    def _in_store_lane(self, ticket: Ticket, serve: Callable[[Request], dict[str, Any]]) -> None:
        def task() -> None:
            if ticket.begin():
                _answer(ticket, serve)

        self._store_lane.put(task)

    def _open(self, ticket: Ticket) -> None:
        path = ticket.request["project"]
        other = path is not None and path != self._store.path
        if other and self._jobs.busy:
            ticket.refuse("busy", "Another project cannot be opened while a job runs: stop it first.")
            return

        def serve(request: Request) -> dict[str, Any]:
            description = self._store.open(path)
            if other:
                self._jobs.forget_pause()
                self._click_lane.put(self._drop_clicks)
            return description

        self._in_store_lane(ticket, serve)

    def _status(self, request: Request) -> dict[str, Any]:
        clicks = self._clicks
        answer: dict[str, Any] = {
            "jobs": self._jobs.status(),
            "paused": self._jobs.paused,
            "devices": devices_in_words(),
            "interactive": {"waiting": self._click_lane.waiting, "encoded": clicks.encoded() if clicks else []},
        }
        try:
            description = self._store.describe()
            return {**answer, **{key: description[key] for key in ("project", "revision", "counts")}}
        except Exception as error:  # jobs are of interest also when the project cannot be read
            return {**answer, "project": self._store.path, "problem": str(error)}

    # Jobs -------------------------------------------------------------------------------------------------------------

    def _command(self, ticket: Ticket) -> None:
        self._jobs.queue(ticket, [ticket.request.name, str(self._store.path), "--json"])

    def _suggest(self, ticket: Ticket) -> None:
        self._jobs.beside(ticket, ["suggest", str(self._store.path), "--json"])

    def _segment(self, ticket: Ticket) -> None:
        request = ticket.request
        images = [str(image) for image in request["images"]]
        output = str(request["output"])
        self._jobs.queue(ticket, ["segment", str(self._store.path), *images, "-o", output, "--json"])

    def _model(self, ticket: Ticket, action: str) -> None:
        values = dict(ticket.request.values)
        file = str(values.pop("file"))
        self._jobs.queue(ticket, ["model", action, str(self._store.path), file, "--json", *option_words(values)])

    def _add_generalist(self, ticket: Ticket) -> None:
        request = ticket.request
        name, file = str(request["generalist"]), str(request["file"])
        accept = ["--accept-licence"] if request.values.get("accept_licence") else []
        self._jobs.queue(ticket, ["generalists", "add", "--json", *accept, "--", name, file])

    def _cancel(self, ticket: Ticket) -> None:
        target = self._desk.get(ticket.request["target"])
        cancelled = target is not None and target is not ticket and target.cancel()
        ticket.done({"target": ticket.request["target"], "cancelled": cancelled})

    # Clicks -----------------------------------------------------------------------------------------------------------

    def _in_click_lane(self, ticket: Ticket, priority: int) -> None:
        if self._click_lane.waiting >= _WAITING_CLICKS:
            ticket.refuse("busy", f"{_WAITING_CLICKS} clicks wait already: wait for their answers, or cancel some.")
            return

        def task() -> None:
            if not ticket.closed:
                _answer(ticket, lambda request: self._click(ticket, request))

        self._click_lane.put(task, priority)

    def _click(self, ticket: Ticket, request: Request) -> dict[str, Any]:
        service = self._click_service()
        try:
            if request.name == "encode":
                return service.encode(service.subject(request.values)).to_dict()
            return service.prompt(service.read_request(request.values), wanted=lambda: not ticket.closed).to_dict()
        except (MemoryError, RuntimeError):  # torch reports a full memory as RuntimeError
            self._drop_clicks()  # what is kept in memory may be what the next request lacks
            raise

    def _click_service(self) -> PromptService:
        if self._clicks is None:
            from semisam.worker.interactive import PromptService

            self._clicks = PromptService(self._store.path, threads=_click_threads())
        return self._clicks

    def _drop_clicks(self) -> None:
        self._clicks = None


def _generalists(request: Request) -> dict[str, Any]:
    return {"generalists": registry.describe_all(), "folder": str(weights.folder())}


def _click_threads() -> int:
    """Half of the cores. With all of them, the threads of a click wait at every step for the one whose core training
    is using, which made clicks ten times slower; training has a thread on every core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)


def _answer(ticket: Ticket, serve: Callable[[Request], dict[str, Any]]) -> None:
    try:
        answer = serve(ticket.request)
    except Exception as error:  # also a defect becomes the error of one request only
        ticket.fail(error)
    else:
        ticket.done(answer)


def serve(project: str | Path) -> int:
    """Serve requests from standard input until it ends, ``shutdown``, SIGTERM or SIGINT; the exit code.

    Takes standard output for itself: whatever else in this process prints there goes to standard error.
    """
    path = Path(project).absolute()
    if path.is_file():
        raise UsageError(f'"{path}" is a file: give the folder of a project.')
    output = _take_stdout()
    inbox: queue.SimpleQueue[bytes | None | _End] = queue.SimpleQueue()  # the only queue a signal handler may put to
    outbox = Outbox(output, on_broken=lambda: inbox.put(_End()))

    def on_signal(number: int, frame: FrameType | None) -> None:
        inbox.put(_End())

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), on_signal)
    worker = Worker(path, outbox.put)
    worker.hello()
    room = threading.Semaphore(_WAITING_LINES)
    threading.Thread(target=_read, args=(take_stdin(), inbox, room), name="inbox", daemon=True).start()
    serving = True
    while serving:
        try:
            line = inbox.get(timeout=1.0)  # on Windows signals are seen only between waits
        except queue.Empty:
            continue
        if isinstance(line, _End):
            worker.close()
            break
        room.release()
        for item in _items(line):
            serving = serving and worker.take(item)
    outbox.flush(_FAREWELL_SECONDS)
    if worker.computing:
        # A thread in the middle of a computation cannot be interrupted, and the interpreter must not fall from under
        # its feet.
        logging.shutdown()
        os._exit(0)
    return 0


def _items(line: bytes | None) -> list[Request | Refusal]:
    if line is None:
        return [Refusal(None, "bad-request", f"A line is longer than {LINE_BYTES} bytes; it was not served.")]
    return list(parse_line(line))


def _read(descriptor: int, inbox: queue.SimpleQueue[bytes | None | _End], room: threading.Semaphore) -> None:
    splitter = LineSplitter()
    while True:
        try:
            piece = os.read(descriptor, 1 << 16)
        except OSError:
            piece = b""
        if not piece:
            inbox.put(_End())
            return
        for line in splitter.feed(piece):
            room.acquire()  # a flood waits in the pipe, not in our memory
            inbox.put(line)


def _take_stdout() -> int:
    """Move standard output to a descriptor of our own and put standard error in its place."""
    sys.stdout.flush()
    descriptor = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(descriptor, os.O_BINARY)
    return descriptor
