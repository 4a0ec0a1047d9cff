"""A trained model as one file for a colleague: ``.semisam``, a zip of safetensors, JSON and a card in plain words.

    manifest.json          format, schema, version of the engine; size and SHA-256 of every other entry
    card.json, card.txt    what it was trained on, in counts; never names of cases, paths or anything of a patient
    plan.json              how images are prepared, and the network
    segments.json          value, name, color of each segment, and whether it is in one piece
    weights.safetensors    the network

Entries are stored, not compressed, so that no entry is larger than the file. Nothing is unpacked to the disk, nothing
is unpickled, and an entry that is not in this list makes the file unusable. No torch is needed here.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from semisam import __version__
from semisam.errors import ModelError, UsageError
from semisam.files.atomic import replacing
from semisam.model_card import Card
from semisam.segments import Segment, check_segments
from semisam.specialists.plan import SCHEMA as PLAN_SCHEMA
from semisam.specialists.plan import Plan
from semisam.specialists.sizes import NETWORKS

SCHEMA = 1
SUFFIX = ".semisam"
_FORMAT = "semisam-model"
_MANIFEST, _CARD, _TEXT, _PLAN, _SEGMENTS = "manifest.json", "card.json", "card.txt", "plan.json", "segments.json"
_WEIGHTS = "weights.safetensors"
_ENTRIES = (_MANIFEST, _CARD, _TEXT, _PLAN, _SEGMENTS, _WEIGHTS)
_TEXT_BYTES = 1 << 20
_WEIGHTS_BYTES = 2 << 30
_DATE = (1980, 1, 1, 0, 0, 0)  # the same model makes the same file; the card tells when it was trained
_CHANNELS, _LEVELS, _PATCH_VOXELS = 2048, 8, 1 << 27
# Of zipfile, for files that are damaged in one way or another.
_DAMAGED = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, struct.error, NotImplementedError)
# Of the contents, for values that make no sense.
_NOT_UNDERSTOOD = (ValueError, TypeError, KeyError, AttributeError, RecursionError, UsageError)


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds. ``single_component`` and ``segments`` are in the order of the plan's segments."""

    card: Card
    plan: Plan
    segments: tuple[Segment, ...]
    single_component: tuple[bool, ...]
    weights: bytes


def write_model(path: Path, model: ModelFile) -> None:
    """Write a model file atomically; one that ``read_model`` would refuse is not written.

    Raises UsageError for another ending, and for words that a model file cannot hold; ModelError for a model that
    nobody could use, and when it cannot be written.
    """
    if path.suffix.casefold() != SUFFIX:
        raise UsageError(f'A model file ends in "{SUFFIX}": call it "{path.name}{SUFFIX}".')
    try:
        contents = _packed(model)
        segments, _, _ = _words(contents)
    except _NOT_UNDERSTOOD as error:
        raise UsageError(
            f'The model cannot be kept in "{path}", because nobody could read it again ({error}): shorten or correct '
            "its title, its description or the names of its segments."
        ) from error
    try:
        _network(contents, segments)
    except _NOT_UNDERSTOOD as error:
        raise ModelError(
            f'The model cannot be kept in "{path}", because it is damaged ({error}): train again.'
        ) from error
    manifest = {
        "format": _FORMAT,
        "schema": SCHEMA,
        "engine": __version__,
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        },
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, content in {_MANIFEST: _json(manifest), **contents}.items():
                archive.writestr(zipfile.ZipInfo(name, _DATE), content)
    except OSError as error:
        raise ModelError(
            f'Cannot write "{path}" ({error.strerror or error}): check the free space and the permissions.'
        ) from error


def read_model(path: Path) -> ModelFile:
    """Read and check a model file. Raises ModelError for one that is missing, damaged, newer, or not to be trusted."""
    contents = _contents(path)
    try:
        segments, single, card = _words(contents)
        plan = _network(contents, segments)
    except _NOT_UNDERSTOOD as error:
        raise _damaged(path, str(error)) from error
    return ModelFile(card, plan, segments, single, contents[_WEIGHTS])


def _packed(model: ModelFile) -> dict[str, bytes]:
    described = [
        {**segment.to_dict(), "single_component": single}
        for segment, single in zip(model.segments, model.single_component, strict=True)
    ]
    return {
        _CARD: _json(model.card.to_dict()),
        _TEXT: (model.card.in_words() + "\n").encode("utf-8"),
        _PLAN: _json(model.plan.to_dict()),
        _SEGMENTS: _json(described),
        _WEIGHTS: model.weights,
    }


def _words(contents: Mapping[str, bytes]) -> tuple[tuple[Segment, ...], tuple[bool, ...], Card]:
    """What people wrote. Raises one of _NOT_UNDERSTOOD where it is not as it should be."""
    if any(len(contents[name]) > _TEXT_BYTES for name in (_CARD, _TEXT, _SEGMENTS)):
        raise ValueError("its texts are too long")
    segments, single = _segments(_parsed(contents[_SEGMENTS]))
    return segments, single, Card.from_dict(_parsed(contents[_CARD]))


def _network(contents: Mapping[str, bytes], segments: Sequence[Segment]) -> Plan:
    """The plan, when the weights may be those of its network. Raises one of _NOT_UNDERSTOOD."""
    plan = _plan(_parsed(contents[_PLAN]))
    if plan.segments != tuple(segment.name for segment in segments):
        raise ValueError("its plan is for other segments")
    if not is_whole_safetensors(contents[_WEIGHTS]) or len(contents[_WEIGHTS]) > _WEIGHTS_BYTES:
        raise ValueError("its weights are no safetensors")
    return plan


def is_whole_safetensors(content: bytes) -> bool:
    """Whether the content has a header of safetensors and all bytes that it promises."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length]) if length <= min(len(content), 100 << 20) else {}
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return len(content) == 8 + length + max(ends)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return False


def _contents(path: Path) -> dict[str, bytes]:
    """The entries of the file after all checks on their names, sizes and hashes."""
    if not path.is_file():
        raise ModelError(f'The model file "{path}" does not exist: check the path.')
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if _MANIFEST not in entries:
                raise ModelError(f'"{path}" is no model file of this program: it was not made by "model export".')
            manifest = _parsed(_read(archive, entries[_MANIFEST], path))
            files = _manifest_files(manifest, path)
            strange = next((name for name in entries if name not in _ENTRIES), None)
            if strange is not None:
                raise ModelError(
                    f'"{path}" holds {strange[:100]!a}, which does not belong into a model file: do not trust it, ask '
                    "for one made by this program."
                )
            if len(archive.infolist()) != len(_ENTRIES) or len(entries) != len(_ENTRIES):
                raise ValueError("entries are missing or doubled")
            contents = {name: _read(archive, entries[name], path) for name in _ENTRIES}
    except _DAMAGED as error:
        raise _damaged(path, str(error) or type(error).__name__) from error
    for name, content in contents.items():
        if name != _MANIFEST and files.get(name) != (len(content), hashlib.sha256(content).hexdigest()):
            raise _damaged(path, f"{name} is not what was written")
    return contents


def _manifest_files(manifest: Any, path: Path) -> dict[str, tuple[int, str]]:
    """Size and hash by name. Raises ModelError for a file of another kind or of a newer version."""
    try:
        kind, schema, engine = manifest["format"], manifest["schema"], str(manifest["engine"])[:40]
        if kind != _FORMAT or isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
            raise ValueError("it is no model of this program")
        if schema > SCHEMA:
            raise ModelError(
                f'"{path}" was made by a newer version of this program ({engine!a}, this one is {__version__}): update '
                "this one, or ask for a file made by an older one."
            )
        return {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("its list of contents cannot be understood") from error


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> bytes:
    limit = _WEIGHTS_BYTES if entry.filename == _WEIGHTS else _TEXT_BYTES
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ModelError(f'"{path}" was packed by another program: ask for the file as "model export" made it.')
    if entry.file_size > limit:
        raise ModelError(f'"{path}" is too large to be a model: {entry.filename} has {entry.file_size} bytes.')
    return archive.read(entry)


def _segments(data: Any) -> tuple[tuple[Segment, ...], tuple[bool, ...]]:
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise ValueError("its segments are no list")
    segments = tuple(Segment.from_dict(item) for item in data)
    check_segments(segments)
    for segment in segments:
        if not segment.name.strip() or len(segment.name) > 200 or not segment.name.isprintable():
            raise ValueError(f"the segment {segment.name[:40]!a} has no proper name")
        if len(segment.terminology) > 2000 or not segment.terminology.isprintable() or segment.former_names:
            raise ValueError("a segment is described in an improper way")
        if not all(0 <= channel <= 255 for channel in segment.color):
            raise ValueError("a segment has no proper color")
    single = tuple(item["single_component"] for item in data)
    if not all(isinstance(value, bool) for value in single):
        raise ValueError("its segments are not described")
    return segments, single


def _plan(data: Any) -> Plan:
    """A plan in which every number is of its kind and within reason, whatever the file says."""
    plan = Plan.from_dict(data)
    if plan.schema != PLAN_SCHEMA:
        raise ValueError(f"its plan has the schema {plan.schema!a}")
    _check_numbers(plan.working_spacing, 3, float, 1e-3, 1e3)
    _check_numbers(plan.channels, len(plan.channels), int, 1, _CHANNELS)
    if not 2 <= len(plan.channels) <= _LEVELS or len(plan.strides) != len(plan.channels) - 1:
        raise ValueError("its network has an impossible depth")
    for stride in plan.strides:
        _check_numbers(stride, 3, int, 1, 4)
    _check_numbers(plan.patch, 3, int, 1, 1 << 12)
    if math.prod(plan.patch) > _PATCH_VOXELS or any(
        size % step for size, step in zip(plan.patch, plan.total_stride, strict=True)
    ):
        raise ValueError("its patch does not fit its network")
    _check_numbers([plan.intensity[key] for key in ("mean", "std", "low", "high")], 4, float, -1e9, 1e9)
    if not plan.intensity["std"] > 0 or len(plan.intensity) != 4:
        raise ValueError("its intensities make no sense")
    if plan.network not in tuple(NETWORKS):
        raise ValueError("its network is not known here")
    if not all(isinstance(text, str) and len(text) < 100 for text in (plan.modality, plan.device)):
        raise ValueError("its modality or device is no text")
    _check_numbers((plan.threads, plan.memory_mb), 2, int, 0, 1 << 31)
    _check_numbers(
        (plan.labelled_batch, plan.unlabelled_batch, plan.refresh_every, plan.perturbed_prompts), 4, int, 1, 1000
    )
    for field in fields(Plan):
        value = getattr(plan, field.name)
        if isinstance(field.default, bool) and not isinstance(value, bool):
            raise ValueError(f"{field.name} is neither true nor false")
        if field.default is not MISSING and isinstance(field.default, float):
            _check_numbers([value], 1, float, 0, 1e6)
    if not isinstance(plan.bfloat16, bool):
        raise ValueError("bfloat16 is neither true nor false")
    return plan


def _check_numbers(values: Sequence[Any], count: int, kind: type, low: float, high: float) -> None:
    """Raises ValueError unless ``values`` are ``count`` numbers of ``kind`` from ``low`` to ``high``."""
    kinds = (int,) if kind is int else (int, float)
    good = len(values) == count and all(
        isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high for value in values
    )
    if not good:
        raise ValueError("a number of its plan is missing or makes no sense")


def _json(value: Mapping[str, Any] | list[Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(f'The model file "{path}" is damaged ({why[:200]}): copy it again, or ask for another one.')
