"""When things happen in a round: everything is a function of the part of the budget that is used up.

A budget is a number of seconds or of steps. With steps nothing depends on a clock, so runs repeat bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from semisam.specialists.plan import Plan

# Steps over which the learning rate rises at the start of a round.
_RISE = 20


@dataclass
class Budget:
    """What a round may use and has used. ``seconds`` counts training only, not the making of proposals."""

    limit: float
    in_steps: bool
    steps: int = 0
    seconds: float = 0.0

    @property
    def fraction(self) -> float:
        return min(1.0, (self.steps if self.in_steps else self.seconds) / self.limit)

    @property
    def seconds_left(self) -> float | None:
        """None before the first step."""
        fraction = self.fraction
        return self.seconds * (1 - fraction) / fraction if fraction > 0 else None


class Schedule:
    """Learning rate and loss weights of a round."""

    def __init__(self, plan: Plan, budget: Budget) -> None:
        self._plan = plan
        self.budget = budget
        # The first proposals follow the warm-up, so with a long budget it still ends soon.
        limit = 1.0 if budget.in_steps else plan.warm_up_seconds / budget.limit
        self.warm_up = min(plan.warm_up, limit)

    @property
    def warming_up(self) -> bool:
        return self.budget.fraction < self.warm_up

    @property
    def learning_rate(self) -> float:
        """Constant, then a cosine to 1 %."""
        start = self._plan.anneal_from
        part = max(0.0, (self.budget.fraction - start) / (1 - start))
        cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part))
        return self._plan.learning_rate * min(1.0, (self.budget.steps + 1) / _RISE) * cosine

    @property
    def consistency(self) -> float:
        """Rises as exp(-5 (1 - t)^2) over the first 40 % of what follows the warm-up (Laine and Aila 2017)."""
        part = min(1.0, self.progress / 0.4)
        return self._plan.consistency_weight * math.exp(-5 * (1 - part) ** 2)

    @property
    def generalist(self) -> float:
        """Falls from 1 to a twentieth: trust the generalists early, oneself later (SemiSAM+)."""
        return self._plan.generalist_weight * (0.05 + 0.95 * math.exp(-5 * self.progress**2))

    @property
    def progress(self) -> float:
        """0 until the end of the warm-up, then rising to 1 at the end of the round."""
        return max(0.0, (self.budget.fraction - self.warm_up) / (1 - self.warm_up))
