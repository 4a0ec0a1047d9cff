"""A second opinion on the specialist's masks: what the registered annotated cases say of the same case.

The specialist's own probabilities promise too much, for it learned from few cases and errs alike everywhere.
Registration errs in its own way, so where the two agree both are likely right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from semisam.errors import GeneralistError, ProjectError
from semisam.generalists.base import Context, Example
from semisam.generalists.cache import EmbeddingCache
from semisam.generalists.registration.generalist import Registration
from semisam.learning.trust import agreement
from semisam.learning.working import WorkingCase, WorkingSet
from semisam.project import Project
from semisam.prompts import Prompts


def examples(project: Project, working: WorkingSet) -> tuple[Example, ...]:
    """The cases with a whole annotation as context for generalists that work by example."""
    values = np.array([0, *(segment.value for segment in project.segments)], np.uint8)
    found = []
    for name in working.complete:
        case = working[name]
        assert case.labels is not None
        found.append(Example(name, case.volume, values[case.labels]))
    return tuple(found)


# So many registered cases tell how far the specialist is to be believed on average.
_ASKED = 8


class SecondOpinion:
    """Compares masks with registered annotated cases, as far as these registrations are in the cache already."""

    def __init__(self, project: Project, working: WorkingSet) -> None:
        self._working = working
        self._values = [segment.value for segment in project.segments]
        self._cache = EmbeddingCache(project.cache_dir / "embeddings")
        self._registration: Registration | None = None
        try:
            self._registration = Registration(Context(examples(project, working)))
        except GeneralistError:
            pass  # nothing is annotated: no second opinion

    def has(self, name: str) -> bool:
        """Whether this case has been registered; False for one that was removed meanwhile, too."""
        if self._registration is None or not self._cache.folder.is_dir():
            return False
        try:
            return self._cache.path(self._registration, self._working[name].volume).exists()
        except ProjectError:
            return False

    def __call__(self, case: WorkingCase, probability: np.ndarray) -> float | None:
        """Dice of the two masks, mean over the segments that either has, and 1 when neither has any; None for a case
        that was not registered.

        probability is (1 + segments, k, j, i) of the specialist on the working grid.
        """
        embedding = self._cache.find(self._registration, case.volume) if self._registration else None
        if self._registration is None or embedding is None or len(embedding.arrays["labels"]) == 0:
            return None
        prompts = [Prompts(mask=mask, segment=value) for mask, value in zip(probability[1:], self._values, strict=True)]
        said = self._registration.predict(embedding, prompts)
        found = ((said > 0.5) | (probability[1:] > 0.5)).any((1, 2, 3))
        return float(np.mean(agreement(said, probability[1:])[found])) if found.any() else 1.0

    def on_average(
        self,
        names: Sequence[str],
        predict: Callable[[np.ndarray], np.ndarray],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> float | None:
        """The mean over a few registered ones of these cases; None when there is none.

        predict      (k, j, i) working image -> probabilities of the specialist, as above
        should_stop  asked before each case
        """
        given = []
        for name in [name for name in names if self.has(name)][:_ASKED]:
            if should_stop():
                break
            case = self._working[name]
            opinion = self(case, predict(case.image))
            given += [] if opinion is None else [opinion]
        return float(np.mean(given)) if given else None
