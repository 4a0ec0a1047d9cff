"""Which case a person should look at next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semisam.project import Case, Project


def ranked_cases(project: Project) -> list[Case]:
    """All cases, those to look at next first: proposals by rising confidence, then what has none, then the finished."""
    order = {"proposed": 0, "rejected": 1, "in work": 2, "new": 3, "annotated": 4, "accepted": 5}

    def key(case: Case) -> tuple[int, float, str]:
        return order[case.state.value], 2.0 if case.confidence is None else case.confidence, case.name

    return sorted(project.cases.values(), key=key)


def volumes(case: Case) -> dict[str, float]:
    """Volume of each segment of the proposal in millilitres, as far as it is known."""
    details = case.proposal.provenance.get("details", {}) if case.proposal else {}
    return dict(details.get("volumes_ml", {}))
