"""Lanes: where requests wait for their turn, one thread each, so that slow ones do not stand in the way of others."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable


class Lane:
    """Runs tasks one after another in a thread of its own: lower ``priority`` first, else in the order of arrival."""

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._tasks: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._busy = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, task: Callable[[], None], priority: int = 0) -> None:
        """Add a task, which must not raise."""
        with self._changed:
            heapq.heappush(self._tasks, (priority, next(self._order), task))
            self._changed.notify()

    @property
    def waiting(self) -> int:
        """How many tasks wait, without the one that is being done."""
        return len(self._tasks)

    @property
    def busy(self) -> bool:
        """Whether a task is being done."""
        return self._busy

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.wait_for(lambda: bool(self._tasks))
                task = heapq.heappop(self._tasks)[2]
                self._busy = True
            task()
