"""Callbacks that several may listen to; Python classes in Slicer cannot define Qt signals."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)


def call_safely(callback: Callable[..., Any] | None, *arguments: Any) -> None:
    """Call ``callback``, if there is one; what it raises is logged and does not reach the caller."""
    if callback is None:
        return
    try:
        callback(*arguments)
    except Exception:  # the listener's defect must not end what calls it, such as the reading of the worker's lines
        _log.exception("A callback failed: %r", callback)


class Signal:
    """A list of callbacks.

    Usage::

        changed = Signal()
        changed.connect(show)
        changed.emit("case 1")      # calls show("case 1")
        changed.disconnect(show)
    """

    def __init__(self) -> None:
        self._callbacks: list[Callable[..., Any]] = []

    def connect(self, callback: Callable[..., Any]) -> None:
        """Call ``callback`` from now on; once only, however often it is connected."""
        if callback not in self._callbacks:
            self._callbacks.append(callback)

    def disconnect(self, callback: Callable[..., Any]) -> None:
        """Call it no more; nothing happens when it was not connected."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def disconnect_all(self) -> None:
        """Call nobody any more; for the end of a widget's life."""
        self._callbacks.clear()

    def emit(self, *arguments: Any) -> None:
        """Call all callbacks in the order of their connection. One that fails does not stop the others."""
        for callback in list(self._callbacks):
            if callback in self._callbacks:  # an earlier one may have disconnected it
                call_safely(callback, *arguments)
