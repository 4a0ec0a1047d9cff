"""The worker's way out: events go through one queue and one writer, so that nobody waits for a slow reader.

Whoever has an event puts it here and goes on. While the reader is slow, events that later ones make needless are
thinned out (the newest ``progress`` of a request replaces an unsent one; of ``metrics`` and ``log`` the oldest unsent
ones go first); all other events are kept, however long it takes, and in their order.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

from semisam.worker.protocol import encode_event

KEPT_UNSENT = {"metrics": 200, "log": 200}


class Outbox:
    """The single writer of protocol lines to the file descriptor ``descriptor``.

    ``on_broken`` is called once, from the writer's thread, when nobody reads any more.
    """

    def __init__(self, descriptor: int, on_broken: Callable[[], None] = lambda: None) -> None:
        self._descriptor = descriptor
        self._on_broken = on_broken
        self._changed = threading.Condition()
        # Keyed by number, in order of arrival; a superseded event goes from the middle.
        self._waiting: OrderedDict[int, tuple[str, Any, bytes]] = OrderedDict()
        self._latest_progress: dict[Any, int] = {}
        self._unsent: dict[str, deque[int]] = {name: deque() for name in KEPT_UNSENT}
        self._next = 0
        self._writing = False
        self._broken = False
        threading.Thread(target=self._write, name="outbox", daemon=True).start()

    def put(self, event: Mapping[str, Any]) -> None:
        """Queue one event; returns at once, from any thread."""
        line = encode_event(event)
        name, request_id = str(event.get("event")), event.get("id")
        with self._changed:
            if self._broken:
                return
            if name == "progress":
                superseded = self._latest_progress.get(request_id)
                if superseded is not None:
                    del self._waiting[superseded]
                self._latest_progress[request_id] = self._next
            elif name in KEPT_UNSENT:
                if len(self._unsent[name]) >= KEPT_UNSENT[name]:
                    del self._waiting[self._unsent[name].popleft()]
                self._unsent[name].append(self._next)
            self._waiting[self._next] = (name, request_id, line)
            self._next += 1
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written or the time is over; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._broken or not (self._waiting or self._writing), timeout=seconds)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                _, (name, request_id, line) = self._waiting.popitem(last=False)
                if name == "progress":
                    del self._latest_progress[request_id]
                elif name in KEPT_UNSENT:
                    self._unsent[name].popleft()
                self._writing = True
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                self._give_up()
                return
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _give_up(self) -> None:
        with self._changed:
            self._broken = True
            self._waiting.clear()
            self._changed.notify_all()
        self._on_broken()
