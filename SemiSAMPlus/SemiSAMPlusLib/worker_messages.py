"""What goes to the worker and what comes from it, as lines; ``semisam/worker/PROTOCOL.md`` tells what they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from .i18n import _
from .lines import Line

PROTOCOL_VERSION = 1
Event = dict[str, Any]
LAST_EVENTS = ("done", "error")


@dataclass(frozen=True)
class WorkerError:
    """Why a request failed.

    kind        one of the protocol's kinds of error, such as "project", "busy", "cancelled", "crashed"
    text        a sentence for the user
    last_lines  the end of what the process had to say, for the log
    """

    kind: str
    text: str
    last_lines: tuple[str, ...] = ()

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> WorkerError:
        """The error of an ``error`` event, whatever it lacks."""
        lines = event.get("last_lines")
        return cls(
            str(event.get("kind") or "internal"),
            str(event.get("text") or _("The engine failed without saying why.")),
            tuple(str(line) for line in lines) if isinstance(lines, list) else (),
        )

    @property
    def cancelled(self) -> bool:
        """Whether somebody wanted it so; then it is no failure to be shown."""
        return self.kind == "cancelled"


@dataclass(frozen=True)
class Hello:
    """The worker's first line: who it is and what it can do."""

    protocol: int
    engine: str
    python: str
    pid: int
    project: str
    requests: frozenset[str] = field(default_factory=frozenset)
    generalists: tuple[str, ...] = ()

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Hello:
        """Read a ``hello`` event. Raises ValueError, TypeError or KeyError for one that is none."""
        return cls(
            int(event["protocol"]),
            str(event.get("engine", "")),
            str(event.get("python", "")),
            int(event.get("pid", 0)),
            str(event.get("project", "")),
            frozenset(str(name) for name in event.get("requests", ())),
            tuple(str(name) for name in event.get("generalists", ())),
        )


def encode_request(request_id: str, name: str, fields: Mapping[str, Any]) -> bytes:
    """One line of ASCII. Fields that are None are left out, paths become texts. Raises TypeError, ValueError."""
    given = {key: value for key, value in fields.items() if value is not None}
    message = {"id": request_id, "request": name, **given}
    return json.dumps(message, ensure_ascii=True, allow_nan=False, default=_as_text).encode("ascii") + b"\n"


def decode_event(line: Line) -> Event | None:
    """The event of a line, or None for one that is none. Of a line that was too long, an error with its id."""
    if line.too_long:
        return _event_of_long_line(line.data)
    try:
        event = json.loads(line.data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _event_of_long_line(head: bytes) -> Event | None:
    # Otherwise the request would wait for its answer for ever.
    match = re.match(rb'\{"event":\s*"(\w+)",\s*"id":\s*"([^"\\]*)"', head)
    if match is None or match[1].decode() not in LAST_EVENTS:
        return None
    text = _("The engine's answer is too long to be read.")
    return {"event": "error", "id": match[2].decode("ascii", "replace"), "kind": "internal", "text": text}


def _as_text(value: Any) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be sent to the worker")
