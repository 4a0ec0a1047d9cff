"""What was measured of the generalists, as JSON for the checkpoint: a run that goes on cannot measure it again, for by
then the specialist knows the annotated cases by heart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from semisam.generalists.base import Encoder
from semisam.learning.trust import Advantages, Trust


def notes_of(trust: Trust, generalists: Mapping[str, Encoder], revisions: Mapping[str, str]) -> dict[str, Any]:
    """What is known of each generalist from each case.

    revisions  hash of the annotation of each annotated case
    """
    return {
        name: {
            "fingerprint": generalist.fingerprint,
            "cases": {
                case: {"annotation": revisions[case], "advantages": _as_json(found)}
                for case, found in trust.known(name).items()
            },
        }
        for name, generalist in generalists.items()
    }


def recall(
    trust: Trust, notes: Mapping[str, Any], generalists: Mapping[str, Encoder], revisions: Mapping[str, str]
) -> None:
    """Tell the trust what was noted, as far as it is about the same generalists and annotations."""
    for name, generalist in generalists.items():
        note = notes.get(name, {})
        if note.get("fingerprint") == generalist.fingerprint:
            same = {case: it for case, it in note["cases"].items() if it["annotation"] == revisions.get(case)}
            trust.learn_from(name, {case: _from_json(it["advantages"]) for case, it in same.items()})


def _as_json(found: Advantages) -> list[Any]:
    return [
        [grouping, [None if np.isnan(value) else float(value) for value in values]]
        for grouping, values in found.items()
    ]


def _from_json(items: list[Any]) -> Advantages:
    return {tuple(tuple(group) for group in grouping): np.array(values, float) for grouping, values in items}
