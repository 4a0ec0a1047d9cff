"""The baseline: the annotated cases alone. Most other frameworks begin like this, during their warm-up."""

from __future__ import annotations

from semisam.learning.frameworks.base import Framework, Network, StepResult
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch


class Supervised(Framework):
    uses_unlabelled = False

    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch, progress: float
    ) -> StepResult:
        return self.supervised(student, labelled)
