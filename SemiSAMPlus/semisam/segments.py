"""Segments: the named structures of a project. Masks store their values; everything else goes by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from semisam.errors import UsageError

# Distinct, calm colours for the first segments of a project (sRGB, 0 to 255).
_COLORS = (
    (128, 174, 128),
    (241, 214, 145),
    (177, 122, 101),
    (111, 184, 210),
    (216, 101, 79),
    (221, 130, 101),
    (144, 238, 144),
    (192, 104, 88),
)


@dataclass(frozen=True)
class Segment:
    """One named structure. ``value`` (1 to 255) is what masks hold for it; 0 is background.

    terminology   what it is in standard codes, as 3D Slicer serializes a terminology entry; "" where nobody said
    former_names  names that it had before: masks that were written then still know it by them
    """

    value: int
    name: str
    color: tuple[int, int, int]
    terminology: str = ""
    former_names: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {"value": self.value, "name": self.name, "color": list(self.color)}
        if self.terminology:
            data["terminology"] = self.terminology
        if self.former_names:
            data["former_names"] = list(self.former_names)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Segment:
        red, green, blue = data["color"]
        former = tuple(str(name) for name in data.get("former_names", ()))
        color = (int(red), int(green), int(blue))
        return cls(int(data["value"]), str(data["name"]), color, str(data.get("terminology", "")), former)


OUTSIDE = Segment(255, "known to be outside", (90, 90, 90))
"""In the file of a partial annotation: what a person has looked at and what belongs to no segment. A voxel of 0 is
unknown there."""


def default_color(index: int) -> tuple[int, int, int]:
    """Colour of the segment at position ``index`` (0 is the first)."""
    return _COLORS[index % len(_COLORS)]


def parse_segments(text: str) -> tuple[Segment, ...]:
    """Read ``"1=anterior,2=posterior"``. Raises UsageError when a value or name is missing, doubled or out of range."""
    segments: list[Segment] = []
    for index, item in enumerate(text.split(",")):
        match = re.fullmatch(r"\s*(\d+)\s*=\s*([^=]*\S)\s*", item)
        if match is None:
            raise UsageError(f'Cannot read the segment "{item.strip()}": write segments as "1=anterior,2=posterior".')
        segments.append(Segment(int(match[1]), match[2], default_color(index)))
    check_segments(segments)
    return tuple(segments)


def check_segments(segments: Sequence[Segment]) -> None:
    """Raise UsageError unless values are distinct within 1 to 255 and names are distinct (case does not count)."""
    if not segments:
        raise UsageError('A project needs at least one segment, for example --segments "1=liver".')
    for segment in segments:
        if not 1 <= segment.value <= 255:
            raise UsageError(f'The value {segment.value} of segment "{segment.name}" is outside 1 to 255.')
    if len({segment.value for segment in segments}) < len(segments):
        raise UsageError("Two segments have the same value: give every segment a value of its own.")
    if len({segment.name.casefold() for segment in segments}) < len(segments):
        raise UsageError("Two segments have the same name: give every segment a name of its own.")


def changed_segments(before: Sequence[Segment], wanted: Sequence[Segment], *, used: bool) -> tuple[Segment, ...]:
    """The segments ``wanted`` in place of those ``before``, recognized by their values, with their former names.

    Those that are ``used``, by masks or by a model, can be renamed, recolored and described, but none can come or go.
    Raises UsageError for unfit segments.
    """
    check_segments(wanted)
    known = {segment.value: segment for segment in before}
    if used and {segment.value for segment in wanted} != set(known):
        raise UsageError(
            "Segments cannot be added or removed once there are masks or a model, which would lack them: change names "
            "and colors only, or make a new project and add the same images."
        )
    result = []
    for segment in wanted:
        old = known.get(segment.value) if used else None
        names = () if old is None else (*old.former_names, old.name)
        former = tuple(dict.fromkeys(name for name in names if name.casefold() != segment.name.casefold()))
        result.append(replace(segment, former_names=former))
    taken = {segment.name.casefold(): segment for segment in result}
    for segment in result:
        other = next((taken[name.casefold()] for name in segment.former_names if name.casefold() in taken), None)
        if other is not None:
            raise UsageError(
                f'"{other.name}" was the name of another segment ("{segment.name}") before, and masks may use it: '
                "choose another name."
            )
    # The order is that of what was learned.
    return tuple(sorted(result, key=lambda segment: list(known).index(segment.value)) if used else result)


def are_called(segments: Sequence[Segment], names: Sequence[str]) -> bool:
    """Whether these are the names of the segments, in their order, or names that they had before."""
    return len(names) == len(segments) and all(
        name.casefold() in {known.casefold() for known in (segment.name, *segment.former_names)}
        for name, segment in zip(names, segments, strict=True)
    )
