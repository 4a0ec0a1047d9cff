"""The card of a model: what a colleague should know of it before using it, in counts and words.

It never holds names of cases, paths, or anything of a patient; title, description and licence are the user's own words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from semisam.progress import duration

_TEXT_LENGTH, _LINE_LENGTH = 4000, 300
_NO_LICENCE = "not stated: ask the person who gave you this file"


@dataclass(frozen=True)
class Card:
    """See the module. None and "" stand for what is not known.

    origin              the imported model that training went on from, in words
    trained, exported   date and time, ISO 8601 in UTC
    seconds             of the last round of training
    proposals           how many unannotated cases the three confidences come from
    confidence          mean of the Dice that the model expects of its own masks there; lowest and highest likewise
    """

    title: str
    segments: tuple[str, ...]
    annotated_cases: int
    other_cases: int | None = None
    rounds: int = 1
    steps: int = 0
    seconds: float | None = None
    framework: str = ""
    generalists: tuple[str, ...] = ()
    origin: str = ""
    trained: str = ""
    proposals: int = 0
    confidence: float | None = None
    lowest_confidence: float | None = None
    highest_confidence: float | None = None
    description: str = ""
    licence: str = ""
    exported: str = ""
    engine: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Card:
        """Raises ValueError, TypeError or KeyError for anything but a card. Control characters become spaces."""
        known = {field.name: field.type for field in fields(cls)}
        unknown = set(data) - set(known)
        if unknown:
            raise ValueError("its card has an unknown entry")
        return cls(**{name: _checked(value, str(known[name])) for name, value in data.items()})

    def in_words(self) -> str:
        """Several lines for a person."""
        others = "" if self.other_cases is None else f" and {self.other_cases} unannotated"
        cases = self.annotated_cases if self.other_cases is None else self.other_cases  # the number before the word
        taught = f", with the generalists {', '.join(self.generalists)}" if self.generalists else ""
        length = "" if self.seconds is None else f", the last one {duration(self.seconds)}"
        lines = [
            self.title,
            f"Segments: {', '.join(self.segments)}",
            f"Learned from {self.annotated_cases} annotated{others} {_noun('case', cases)} in {self.rounds} "
            f"{_noun('round', self.rounds)} ({self.steps} steps{length})",
            f"Framework: {self.framework or 'not known'}{taught}",
            *([f"Went on from: {self.origin}"] if self.origin else []),
            f"Trained: {self._date(self.trained)}; exported: {self._date(self.exported)}; engine {self.engine}",
            f"Expected Dice: {self._quality()}",
            f"Description: {self.description or 'none'}",
            f"Licence: {self.licence or _NO_LICENCE}",
            "For research. A person has to look at every mask before it is used.",
        ]
        return "\n".join(lines)

    def as_origin(self) -> str:
        """One line for the card of a model that goes on from this one."""
        title = self.title[:_LINE_LENGTH]
        cases = f"{self.annotated_cases} annotated {_noun('case', self.annotated_cases)}"
        return f"{title}, {cases}, trained {self._date(self.trained)}"

    def _quality(self) -> str:
        if self.confidence is None or self.lowest_confidence is None or self.highest_confidence is None:
            return "not known"
        return (
            f"{self.confidence:.2f} on average by its own estimate ({self.lowest_confidence:.2f} to "
            f"{self.highest_confidence:.2f} on {self.proposals} {_noun('case', self.proposals)} without annotation)"
        )

    @staticmethod
    def _date(text: str) -> str:
        return text[:10] or "not known"


def _noun(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _checked(value: Any, kind: str) -> Any:
    """``value`` if it is of the annotated type, or raises ValueError."""
    if value is None and "None" in kind:
        return None
    if kind.startswith("str"):
        return _text(value)
    if kind.startswith("tuple") and isinstance(value, list) and len(value) <= 255:
        return tuple(_text(item) for item in value)
    if not isinstance(value, bool):
        if kind.startswith("int") and isinstance(value, int) and 0 <= value < 1 << 53:
            return value
        if kind.startswith("float") and isinstance(value, int | float) and math.isfinite(value) and value >= 0:
            return float(value)
    raise ValueError("its card holds a value of the wrong kind")


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _TEXT_LENGTH:
        raise ValueError("its card holds something that is no text, or a very long one")
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in value)
