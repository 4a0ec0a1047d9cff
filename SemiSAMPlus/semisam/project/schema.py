"""project.json: its entries as types, the way there and back, and the migration of older versions.

Reading is strict. A key that is not known is an error, not ignored: a slip of the pen in ``annotation`` must not make
an annotation vanish.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from semisam.errors import ProjectError, SemiSAMError
from semisam.files.case_names import check_case_name, same_name
from semisam.project.states import WITH_ANNOTATION, State, without_annotation
from semisam.segments import Segment, check_segments

SCHEMA = 1

# Schema version -> function that turns a document of that version into one of the next version. To change the schema:
# raise SCHEMA and add one line here.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


@dataclass(frozen=True)
class Record:
    """One mask file of a case and where it comes from.

    path         below the project folder, with "/"
    provenance   author or model, source, created (ISO 8601, UTC), and what it was made from
    revision     1 at the first write of this kind for the case, +1 at each further one
    sha256       of the file
    uncertainty  path of the uncertainty volume of a proposal, or None
    """

    path: str
    provenance: dict[str, Any]
    revision: int
    sha256: str
    uncertainty: str | None = None

    @property
    def rejected(self) -> bool:
        return "rejected" in self.provenance

    @property
    def partial(self) -> bool:
        """Whether this annotation tells of a part of the voxels only."""
        return bool(self.provenance.get("partial"))


@dataclass(frozen=True)
class Case:
    """One image and all that belongs to it.

    image               absolute path of the image file or DICOM folder
    image_copied        whether that image is the project's own copy
    confidence          expected quality of the proposal, 0 to 1, or None
    annotation_count    how often an annotation was written, so that no revision is given twice; proposal_count likewise
    """

    name: str
    image: Path
    state: State = State.NEW
    annotation: Record | None = None
    proposal: Record | None = None
    confidence: float | None = None
    annotation_count: int = 0
    proposal_count: int = 0
    image_copied: bool = False

    @property
    def partial(self) -> bool:
        """Whether a part of it is annotated, which is learned from although the work on it goes on."""
        return self.state is State.IN_WORK and self.annotation is not None and self.annotation.partial


@dataclass(frozen=True)
class Document:
    """The content of project.json."""

    revision: int
    created: str
    images_copied: bool
    segments: tuple[Segment, ...]
    cases: Mapping[str, Case] = field(default_factory=dict)


def migrate(
    data: dict[str, Any],
    target: int = SCHEMA,
    migrations: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = MIGRATIONS,
) -> dict[str, Any]:
    """Bring a document of any known older version to ``target``; the input is not changed. Raises ProjectError."""
    version = data.get("schema")
    if isinstance(version, bool) or not isinstance(version, int):
        raise ProjectError('it has no schema version ("schema": a number)')
    if version > target:
        raise ProjectError(
            f"it was written by a newer version of this program (schema {version}, this one reads up to {target}); "
            "install that version"
        )
    data = copy.deepcopy(data)
    while version < target:
        if version not in migrations:
            raise ProjectError(f"its schema version {version} is not known")
        data = migrations[version](data)
        version += 1
        data["schema"] = version
    return data


def schema_of(content: bytes) -> int | None:
    """The schema version in the bytes of a project.json, or None when there is none."""
    try:
        version = json.loads(content)["schema"]
    except (ValueError, KeyError, TypeError):
        return None
    return version if isinstance(version, int) else None


def parse(text: str, folder: Path, beside: Path | None = None) -> Document:
    """Read the text of a project.json that lies in ``folder``. Raises ProjectError with the reason, to be put after
    the name of the file.

    beside  the folder that the project lay in when it was written; images that did not move with it are found there
    """
    try:
        data = json.loads(text, object_pairs_hook=_distinct_keys, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ProjectError(f"it is no valid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ProjectError("it is nested too deeply") from error
    entries = _Entries(migrate(_mapping(data, "it")), "it")
    entries.integer("schema")
    segments = tuple(_segment(item) for item in entries.sequence("segments"))
    try:
        check_segments(segments)
    except SemiSAMError as error:
        raise ProjectError(str(error)) from error
    cases: dict[str, Case] = {}
    for name, item in _mapping(entries.take("cases"), '"cases"').items():
        check_case_name(name)
        other = same_name(name, cases)
        if other is not None:
            raise ProjectError(f'the cases "{other}" and "{name}" differ only in their capitals')
        cases[name] = _case(name, item, folder, beside)
    document = Document(
        entries.integer("revision"), entries.text("created"), entries.boolean("images_copied"), segments, cases
    )
    entries.finish()
    return document


def render(document: Document, folder: Path) -> dict[str, Any]:
    """The JSON value of a document, with image paths as seen from ``folder``."""
    return {
        "schema": SCHEMA,
        "revision": document.revision,
        "created": document.created,
        "images_copied": document.images_copied,
        "segments": [segment.to_dict() for segment in document.segments],
        "cases": {
            name: {
                "image": stored_image_path(case.image, folder),
                "state": case.state.value,
                "annotation": _render_record(case.annotation),
                "proposal": _render_record(case.proposal),
                "confidence": case.confidence,
                "annotation_count": case.annotation_count,
                "proposal_count": case.proposal_count,
                "image_copied": case.image_copied,
            }
            for name, case in document.cases.items()
        },
    }


@lru_cache(maxsize=20_000)
def stored_image_path(image: Path, folder: Path) -> str:
    """Relative for an image in the project or below the folder the project lies in, so that both can move together."""
    if image.is_relative_to(folder):
        return image.relative_to(folder).as_posix()
    if image.is_relative_to(folder.parent) and folder.parent != Path(folder.anchor):
        return "../" + image.relative_to(folder.parent).as_posix()
    return str(image)


def _resolved_image_path(stored: str, folder: Path, beside: Path | None) -> Path:
    path = Path(stored)
    if path.is_absolute():
        return path
    if not stored.startswith("../"):
        return folder / stored
    image = folder.parent / stored[3:]
    # Asked of the disk only after a move: with hundreds of images on a network drive it takes long.
    if beside is not None and beside != folder.parent and not image.exists() and (beside / stored[3:]).exists():
        return beside / stored[3:]
    return image


def _render_record(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    data: dict[str, Any] = {"path": record.path, "revision": record.revision, "sha256": record.sha256}
    if record.uncertainty is not None:
        data["uncertainty"] = record.uncertainty
    data["provenance"] = record.provenance
    return data


def _case(name: str, item: Any, folder: Path, beside: Path | None) -> Case:
    where = f'the case "{name}"'
    entries = _Entries(_mapping(item, where), where)
    case = Case(
        name,
        _resolved_image_path(entries.text("image"), folder, beside),
        _state(entries),
        _record(entries.take("annotation"), f"the annotation of {where}", "annotations/"),
        _record(entries.take("proposal"), f"the proposal of {where}", "proposals/"),
        _confidence(entries),
        entries.integer("annotation_count"),
        entries.integer("proposal_count"),
        entries.boolean("image_copied"),
    )
    entries.finish()
    if case.state in WITH_ANNOTATION:
        consistent = case.annotation is not None
    else:
        alone = without_annotation(case.proposal is not None, case.proposal is not None and case.proposal.rejected)
        consistent = case.annotation is None and case.state is alone
    if not consistent:
        raise ProjectError(f'{where} is "{case.state.value}", which does not fit its annotation and proposal')
    return case


def _state(entries: _Entries) -> State:
    text = entries.text("state")
    try:
        return State(text)
    except ValueError:
        known = ", ".join(state.value for state in State)
        raise ProjectError(f'{entries.where} has the unknown state "{text}" (known: {known})') from None


def _confidence(entries: _Entries) -> float | None:
    value = entries.take("confidence")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ProjectError(f'the "confidence" of {entries.where} is not a number from 0 to 1')
    return float(value)


def _record(item: Any, where: str, folder: str) -> Record | None:
    if item is None:
        return None
    entries = _Entries(_mapping(item, where), where)
    uncertainty = entries.inner_path("uncertainty", folder) if "uncertainty" in entries.data else None
    record = Record(
        entries.inner_path("path", folder),
        _mapping(entries.take("provenance"), f"the provenance of {where}"),
        entries.integer("revision"),
        entries.text("sha256"),
        uncertainty,
    )
    entries.finish()
    return record


def _segment(item: Any) -> Segment:
    try:
        return Segment.from_dict(_mapping(item, "a segment"))
    except (KeyError, ValueError, TypeError) as error:
        raise ProjectError('a segment has not the form {"value": 1, "name": "liver", "color": [0, 0, 255]}') from error


class _Entries:
    """Takes the entries of one JSON object one by one and complains in words about what is missing or left over."""

    def __init__(self, data: dict[str, Any], where: str) -> None:
        self.data = dict(data)
        self.where = where

    def take(self, key: str) -> Any:
        if key not in self.data:
            raise ProjectError(f'{self.where} lacks the entry "{key}"')
        return self.data.pop(key)

    def text(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str) or not value:
            raise ProjectError(f'the entry "{key}" of {self.where} is not a text')
        return value

    def integer(self, key: str) -> int:
        value = self.take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ProjectError(f'the entry "{key}" of {self.where} is not a whole number from 0 on')
        return value

    def boolean(self, key: str) -> bool:
        value = self.take(key)
        if not isinstance(value, bool):
            raise ProjectError(f'the entry "{key}" of {self.where} is not true or false')
        return value

    def sequence(self, key: str) -> list[Any]:
        value = self.take(key)
        if not isinstance(value, list):
            raise ProjectError(f'the entry "{key}" of {self.where} is not a list')
        return value

    def inner_path(self, key: str, folder: str) -> str:
        value = self.text(key)
        if not value.startswith(folder) or ".." in PurePosixPath(value).parts or "\\" in value or ":" in value:
            raise ProjectError(f'the entry "{key}" of {self.where} does not lie in "{folder}"')
        return value

    def finish(self) -> None:
        if self.data:
            raise ProjectError(f'{self.where} has the unknown entry "{next(iter(self.data))}"')


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProjectError(f'{where} is not a JSON object ("{{...}}")')
    return value


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        seen: set[str] = set()
        double = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ProjectError(f'the entry "{double}" appears twice')
    return data


def _no_constant(text: str) -> float:
    raise ProjectError(f"it holds {text}, which is no number")


def checked_confidence(value: float | None) -> float | None:
    """Raises ProjectError unless ``value`` is None or a number from 0 to 1."""
    if value is None or (math.isfinite(value) and 0 <= value <= 1):
        return None if value is None else float(value)
    raise ProjectError(f"A confidence lies between 0 and 1, not at {value}.")


def checked_details(details: Mapping[str, Any] | None) -> dict[str, Any]:
    """Raises ProjectError unless the details of a proposal are JSON values."""
    try:
        return json.loads(json.dumps(details or {}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ProjectError(f"The details of a proposal must be JSON values ({error}).") from error
