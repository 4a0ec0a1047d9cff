"""The worker's protocol: one JSON object a line, requests in, events out. ``PROTOCOL.md`` tells it to its users.

This file knows the words and their types and nothing about what they do: ``LineSplitter`` makes lines of bytes,
``parse_line`` makes requests (or refusals, as sentences) of a line, ``encode_event`` makes a line of an event.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from semisam.errors import (
    GeneralistError,
    LockError,
    ModelError,
    PlanError,
    ProjectError,
    SemiSAMError,
    TrainingError,
    UsageError,
    VolumeError,
)
from semisam.segments import Segment

PROTOCOL_VERSION = 1
LINE_BYTES = 1 << 20
DEFAULT_GENERALIST = "nano"

RequestId = str | int

# The most special class first: a lock is also a matter of the project.
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (VolumeError, "volume"),
    (LockError, "lock"),
    (ProjectError, "project"),
    (PlanError, "plan"),
    (GeneralistError, "generalist"),
    (TrainingError, "training"),
    (ModelError, "model"),
    (UsageError, "usage"),
    (SemiSAMError, "usage"),
    (MemoryError, "memory"),
)
ERROR_KINDS = (
    "bad-request",
    "unknown-request",
    "busy",
    "cancelled",
    "crashed",
    "system",
    *dict.fromkeys(kind for _, kind in _KINDS),
    "internal",
)


def error_kind(error: BaseException) -> str:
    """The protocol's word for an exception; "internal" for whatever is a defect of the program."""
    return next((kind for family, kind in _KINDS if isinstance(error, family)), "internal")


def known_trouble(error: BaseException) -> tuple[str, str] | None:
    """The protocol's word for an exception and a sentence for the user; None for a defect of the program."""
    if _is_memory(error):
        return "memory", "The memory is full: close other programs, or work with smaller images."
    if isinstance(error, SemiSAMError):
        return error_kind(error), str(error)
    if isinstance(error, OSError):
        return "system", _system_sentence(error)
    return None


def _is_memory(error: BaseException) -> bool:
    # torch reports a full memory, also that of a GPU, as RuntimeError.
    words = str(error).lower() if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or any(
        sign in words for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _system_sentence(error: OSError) -> str:
    reason = error.strerror or str(error)
    where = f' with "{error.filename}"' if error.filename else ""
    return f"A file operation failed{where} ({reason}): check that the place exists, may be written and is not full."


@dataclass(frozen=True)
class Request:
    """One request that has passed all checks: every field of its kind is in ``values``, absent ones as None."""

    id: RequestId
    name: str
    values: Mapping[str, Any]

    def __getitem__(self, field: str) -> Any:
        return self.values[field]


@dataclass(frozen=True)
class Refusal:
    """A line, or a part of one, that is no request: what to tell the sender."""

    id: RequestId | None
    kind: str
    text: str


# Fields ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """A field of a request. ``read`` checks and converts its JSON value or raises ValueError; ``words`` is its type."""

    name: str
    words: str
    read: Callable[[Any], Any]
    required: bool = False


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 1000 or "\0" in value:
        raise ValueError
    value.encode("utf-8")  # raises UnicodeEncodeError, a ValueError, for half a character
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    os.fsencode(value)  # raises UnicodeEncodeError, a ValueError, for half a character
    path = Path(value)
    if not path.is_absolute():
        raise ValueError
    return path


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise ValueError
    return float(value)


def _not_negative(value: Any) -> float:
    if not _number(value) >= 0:
        raise ValueError
    return float(value)


def _positive(value: Any) -> float:
    if not _number(value) > 0:
        raise ValueError
    return float(value)


def _natural(value: Any, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 63:
        raise ValueError
    return value


def _fraction(value: Any) -> float:
    if not 0 < _number(value) < 1:
        raise ValueError
    return float(value)


def _list_of(read: Callable[[Any], Any], least: int = 0, most: int = 100_000) -> Callable[[Any], list[Any]]:
    def read_list(value: Any) -> list[Any]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise ValueError
        return [read(item) for item in value]

    return read_list


def _label(value: Any) -> int:
    if isinstance(value, bool) or value not in (0, 1):
        raise ValueError
    return int(value)


def _segment(value: Any) -> Segment:
    if not isinstance(value, dict) or set(value) - {"terminology"} != {"value", "name", "color"}:
        raise ValueError
    red, green, blue = (_natural(channel) for channel in value["color"])
    if max(red, green, blue) > 255:
        raise ValueError
    terminology = value.get("terminology") or ""
    if terminology and (_text(terminology) != terminology or "|" in terminology or not terminology.isprintable()):
        raise ValueError  # "|" parts the tags of a segment in .seg.nrrd files
    return Segment(_natural(value["value"], 1), _text(value["name"]), (red, green, blue), terminology)


def _one_of(*choices: str) -> Callable[[Any], str]:
    def read_choice(value: Any) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return read_choice


def _id(value: Any) -> RequestId:
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > 200:
        raise ValueError
    return value


_PATH = "a path in full (not relative to a folder)"
_CASE = Field("case", "the name of a case", _text, required=True)
_AUTHOR = Field("author", "a name", _text)
_SEEN = Field("seen", "a whole number from 0", _natural)
_SEGMENTS = Field("segments", "a list of {value, name, color, terminology}", _list_of(_segment, 1), required=True)
_SUBJECT = (
    Field("image", _PATH, _path),
    Field("case", "the name of a case", _text),
    Field("generalist", "the name of a generalist", _text),
)
_TRAINING = (
    Field("minutes", "a number above 0", _positive),
    Field("steps", "a whole number above 0", lambda value: _natural(value, 1)),
    Field("framework", "the name of a framework", _text),
    Field("network", "the name of a network", _text),
    Field("spacing", "a number from 0", _not_negative),
    Field("generalist", '"auto", "none" or names with commas', _text),
    Field("seed", "a whole number from 0", _natural),
    Field("device", "the name of a device", _text),
    Field("fresh", "true or false", _boolean),
)

REQUESTS: dict[str, tuple[Field, ...]] = {
    "open": (Field("project", _PATH, _path),),
    "create": (_SEGMENTS, Field("copy", "true or false", _boolean)),
    "change-segments": (_SEGMENTS,),
    "case": (_CASE,),
    "status": (),
    "train": _TRAINING,
    "pause": (),
    "resume": (),
    "stop": (),
    "propose": (),
    "segment": (
        Field("images", f"a list of one or more, each {_PATH}", _list_of(_path, 1), required=True),
        Field("output", _PATH, _path, required=True),
    ),
    "report": (),
    "suggest": (),
    "export-model": (
        Field("file", _PATH, _path, required=True),
        Field("title", "a text", _text),
        Field("description", "a text", _text),
        Field("licence", "a text", _text),
    ),
    "import-model": (Field("file", _PATH, _path, required=True), Field("replace", "true or false", _boolean)),
    "show-model": (Field("file", _PATH, _path, required=True),),
    "generalists": (),
    "add-generalist": (
        Field("generalist", "the name of a generalist", _text, required=True),
        Field("file", _PATH, _path, required=True),
        Field("accept_licence", "true or false", _boolean),
    ),
    "encode": _SUBJECT,
    "prompt": (
        *_SUBJECT,
        Field("points", "a list of [k, j, i]", _list_of(_list_of(_number, 3, 3))),
        Field("labels", "a list of 1 (inside) and 0 (outside), one for each point", _list_of(_label)),
        Field("box", "[k0, j0, i0, k1, j1, i1]", _list_of(_number, 6, 6)),
        Field("mask", _PATH, _path),
        Field("segment", "the name of a segment", _text),
        Field("threshold", "a number between 0 and 1", _fraction),
        Field("extent", '"image" or "region"', _one_of("image", "region")),
        Field("output", _PATH, _path, required=True),
    ),
    "annotation-changed": (
        _CASE,
        Field("path", _PATH, _path),
        _AUTHOR,
        Field("state", '"annotated" or "in work"', _one_of("annotated", "in work")),
        Field("unknown", '"slices" or the value of unknown voxels', _text),
        _SEEN,
    ),
    "remove-annotation": (_CASE, _SEEN),
    "restore-annotation": (_CASE, _AUTHOR),
    "add-case": (
        _CASE,
        Field("image", _PATH, _path, required=True),
        Field("copy", "true or false", _boolean),
        Field("check", "true or false", _boolean),
    ),
    "remove-case": (_CASE,),
    "accept": (
        _CASE,
        _AUTHOR,
        Field("segments", "a list of names of segments", _list_of(_text, 1)),
        Field("revision", "a whole number from 0", _natural),
        _SEEN,
    ),
    "reject": (_CASE, _AUTHOR),
    "take-back-reject": (_CASE,),
    "cancel": (Field("target", "the id of another request", _id, required=True),),
    "shutdown": (),
}


# Lines in -------------------------------------------------------------------------------------------------------------


class LineSplitter:
    """Makes lines of bytes that come in pieces of any size. A line beyond ``limit`` bytes is dropped and told once."""

    def __init__(self, limit: int = LINE_BYTES) -> None:
        self._limit = limit
        self._pending = bytearray()
        self._skipping = False

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """The lines that ``piece`` completes, without their ends; None stands for a line that was too long."""
        start = 0
        while start < len(piece):
            end = piece.find(b"\n", start)
            stop = len(piece) if end < 0 else end
            if not self._skipping:
                self._pending += piece[start:stop]
                if len(self._pending) > self._limit:
                    self._skipping = True
                    self._pending.clear()
                    yield None
            if end < 0:
                return
            if not self._skipping:
                yield bytes(self._pending)
            self._pending.clear()
            self._skipping = False
            start = end + 1

    def rest(self) -> bytes:
        """What came after the last line end, for the end of the input."""
        return bytes(self._pending)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_line(line: bytes) -> Iterator[Request | Refusal]:
    """The requests of one line, in order; usually one, but several objects on a line are served too. Never raises."""
    try:
        text = line.decode("utf-8").strip("\ufeff \t\r\n")
    except UnicodeDecodeError:
        yield Refusal(None, "bad-request", "A line is not UTF-8 text; it was not served.")
        return
    while text:
        try:
            data, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            yield Refusal(None, "bad-request", f'Cannot read "{_short(text)}" as a JSON object ({reason}).')
            return
        text = text[end:].lstrip()
        yield parse_request(data)


def parse_request(data: Any) -> Request | Refusal:
    """Check one decoded JSON value against ``REQUESTS``. Never raises."""
    if not isinstance(data, dict):
        return Refusal(None, "bad-request", f'A request is a JSON object; "{_short(json.dumps(data))}" is none.')
    try:
        request_id = _id(data.get("id"))
    except ValueError:
        text = 'A request needs an "id": a text of at most 200 characters or a whole number.'
        return Refusal(None, "bad-request", text)
    name = data.get("request")
    if not isinstance(name, str):
        return Refusal(request_id, "bad-request", 'A request needs its name as "request", for example "status".')
    fields = REQUESTS.get(name)
    if fields is None:
        text = f'There is no request "{_short(name)}"; there are {", ".join(REQUESTS)}.'
        return Refusal(request_id, "unknown-request", text)
    problem = _unknown_field(name, fields, data)
    if problem:
        return Refusal(request_id, "bad-request", problem)
    values: dict[str, Any] = {}
    for field in fields:
        value = data.get(field.name)
        if value is None and field.required:
            return Refusal(request_id, "bad-request", f'"{name}" needs "{field.name}": {field.words}.')
        try:
            values[field.name] = None if value is None else field.read(value)
        except (ValueError, TypeError):
            return Refusal(request_id, "bad-request", f'"{field.name}" of "{name}" must be {field.words}.')
    problem = _contradiction(name, values)
    return Refusal(request_id, "bad-request", problem) if problem else Request(request_id, name, values)


def _unknown_field(name: str, fields: tuple[Field, ...], data: Mapping[str, Any]) -> str:
    known = ["id", "request", *(field.name for field in fields)]
    unknown = next((key for key in data if key not in known), None)
    return "" if unknown is None else f'"{name}" has no field "{_short(unknown)}"; it knows {", ".join(known)}.'


def _contradiction(name: str, values: Mapping[str, Any]) -> str:
    """What is wrong between the fields of a request, as a sentence, or nothing."""
    if name in ("encode", "prompt") and (values["image"] is None) == (values["case"] is None):
        return f'"{name}" needs either "image" or "case", not both.'
    if name == "prompt" and len(values["points"] or ()) != len(values["labels"] or ()):
        return '"points" and "labels" of "prompt" must have the same length.'
    if name == "train" and values["minutes"] is not None and values["steps"] is not None:
        return '"train" takes "minutes" or "steps", not both.'
    return ""


def _short(text: str, length: int = 80) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


# Lines out ------------------------------------------------------------------------------------------------------------


def encode_event(event: Mapping[str, Any]) -> bytes:
    """One line of ASCII with its end; numbers that JSON cannot hold become null, other objects their text."""
    return json.dumps(_plain(event), ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's scalars and arrays, without importing numpy
        return _plain(value.tolist())
    return str(value)
