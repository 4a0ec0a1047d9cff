"""The cases of a project as the worker describes them: states, ranking, search. No file is opened here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .i18n import _

# What to look at first: proposals, then what has none, then what is finished.
_ORDER = {"proposed": 0, "rejected": 1, "in work": 2, "new": 3, "annotated": 4, "accepted": 5}
FINISHED = frozenset({"annotated", "accepted"})


@dataclass(frozen=True)
class SegmentInfo:
    """A segment of the project: what masks hold for it, its name, and its color (red, green, blue; 0 to 255).

    terminology  a terminology entry as Slicer serializes it, or ""
    """

    value: int
    name: str
    color: tuple[int, int, int]
    terminology: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As requests have it."""
        data = {"value": self.value, "name": self.name, "color": list(self.color)}
        return {**data, "terminology": self.terminology} if self.terminology else data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SegmentInfo:
        """A segment as the answer to ``open`` has it."""
        red, green, blue = data["color"]
        terminology = str(data.get("terminology") or "")
        return cls(int(data["value"]), str(data["name"]), (int(red), int(green), int(blue)), terminology)


@dataclass(frozen=True)
class MaskInfo:
    """A mask of a case: its file, and which writing of it this is."""

    path: Path
    revision: int
    provenance: Mapping[str, Any]
    uncertainty: Path | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> MaskInfo | None:
        """An annotation or proposal as the worker describes it, or None where there is none."""
        if not data:
            return None
        uncertainty = data.get("uncertainty")
        provenance = data.get("provenance") or {}
        return cls(Path(data["path"]), int(data["revision"]), provenance, Path(uncertainty) if uncertainty else None)

    @property
    def finished_segments(self) -> tuple[str, ...]:
        """Names of the segments that a person has finished in this annotation."""
        return tuple(str(name) for name in self.provenance.get("segments", ()))


@dataclass(frozen=True)
class CaseInfo:
    """One case. ``state`` is one of new, in work, annotated, proposed, accepted, rejected; ``confidence`` 0 to 1."""

    name: str
    image: Path
    state: str
    confidence: float | None = None
    annotation: MaskInfo | None = None
    proposal: MaskInfo | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CaseInfo:
        """A case as the worker describes it. Raises KeyError, TypeError or ValueError for anything else."""
        confidence = data.get("confidence")
        return cls(
            str(data["name"]),
            Path(data["image"]),
            str(data["state"]),
            None if confidence is None else float(confidence),
            MaskInfo.from_dict(data.get("annotation")),
            MaskInfo.from_dict(data.get("proposal")),
        )

    @property
    def finished(self) -> bool:
        """Whether a person has finished it, so that it is learned from."""
        return self.state in FINISHED

    @property
    def partial(self) -> bool:
        """Whether some slices of it are annotated, which are learned from."""
        return (
            self.state == "in work" and self.annotation is not None and bool(self.annotation.provenance.get("partial"))
        )

    @property
    def teaches(self) -> bool:
        """Whether it is learned from."""
        return self.finished or self.partial

    @property
    def work(self) -> str:
        """How far the annotation is, as ``ProjectSession.annotate`` calls it."""
        return "annotated" if self.finished else "in part" if self.partial else "in work"

    @property
    def waits_for_review(self) -> bool:
        """Whether it has a proposal that nobody has judged."""
        return self.state == "proposed"


@cache
def state_words(state: str) -> str:
    """A state in the user's language."""
    # Remembered, because Slicer's look-up of a translation is slow for a table of hundreds of rows.
    words = {
        "new": _("New"),
        "in work": _("In work"),
        "in part": _("Annotated in part"),
        "annotated": _("Annotated"),
        "proposed": _("Proposed"),
        "accepted": _("Accepted"),
        "rejected": _("Rejected"),
    }
    return words.get(state, state)


class CaseList:
    """The cases by name, in the project's order. ``ranks`` are kept until a case changes."""

    def __init__(self) -> None:
        self._cases: dict[str, CaseInfo] = {}
        self._ranks: dict[str, int] | None = None
        self._suggested: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterable[CaseInfo]:
        return iter(self._cases.values())

    def __contains__(self, name: object) -> bool:
        return name in self._cases

    def get(self, name: str) -> CaseInfo | None:
        """The case of this name, or None."""
        return self._cases.get(name)

    def replace_all(self, cases: Iterable[CaseInfo]) -> list[str]:
        """Take the place of all cases; the names of those that are new, gone or different."""
        before, self._cases = self._cases, {case.name: case for case in cases}
        self._ranks = None
        return [name for name in {**before, **self._cases} if before.get(name) != self._cases.get(name)]

    def put(self, case: CaseInfo) -> None:
        """Add a case, or take the place of the one with its name."""
        self._cases[case.name] = case
        self._ranks = None

    def remove(self, name: str) -> None:
        """Take a case away; nothing happens when it is not there."""
        self._cases.pop(name, None)
        self._ranks = None

    def counts(self) -> dict[str, int]:
        """How many cases are in each state."""
        counts: dict[str, int] = {}
        for case in self._cases.values():
            counts[case.state] = counts.get(case.state, 0) + 1
        return counts

    @property
    def annotated(self) -> int:
        """The number of cases that are learned from."""
        return sum(case.teaches for case in self._cases.values())

    def suggest(self, names: Iterable[str]) -> bool:
        """Take the order in which the engine would have the cases annotated; True when it is another one."""
        suggested = {name: place for place, name in enumerate(names)}
        changed = suggested != self._suggested
        self._suggested = suggested
        if changed:
            self._ranks = None
        return changed

    @property
    def unsuggested(self) -> bool:
        """Whether cases wait for an annotation whose place in that order is not known."""
        return any(case.state == "new" and case.name not in self._suggested for case in self._cases.values())

    def first_to_annotate(self) -> CaseInfo | None:
        """The untouched case that is most like the others; None when that is not known."""
        new = [case for case in self._cases.values() if case.state == "new" and case.name in self._suggested]
        return min(new, key=lambda case: self._suggested[case.name], default=None)

    def ranks(self) -> dict[str, int]:
        """Name -> place in the order to look at the cases: 1 is next. Unsure proposals come first, then what has none,
        the cases that are most like the others in front."""
        if self._ranks is None:
            ordered = sorted(self._cases.values(), key=self._rank_key)
            self._ranks = {case.name: place for place, case in enumerate(ordered, 1)}
        return self._ranks

    def ranked(self) -> list[CaseInfo]:
        """All cases, the one to look at next first."""
        return [self._cases[name] for name in self.ranks()]

    def next_to_look_at(self, skipping: Iterable[str] = ()) -> CaseInfo | None:
        """The first unfinished case of the ranking that is not among ``skipping``; None at the end of the work."""
        passed = set(skipping)
        return next((case for case in self.ranked() if not case.finished and case.name not in passed), None)

    def neighbor(self, name: str, step: int) -> CaseInfo | None:
        """The case ``step`` places further in the project's order (-1: previous); None beyond its ends."""
        names = list(self._cases)
        if name not in self._cases:
            return self._cases[names[0]] if names else None
        place = names.index(name) + step
        return self._cases[names[place]] if 0 <= place < len(names) else None

    def matching(self, text: str = "", states: Iterable[str] | None = None) -> list[CaseInfo]:
        """The cases whose name holds ``text`` (capitals do not count) and that are in one of ``states``."""
        wanted = text.strip().casefold()
        chosen = None if states is None else set(states)
        return [
            case
            for case in self._cases.values()
            if wanted in case.name.casefold() and (chosen is None or case.state in chosen)
        ]

    def confident_proposals(self, at_least: float) -> list[CaseInfo]:
        """Unjudged proposals of at least this confidence (0 to 1), the surest first: for accepting them at once."""
        sure = [
            case
            for case in self._cases.values()
            if case.waits_for_review and case.confidence is not None and case.confidence >= at_least
        ]
        return sorted(sure, key=lambda case: (-(case.confidence or 0.0), case.name))

    def _rank_key(self, case: CaseInfo) -> tuple[int, float, int, str]:
        confidence = 2.0 if case.confidence is None else case.confidence
        place = self._suggested.get(case.name, len(self._suggested))
        return _ORDER.get(case.state, len(_ORDER)), confidence, place, case.name
