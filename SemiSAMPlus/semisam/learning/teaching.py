"""The generalists' part in a round: when to ask them about which case, within a bounded share of the time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from semisam.generalists.base import Context
from semisam.generalists.cache import EmbeddingCache
from semisam.generalists.registry import create_all, is_auto, resolve
from semisam.learning.measured import notes_of, recall
from semisam.learning.sampling import PseudoLabel, Shape
from semisam.learning.schedule import Budget, Schedule
from semisam.learning.second_opinion import examples
from semisam.learning.supervision import LENDERS, GeneralistSupervision
from semisam.learning.trust import agreement
from semisam.learning.unlikeness import MATURE
from semisam.learning.working import WorkingCase, WorkingSet
from semisam.predict import predict_probabilities
from semisam.project import Project
from semisam.specialists.plan import Plan

# Share of the training time that the generalists may take, encoding excluded.
_SHARE = 0.12
# Share of the training time that encoding may take on top of it.
_ENCODING_SHARE = 0.08
# Share of the training time in which the trust in one generalist is measured, and in all of them; each is measured on
# one annotated case at least.
_MEASURING_SHARE, _MEASURING_SHARE_OF_ALL = 0.03, 0.06
# What generalists make of an immature teacher's guesses does harm (plug_and_play.md); of a round so short that it never
# matures, the second half is left to them.
_HALF = 0.5
# Dice on the annotated cases at which the growing teacher is taken for the measurement of trust.
# Not too early: a generalist that corrects only poor masks would hold back a specialist that has outgrown it.
_IMMATURE = (0.65, 0.93)
_IMMATURE_TARGET = 0.85
# Parts of the warm-up between two looks at the growing teacher, and the share of the warm-up's time that they may take:
# of large volumes one look takes seconds.
_LOOKS = 20
_LOOKING_SHARE = 0.1
# The pseudo-labels, and the shapes to borrow, may fill this part (one in so many) of the memory that the plan has.
_LABELS_PART, _SHAPES_PART = 4, 8
# Up to so many segments the trust in each is told.
_FEW_SEGMENTS = 8


class Teaching:
    """Keeps the pseudo-labels of the unannotated cases fresh, and the trust in the generalists measured."""

    def __init__(
        self,
        project: Project,
        plan: Plan,
        working: WorkingSet,
        teacher: torch.nn.Module,
        generalist: str,
        seed: int,
        rng: np.random.Generator,
        say: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self.pseudo_labels: dict[str, PseudoLabel] = {}
        self.shapes: dict[str, Shape] = {}
        self.measured: dict[str, Any] = {}  # of the generalists, for the checkpoint
        self.goes_on = False  # whether the round began with the specialist of an earlier one
        self._project = project
        self._plan = plan
        self._working = working
        self._teacher = teacher
        # A stream of its own: with and without generalists the same patches are drawn.
        self._rng = np.random.default_rng([seed, 1])
        self._choice = rng
        self._turns = itertools.count()  # of the patches of unannotated cases
        self._say = say
        self._should_stop = should_stop
        self._generalist = generalist
        self._chosen = resolve(generalist)
        self._names: list[str] = []  # of those that were made
        self._supervision: GeneralistSupervision | None = None
        self._asks = False  # whether it was started to ask for pseudo-labels
        self._began = 0.0, 0.0  # seconds of steps and of encoding when that last changed
        self._immature: dict[str, tuple[float, np.ndarray]] = {}
        self._looks = 0
        self._queue: list[str] = []
        self._registered: set[str] = set()
        self._agreements: dict[str, float] = {}
        self._step_seconds = self._asking_seconds = self._encoding_seconds = 0.0
        self._looking_seconds = self._measuring_seconds = 0.0

    def after_step(self, schedule: Schedule, seconds: float, ask: bool) -> None:
        """Called after every step with the seconds it took; ``ask`` says whether pseudo-labels are wanted at all.

        Where they are not, generalists that lend shapes are the only ones that are made and measured.
        """
        if not self._chosen:
            return
        self._step_seconds += seconds
        budget = schedule.budget
        if schedule.warming_up or (ask and not self._is_mature(budget)):
            # An untrained teacher has nothing to show: the first look is after a part of the warm-up.
            due = budget.fraction / schedule.warm_up * _LOOKS >= self._looks + 1
            if due and (budget.in_steps or self._looking_seconds <= _LOOKING_SHARE * self._step_seconds):
                start = time.monotonic()
                self._looks += 1
                self._watch_teacher()
                self._looking_seconds += time.monotonic() - start
            return
        if self._supervision is None or ask != self._asks:
            if self._supervision is not None:  # it was for shapes alone, or the other way round
                self._began = self._step_seconds, self._encoding_seconds
                self._queue.clear()
            self._asks, start = ask, time.monotonic()
            self._supervision = self._start(budget, ask)
            self._measuring_seconds += time.monotonic() - start
        if not self._working.unannotated:
            return
        if budget.steps % self._plan.refresh_every:
            return
        if budget.in_steps or self._affordable():
            self._refresh_next(ask)

    def choose(self, names: Sequence[str], count: int) -> list[str]:
        """Unannotated cases for the next patches; every second one is a case with a pseudo-label if there is any.

        Every second one of all, for where a step takes a single patch, the others would never have their turn.
        """
        taught = [name for name in names if name in self.pseudo_labels]
        chosen = []
        for _ in range(count):
            among = taught if taught and next(self._turns) % 2 == 0 else names
            chosen.append(among[int(self._choice.integers(len(among)))])
        return chosen

    def annotations_changed(self) -> None:
        """Examples are made anew, trust is measured on what is new; annotated cases no longer need pseudo-labels."""
        self._supervision = None
        self.shapes.clear()
        self._registered.clear()
        for name in self._working.complete:
            self.pseudo_labels.pop(name, None)

    def facts(self) -> dict[str, Any]:
        """For the history: trust and agreement as they are now."""
        facts: dict[str, Any] = {}
        if self._supervision is not None:
            facts["trust"] = self._trust()
            facts["pseudo_labels"] = len(self.pseudo_labels)
        if self._agreements:
            facts["pseudo_label_agreement"] = round(float(np.mean(list(self._agreements.values()))), 4)
        return facts

    def summary(self) -> dict[str, Any]:
        return {
            "generalists": list(self._names),
            "trust": self._trust() if self._supervision is not None else {},
            "generalist_share": round(self._asking_seconds / max(self._step_seconds, 1e-6), 4),
            "encoding_seconds": round(self._encoding_seconds, 1),
            "measuring_seconds": round(self._looking_seconds + self._measuring_seconds, 1),
        }

    def _trust(self) -> dict[str, dict[str, float]]:
        assert self._supervision is not None
        return {
            name: {
                segment: round(float(value), 3)
                for segment, value in zip(self._plan.segments, self._supervision.trust.of(name), strict=True)
            }
            for name in self._names
        }

    def _watch_teacher(self) -> None:
        """Keep, for each annotated case, the prediction of the growing teacher that is nearest to a mediocre one."""
        for name in self._working.complete:
            case = self._working[name]
            assert case.labels is not None
            truth = np.stack([case.labels == index + 1 for index in range(len(self._plan.segments))]).astype(np.float32)
            present = truth.any((1, 2, 3))
            if not present.any():
                continue
            probability = predict_probabilities(self._teacher, self._plan, case.image)
            dice = float(np.mean(agreement(probability[1:], truth)[present]))
            if _IMMATURE[0] <= dice <= _IMMATURE[1]:
                distance = abs(dice - _IMMATURE_TARGET)
                if name not in self._immature or distance < self._immature[name][0]:
                    # Kept for the whole round: trust is measured anew whenever annotations change.
                    self._immature[name] = distance, probability.astype(np.float16)

    def _start(self, budget: Budget, ask: bool) -> GeneralistSupervision:
        values = [segment.value for segment in self._project.segments]
        cache = EmbeddingCache(self._project.cache_dir / "embeddings")
        context = Context(examples(self._project, self._working), self._plan.device, cache.folder)
        generalists = create_all(self._generalist, context, None if ask else LENDERS)
        self._names = list(generalists)
        idle = [] if is_auto(self._generalist) else [name for name in self._chosen if name not in generalists]
        if idle:
            self._say(f"Not used while only annotated cases are learned from: {', '.join(idle)}.")
        supervision = GeneralistSupervision(list(generalists.values()), cache, self._plan, values)
        revisions = self._working.revisions
        recall(supervision.trust, self.measured, generalists, revisions)
        cases = [self._working[name] for name in self._working.complete]
        predictions = {name: probability for name, (_, probability) in self._immature.items()}

        def prediction(case: WorkingCase) -> np.ndarray:
            if case.name not in predictions:
                probability = predict_probabilities(self._teacher, self._plan, case.image)
                predictions[case.name] = probability.astype(np.float16)
            return predictions[case.name].astype(np.float32)

        def enough(seconds: float) -> bool:
            share = min(_MEASURING_SHARE, _MEASURING_SHARE_OF_ALL / len(generalists))
            return not budget.in_steps and seconds > share * budget.limit

        supervision.measure_trust(cases, prediction, self._rng, enough, self._should_stop)
        self.measured |= notes_of(supervision.trust, generalists, revisions)
        for name in self._names:
            self._say(f"Trust in {name}: {_in_words(self._plan.segments, supervision.trust.of(name))}")
        return supervision

    def _is_mature(self, budget: Budget) -> bool:
        return self.goes_on or budget.steps >= MATURE or budget.fraction >= _HALF

    def _affordable(self) -> bool:
        # What registering for shapes alone has cost does not keep the other generalists waiting.
        steps, encoding = self._began
        encoded = self._encoding_seconds - encoding <= _ENCODING_SHARE * (self._step_seconds - steps)
        return encoded and self._asking_seconds <= _SHARE * self._step_seconds

    def _refresh_next(self, ask: bool) -> None:
        assert self._supervision is not None
        if not self._queue:
            names = [str(name) for name in self._rng.permutation(self._working.unannotated)]
            # From the end: at first those of which registration, the slowest, has its embedding already.
            self._queue = sorted(names, key=lambda name: name in self._registered)
        name = self._queue.pop()
        if name not in self._working.unannotated:
            return
        case = self._working[name]
        start, encoding = time.monotonic(), self._supervision.encoding_seconds
        if ask and self._supervision.active:
            self._ask(self._supervision, case)
        if name not in self._registered:
            self._registered.add(name)
            annotated = {other: self._working[other] for other in self._working.complete}
            shape = self._supervision.register(case, annotated)
            if shape is not None:
                self.shapes[name] = shape
                self._bound(self.shapes, _SHAPES_PART)
        encoded = self._supervision.encoding_seconds - encoding
        self._encoding_seconds += encoded
        self._asking_seconds += time.monotonic() - start - encoded

    def _ask(self, supervision: GeneralistSupervision, case: WorkingCase) -> None:
        prediction = predict_probabilities(self._teacher, self._plan, case.image)
        answer = supervision.pseudo_label(case, prediction, self._rng, self.pseudo_labels.pop(case.name, None))
        if answer is None:
            return
        self.pseudo_labels[case.name], self._agreements[case.name] = answer
        self._bound(self.pseudo_labels, _LABELS_PART)

    def _bound(self, things: dict[str, Any], part: int) -> None:
        """Those of many large volumes would fill the memory: the oldest go first."""
        room = (self._plan.memory_mb << 20) // part
        while len(things) > 1 and sum(thing.nbytes for thing in things.values()) > room:
            del things[next(iter(things))]


def _in_words(segments: Sequence[str], trust: np.ndarray) -> str:
    """Each segment with its trust; of many segments, the mean and those that are trusted most."""
    told = [f"{segment} {value:.2f}" for segment, value in zip(segments, trust, strict=True)]
    if len(told) <= _FEW_SEGMENTS:
        return ", ".join(told)
    most = ", ".join(told[index] for index in np.argsort(-trust, kind="stable")[:3])
    return f"{np.mean(trust):.2f} on average of {len(told)} segments (most: {most})"
