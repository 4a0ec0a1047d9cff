"""Whether unannotated cases are unlike the annotated ones, as far as the specialist itself shows it.

A specialist that learned from annotated cases alone is about as sure of every case that resembles them. Where some of
the others are another anatomy, scanner or disease, its expectations spread: measured, the standard deviation of the
expected Dice over the cases is 0.004 to 0.015 on hippocampus and left atrium, whatever the number of annotated cases
and the state of training, and 0.044 to 0.066 on cine MR of healthy and diseased hearts, where copy-paste then lowers it
to 0.025 (few_labels.md, "Unlike cases").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from semisam.predict import expected_dice

# Standard deviation of the expected Dice from which cases count as unlike.
_SPREAD = 0.03
# So many cases are looked at; from fewer than the second number nothing is concluded.
LOOKED_AT, _FEWEST = 16, 5
# Up to so many annotated cases others are taken to be unlike them: steps on annotated cases alone teach more where
# there are four (left atrium 0.86 against 0.77), not where there is one (cine MR 0.42 against 0.61; few_labels.md).
FEW = 2
# Before this many steps a specialist is unsure of everything, and its guesses teach little (few_labels.md, "When").
MATURE = 300
# From so many steps on, annotated cases alone bring next to nothing more, and unannotated ones do: left atrium, four
# annotated cases, 0.883 instead of 0.867 when Mean Teacher followed on some 2,400 steps; after 700 it was 0.844 instead
# of 0.858 (few_labels.md, "Long rounds").
VERSED = 1200


def cases_are_unlike(probabilities: Iterable[np.ndarray], enough: Callable[[], bool] = lambda: False) -> bool:
    """Whether the expected Dice of these cases spreads.

    probabilities  of each case, (1 + segments, k, j, i); made one after the other
    enough         asked after each case from the fifth on whether the time for looking is used up
    """
    expected: list[float] = []
    for probability in probabilities:
        expected.append(expected_dice(probability))
        if len(expected) >= _FEWEST and enough():
            break
    return len(expected) >= _FEWEST and float(np.std(expected)) > _SPREAD
