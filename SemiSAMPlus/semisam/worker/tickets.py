"""Tickets: one for each request that is being served. All events of a request pass through its ticket.

A ticket keeps two promises of the protocol: each request gets exactly one last event (``done`` or ``error``), and
nothing follows it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from semisam.worker.protocol import Request, RequestId, known_trouble

_log = logging.getLogger(__name__)

Put = Callable[[Mapping[str, Any]], None]


class Ticket:
    """The state of one request. May be used from any thread."""

    def __init__(self, request: Request, put: Put, on_close: Callable[[Ticket], None]) -> None:
        self.request = request
        self.cancelled = False
        self._put = put
        self._on_close = on_close
        self._lock = threading.Lock()
        self._closed = False
        self._cancel: Callable[[], None] | None = self._cancel_at_once

    @property
    def id(self) -> RequestId:
        return self.request.id

    @property
    def closed(self) -> bool:
        """Whether the last event has been sent."""
        return self._closed

    def emit(self, name: str, fields: Mapping[str, Any]) -> None:
        """Send an event of this request; nothing happens once it is closed."""
        with self._lock:
            if not self._closed:
                self._put({"event": name, "id": self.id, **fields})

    def done(self, fields: Mapping[str, Any] | None = None) -> None:
        """Send the last event of a request that was served."""
        self._close("done", fields or {})

    def refuse(self, kind: str, text: str, **details: Any) -> None:
        """Send the last event of a request that was not served: ``text`` is a sentence for the user."""
        self._close("error", {"kind": kind, "text": text, **details})

    def fail(self, error: BaseException) -> None:
        """Send the last event of a request that ended with an exception."""
        trouble = known_trouble(error)
        if trouble is None:
            _log.error("request %s failed", self.request.name, exc_info=error)
            text = f"The program has a defect ({type(error).__name__}: {error}); its log tells the developers more."
            trouble = "internal", text
        self.refuse(*trouble)

    def end_with(self, name: str, fields: Mapping[str, Any]) -> None:
        """Send ``name`` ("done" or "error") as the last event."""
        self._close(name, fields)

    def begin(self, on_cancel: Callable[[], None] | None = None) -> bool:
        """Say that work starts: from now on ``cancel`` calls ``on_cancel``, or does nothing if that is None.

        False if the request has been cancelled and the work must not start.
        """
        with self._lock:
            if self._closed:
                return False
            self._cancel = on_cancel
            return True

    def cancel(self) -> bool:
        """End the request early. False when it is too late, because it has ended or can no longer be undone."""
        with self._lock:
            action = None if self._closed else self._cancel
            if action is not None:
                self.cancelled = True
        if action is not None:
            action()
        return action is not None

    def _cancel_at_once(self) -> None:
        self.refuse("cancelled", "The request was cancelled.")

    def _close(self, name: str, fields: Mapping[str, Any]) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # Before the event is sent, so that whoever has read it may use the id again at once.
            self._on_close(self)
            self._put({"event": name, "id": self.id, **fields})


class Desk:
    """All open tickets by request id."""

    def __init__(self, put: Put) -> None:
        self._put = put
        self._lock = threading.Lock()
        self._closed = threading.Condition(self._lock)
        self._open: dict[RequestId, Ticket] = {}

    def open(self, request: Request) -> Ticket | None:
        """A ticket for ``request``, or None if an unfinished request has the same id."""
        ticket = Ticket(request, self._put, self._forget)
        with self._lock:
            if request.id in self._open:
                return None
            self._open[request.id] = ticket
        return ticket

    def get(self, request_id: RequestId | None) -> Ticket | None:
        with self._lock:
            return None if request_id is None else self._open.get(request_id)

    def tickets(self) -> list[Ticket]:
        with self._lock:
            return list(self._open.values())

    def cancel_all(self, besides: Ticket | None, seconds: float) -> None:
        """Cancel all tickets but one, and wait for those that it is too late to cancel."""
        for ticket in self.tickets():
            if ticket is not besides:
                ticket.cancel()
        with self._lock:
            self._closed.wait_for(lambda: len(self._open) <= (besides is not None), timeout=seconds)

    def _forget(self, ticket: Ticket) -> None:
        with self._lock:
            self._open.pop(ticket.id, None)
            self._closed.notify_all()
