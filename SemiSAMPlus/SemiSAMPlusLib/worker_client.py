"""The client of the engine's worker: requests with callbacks over the lines of a child process.

Nothing here waits, and nothing raises because of what the worker does: whatever happens to it, every request ends with
exactly one call of ``on_done`` or ``on_error``.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .ear import Ear
from .i18n import _
from .lines import Line
from .process import Launch, Process, ProcessFactory, Scheduler, Timer
from .process_tree import kill_processes
from .signals import Signal, call_safely
from .worker_messages import LAST_EVENTS, PROTOCOL_VERSION, Event, Hello, WorkerError, decode_event, encode_request

_log = logging.getLogger(__name__)

HELLO_SECONDS = 60.0  # a cold disk and a virus scanner may make the first start of Python slow
SHUTDOWN_SECONDS = 12.0  # the worker gives its jobs 8 seconds to save
_LAST_LINES = 20

EventCallback = Callable[[Event], None]
ErrorCallback = Callable[[WorkerError], None]


class WorkerState(Enum):
    """STOPPED: not started, or ended as wanted. STARTING: until ``hello``. FAILED: see ``WorkerClient.problem``."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"


@dataclass(eq=False)
class WorkerRequest:
    """A request on its way; ``finished`` once it has had its last event."""

    id: str
    name: str
    fields: dict[str, Any]
    on_event: EventCallback | None = None
    on_done: EventCallback | None = None
    on_error: ErrorCallback | None = None
    finished: bool = False
    job_pid: int | None = field(default=None, repr=False)


class WorkerClient:
    """Starts the worker, sends it requests and tells what comes back.

    launch          how the worker is started (see ``python_finder.engine_launch``)
    make_process    makes the child process; ``QtProcess`` in Slicer
    scheduler       calls later; ``QtScheduler`` in Slicer
    kill            ends processes by their ids, with what they started

    Usage::

        client = WorkerClient(launch, QtProcess, QtScheduler())
        client.state_changed.connect(show_state)
        client.start()
        client.request("open", on_done=show_project, on_error=lambda error: show(error.text))

    Signals: ``state_changed(WorkerState)``; ``logged(str)``, a line of standard error or one that is no event.
    """

    def __init__(
        self,
        launch: Launch,
        make_process: ProcessFactory,
        scheduler: Scheduler,
        *,
        kill: Callable[..., None] = kill_processes,
    ) -> None:
        self.launch = launch
        self._make_process = make_process
        self._scheduler = scheduler
        self._kill_processes = kill
        self.state = WorkerState.STOPPED
        self.hello: Hello | None = None
        self.problem: WorkerError | None = None
        self.state_changed = Signal()
        self.logged = Signal()
        self._process: Process | None = None
        self._ear: Ear | None = None
        self._pending: dict[str, WorkerRequest] = {}
        self._unsent: deque[WorkerRequest] = deque()
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._deadline: Timer | None = None
        self._numbers = 0

    @property
    def alive(self) -> bool:
        """Whether there is a worker, or will be in a moment."""
        return self.state in (WorkerState.STARTING, WorkerState.RUNNING)

    def can(self, request: str) -> bool:
        """Whether the running worker knows this request."""
        return self.hello is not None and request in self.hello.requests

    # Life -------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the worker; nothing happens while there is one."""
        if self.alive or self.state is WorkerState.STOPPING:
            return
        self.hello, self.problem = None, None
        self._last_lines.clear()
        self._process = self._make_process()
        self._ear = Ear(self, self._scheduler)
        self._set_state(WorkerState.STARTING)
        self._set_deadline(HELLO_SECONDS, self._on_no_hello)
        self._process.start(self.launch, self._ear)

    def restart(self) -> None:
        """End the worker at once, if there is one, and start another. Its requests end with an error."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Ask the worker to end; its jobs save what they have. After some seconds it is killed. Returns at once."""
        if self.state is WorkerState.STARTING:
            self.kill()
        if self.state is not WorkerState.RUNNING or self._process is None:
            return
        self._set_state(WorkerState.STOPPING)
        self._process.write(encode_request(self._next_id(), "shutdown", {}))
        self._process.close_input()
        self._set_deadline(SHUTDOWN_SECONDS, self.kill)

    def kill(self, *, jobs_may_save: bool = False) -> None:
        """End the worker at once, with all processes that it started. All requests end with an error.

        With ``jobs_may_save`` its jobs are left to notice by themselves that it is gone: they save what they have
        learned and are gone after 10 seconds at the latest, also when this program has ended before. That is what to
        do when the application exits.
        """
        if self._process is None:
            return
        process, self._process = self._process, None
        if self._ear is not None:
            self._ear.deaf = True
        pids = [] if jobs_may_save else [job.job_pid for job in self._pending.values() if job.job_pid]
        launcher = process.pid
        if self.hello is not None and self.hello.pid and self.hello.pid != launcher:
            pids.append(self.hello.pid)  # the process may be a launcher that would leave its child behind
        process.kill()
        self._kill_processes(pids, children=not jobs_may_save)
        self._end(WorkerState.STOPPED, WorkerError("cancelled", _("The engine was stopped.")))

    # Requests ---------------------------------------------------------------------------------------------------------

    def request(
        self,
        name: str,
        fields: dict[str, Any] | None = None,
        *,
        on_event: EventCallback | None = None,
        on_done: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Send a request, or keep it until the worker has said hello.

        on_event  called with each event but the last one
        on_done   called with the answer, the ``done`` event
        on_error  called with a ``WorkerError``; also when the worker is not running, dies, or does not know the request

        Callbacks are called from the event loop, never before this method has returned.
        """
        request = WorkerRequest(self._next_id(), name, dict(fields or {}), on_event, on_done, on_error)
        self._pending[request.id] = request
        if self.state is WorkerState.RUNNING:
            self._send(request)
        elif self.state is WorkerState.STARTING:
            self._unsent.append(request)
        else:
            text = _("The engine is not running: start it again.")
            self._fail_later(request, self.problem or WorkerError("crashed", text))
        return request

    def cancel(self, request: WorkerRequest) -> None:
        """End a request early; it then has an error of kind "cancelled", unless it is finished before."""
        if request.finished:
            return
        if request in self._unsent:
            self._unsent.remove(request)
            self._fail_later(request, WorkerError("cancelled", _("Cancelled.")))
        elif self.state is WorkerState.RUNNING:
            self.request("cancel", {"target": request.id})

    def _send(self, request: WorkerRequest) -> None:
        if self.hello is not None and self.hello.requests and request.name not in self.hello.requests:
            text = _('The engine {version} does not know "{request}": update it.')
            text = text.format(version=self.hello.engine, request=request.name)
            self._fail_later(request, WorkerError("unknown-request", text))
            return
        try:
            line = encode_request(request.id, request.name, request.fields)
        except (TypeError, ValueError) as error:
            self._fail_later(request, WorkerError("bad-request", str(error)))
            return
        if self._process is not None:
            self._process.write(line)

    def _fail_later(self, request: WorkerRequest, error: WorkerError) -> None:
        self._scheduler.call_later(0, lambda: self._finish(request, error))

    def _finish(self, request: WorkerRequest, outcome: Event | WorkerError) -> None:
        self._pending.pop(request.id, None)
        if request.finished:
            return
        request.finished = True
        if isinstance(outcome, WorkerError):
            call_safely(request.on_error, outcome)
        else:
            call_safely(request.on_done, outcome)

    def _next_id(self) -> str:
        self._numbers += 1
        return str(self._numbers)

    # What the worker says ---------------------------------------------------------------------------------------------

    def on_line(self, line: Line) -> None:
        """Serve one line of the worker's standard output."""
        event = decode_event(line)
        if event is None:
            self.on_log_line(line)
        elif event["event"] == "hello":
            self._on_hello(event)
        elif event.get("id") is None:
            if event["event"] == "error":
                _log.warning("The worker refused a line: %s", event.get("text"))
        else:
            self._on_event(event)

    def on_log_line(self, line: Line) -> None:
        """Keep a line of standard error, or one of standard output that is no event."""
        text = line.data.decode("utf-8", "replace").rstrip()
        self._last_lines.append(text)
        self.logged.emit(text)

    def _on_hello(self, event: Event) -> None:
        if self.state is not WorkerState.STARTING:
            return
        try:
            hello = Hello.from_event(event)
        except (KeyError, TypeError, ValueError):
            self._fail(WorkerError("internal", _("The engine introduced itself in a way that cannot be understood.")))
            return
        if hello.protocol != PROTOCOL_VERSION:
            text = _(
                "The engine {engine} speaks version {theirs} of the protocol, this module version {ours}: "
                "install versions of both that belong together."
            ).format(engine=hello.engine, theirs=hello.protocol, ours=PROTOCOL_VERSION)
            self._fail(WorkerError("internal", text))
            return
        self.hello = hello
        self._set_deadline(None)
        self._set_state(WorkerState.RUNNING)
        while self._unsent and self.state is WorkerState.RUNNING:
            self._send(self._unsent.popleft())

    def _on_event(self, event: Event) -> None:
        request = self._pending.get(str(event["id"]))
        if request is None:
            return
        if event["event"] not in LAST_EVENTS:
            if event["event"] == "started" and isinstance(event.get("pid"), int):
                request.job_pid = event["pid"]
            call_safely(request.on_event, event)
        elif event["event"] == "done":
            self._finish(request, event)
        else:
            self._finish(request, WorkerError.from_event(event))

    # The end ----------------------------------------------------------------------------------------------------------

    def on_finished(self, exit_code: int, crashed: bool) -> None:
        """The process has ended."""
        self._process = None
        if self.state is WorkerState.STOPPING:
            self._end(WorkerState.STOPPED, WorkerError("cancelled", _("The engine was stopped.")))
            return
        if self.hello is None:
            text = _("The engine could not be started; its last words were: {words}")
            text = text.format(words=self._last_lines[-1] if self._last_lines else _("none"))
        elif crashed or exit_code < 0:
            text = _(
                "The engine crashed; whatever was annotated and learned before is kept. Most often the memory was "
                "full: close other programs. Restart it to go on."
            )
        else:
            text = _(
                "The engine ended by itself (exit code {code}); whatever was annotated and learned before is kept. "
                "Restart it to go on."
            ).format(code=exit_code)
        self._kill_processes([job.job_pid for job in self._pending.values() if job.job_pid])
        self._end(WorkerState.FAILED, WorkerError("crashed", text, tuple(self._last_lines)))

    def on_start_failed(self, reason: str) -> None:
        """The program that runs the engine cannot be started."""
        self._process = None
        text = _('"{program}" cannot be started ({reason}).').format(program=self.launch.program, reason=reason)
        self._end(WorkerState.FAILED, WorkerError("crashed", text))

    def _on_no_hello(self) -> None:
        text = _("The engine does not answer after {seconds} seconds. Restart it, or restart the computer.")
        self._fail(WorkerError("crashed", text.format(seconds=round(HELLO_SECONDS)), tuple(self._last_lines)))

    def _fail(self, problem: WorkerError) -> None:
        process, self._process = self._process, None
        if self._ear is not None:
            self._ear.deaf = True
        if process is not None:
            process.kill()
        self._end(WorkerState.FAILED, problem)

    def _end(self, state: WorkerState, reason: WorkerError) -> None:
        self._set_deadline(None)
        if state is WorkerState.FAILED:
            self.problem = reason
            _log.warning("%s %s", reason.text, "\n".join(reason.last_lines))
        requests = list(self._pending.values())
        self._pending.clear()
        self._unsent.clear()
        self._set_state(state)
        for request in requests:
            self._finish(request, reason)

    def _set_state(self, state: WorkerState) -> None:
        if state is not self.state:
            self.state = state
            self.state_changed.emit(state)

    def _set_deadline(self, seconds: float | None, callback: Callable[[], None] | None = None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None or callback is None else self._scheduler.call_later(seconds, callback)
