"""Which case a person should look at next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from semisam.files.atomic import write_json

if TYPE_CHECKING:
    from semisam.project import Case, Project

_ORDER = "annotate-first.json"


def ranked_cases(project: Project) -> list[Case]:
    """All cases, those to look at next first: proposals by rising confidence, then what has none, then the finished.

    Those without a proposal come in the order in which to annotate them, as far as it is known (``typical.py``).
    """
    order = {"proposed": 0, "rejected": 1, "in work": 2, "new": 3, "annotated": 4, "accepted": 5}
    places = {name: place for place, name in enumerate(kept_order(project.cache_dir))}

    def key(case: Case) -> tuple[int, float, int, str]:
        confidence = 2.0 if case.confidence is None else case.confidence
        return order[case.state.value], confidence, places.get(case.name, len(places)), case.name

    return sorted(project.cases.values(), key=key)


def keep_order(cache: Path, names: list[str]) -> None:
    """Keep the order in which to annotate the cases, for ``kept_order``."""
    write_json(cache / _ORDER, names)


def kept_order(cache: Path) -> list[str]:
    """The order in which to annotate the cases, as far as it was asked for; reads one small file."""
    try:
        return [str(name) for name in json.loads((cache / _ORDER).read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def volumes(case: Case) -> dict[str, float]:
    """Volume of each segment in millilitres, as far as it is known without reading a mask: that of the proposal, unless
    a finished annotation is in force, which is another mask."""
    details = case.proposal.provenance.get("details", {}) if case.proposal and _counts(case) else {}
    return dict(details.get("volumes_ml", {}))


def shown_confidence(case: Case) -> float | None:
    """The confidence of the proposal; None where a finished annotation is in force, which it does not tell of."""
    return case.confidence if _counts(case) else None


def _counts(case: Case) -> bool:
    """Whether the proposal is what a case has: nothing is finished, or the proposal was accepted as it is."""
    from semisam.project.states import FINISHED

    if case.state not in FINISHED or case.annotation is None:
        return True
    return case.proposal is not None and case.proposal.sha256 == case.annotation.sha256
