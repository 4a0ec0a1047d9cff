"""Trust: the measured advantage of a generalist over the specialist, per segment, on the annotated cases.

Only annotated cases are used. A generalist that makes the specialist's masks worse gets 0 and is thereby switched off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Grouping = tuple[tuple[int, ...], ...]
Advantages = dict[Grouping, np.ndarray]
"""(segments,) Dice advantage for each grouping; NaN where a case has nothing of a segment."""

# Dice advantage that earns full trust, and the one that earns none yet.
_FULL, _NONE = 0.05, 0.0
# A generalist that works by example cannot be measured on its only example; it counts half, where it agrees with the
# specialist (see the gate in supervision.py).
UNMEASURED = 0.5


def agreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Dice of two (segments, k, j, i) probability maps at 0.5, per segment; 0 where either is empty."""
    one, two = first > 0.5, second > 0.5
    voxels = (1, 2, 3)
    sizes = one.sum(voxels), two.sum(voxels)
    dice = 2 * (one & two).sum(voxels) / np.maximum(sizes[0] + sizes[1], 1)
    return np.where((sizes[0] > 0) & (sizes[1] > 0), dice, 0.0)


class Trust:
    """Collects comparisons and answers with a number from 0 to 1 for each generalist and segment."""

    def __init__(self, names: Sequence[str], segments: int) -> None:
        self._segments = segments
        # Of each generalist what each case told; nothing where it had no answer or the time was up.
        self._advantages: dict[str, dict[str, Advantages]] = {name: {} for name in names}

    def record(
        self,
        name: str,
        case: str,
        grouping: Grouping,
        generalist: np.ndarray,
        specialist: np.ndarray,
        labels: np.ndarray,
    ) -> None:
        """Compare two (segments, k, j, i) probability maps with labels (k, j, i), whose values are 1 + segment index.

        An all-zero answer, as generalists by example give for their only example, is no measurement.
        """
        found = self._advantages[name].setdefault(case, {})
        if not generalist.any():
            return
        truth = np.stack([labels == index + 1 for index in range(self._segments)]).astype(np.float32)
        advantage = agreement(generalist, truth) - agreement(specialist, truth)
        present = truth.any((1, 2, 3))
        found[grouping] = np.where(present, advantage, np.nan)

    def passed_over(self, name: str, case: str) -> None:
        """This case is not measured any more: the time was up."""
        self._advantages[name].setdefault(case, {})

    def known(self, name: str) -> dict[str, Advantages]:
        """What was found on each case, such as ``learn_from`` takes."""
        return self._advantages[name]

    def learn_from(self, name: str, known: Mapping[str, Advantages]) -> None:
        """What an earlier run measured is not measured again: by now the specialist knows these cases by heart."""
        self._advantages[name] |= known

    def advantage(self, name: str, grouping: Grouping) -> np.ndarray:
        """(segments,) mean Dice advantage; NaN where nothing was measured."""
        records = [found[grouping] for found in self._advantages[name].values() if grouping in found]
        table = np.array(records).reshape(-1, self._segments)
        counts = (~np.isnan(table)).sum(0)
        return np.where(counts > 0, np.nansum(table, 0) / np.maximum(counts, 1), np.nan)

    def best_grouping(self, name: str) -> Grouping:
        """The grouping of segments into prompted structures with the largest mean advantage."""
        groupings = list(dict.fromkeys(grouping for found in self._advantages[name].values() for grouping in found))
        if not groupings:
            return tuple((index,) for index in range(self._segments))
        return max(
            groupings, key=lambda grouping: float(np.nan_to_num(np.nanmean(self.advantage(name, grouping)), nan=-1))
        )

    def of(self, name: str) -> np.ndarray:
        """(segments,) trust from 0 to 1."""
        if not any(self._advantages[name].values()):
            return np.full(self._segments, UNMEASURED)
        advantage = self.advantage(name, self.best_grouping(name))
        trust = np.clip((advantage - _NONE) / (_FULL - _NONE), 0.0, 1.0)
        return np.where(np.isnan(advantage), UNMEASURED, trust)
