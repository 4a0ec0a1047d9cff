"""The training loop: one round from the annotated cases to proposals for all others.

warm-up on the annotated cases -> first proposals -> semi-supervised learning with the generalists in the loop ->
final proposals. A round resumes where it was stopped or killed, and picks up annotations that arrive while it runs.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from semisam.errors import ProjectError, TrainingError, UsageError, VolumeError
from semisam.generalists import registry
from semisam.learning.augmentation import Augmentation
from semisam.learning.checkpoints import load_training, save_fact, save_specialist, save_training
from semisam.learning.frameworks.base import Framework, Network, Setting
from semisam.learning.frameworks.registry import AUTO, check_framework, resolve_framework
from semisam.learning.frameworks.running import Frameworks
from semisam.learning.history import History
from semisam.learning.losses import generalist_loss
from semisam.learning.pace import Pace
from semisam.learning.sampling import Sampler
from semisam.learning.schedule import Schedule
from semisam.learning.second_opinion import SecondOpinion
from semisam.learning.starting import choose_budget, choose_plan, keep_specialist
from semisam.learning.teaching import Teaching
from semisam.learning.unlikeness import FEW, LOOKED_AT, MATURE, VERSED, cases_are_unlike
from semisam.learning.whereabouts import Whereabouts
from semisam.learning.working import WorkingSet
from semisam.predict import Specialist, predict_probabilities, write_proposals
from semisam.project import Project
from semisam.project.lock import TrainingLock
from semisam.specialists.hardware import detect
from semisam.specialists.network import make_network
from semisam.specialists.sizes import check_network

Event = Callable[[dict[str, Any]], None]

_LOG_SECONDS, _LOG_STEPS = 2.0, 10
_CHECKPOINT_SECONDS, _CHECKPOINT_STEPS = 30.0, 200
# How often new annotations are looked for.
_LOOK_SECONDS, _LOOK_STEPS = 2.0, 10
# Part of the budget after which "auto" goes on with unannotated cases, too, if at all; with a specialist that is versed
# by then; and the part that it may take to find out whether they are unlike the annotated ones.
_DECIDE, _DECIDE_VERSED, _DECIDING_SHARE = 0.5, 0.35, 0.02


@dataclass(frozen=True)
class TrainOptions:
    """Options of ``semisam train``. Without minutes and steps the default budget holds."""

    minutes: float | None = None
    steps: int | None = None
    framework: str = "auto"
    network: str | None = None  # that of the plan
    spacing: float | None = None  # mm; that of the plan; 0 is chosen from the data
    generalist: str = "auto"
    seed: int = 0
    device: str = "auto"
    fresh: bool = False


def train(project: Project, options: TrainOptions, on_event: Event, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Run one round, or go on with one that was stopped; returns a summary.

    Raises UsageError for options that do not fit, GeneralistError for a generalist that is unknown or cannot work here,
    TrainingError when no case is annotated, LockError when another program is training this project, VolumeError for a
    case that cannot be read.
    """
    if options.minutes is not None and options.steps is not None:
        raise UsageError("Give either --minutes or --steps, not both.")
    if (options.minutes is not None and options.minutes <= 0) or (options.steps is not None and options.steps <= 0):
        raise UsageError("The budget of a training run must be larger than 0.")
    check_framework(options.framework)
    registry.check(options.generalist)
    if options.network is not None:
        check_network(options.network)
    if not project.training_cases():
        raise TrainingError(f"No case of {project.path} is annotated yet: annotate at least one, then train.")
    with TrainingLock(project.path):
        return _Round(project, options, on_event, should_stop).run()


class _Round:
    """One training run; its state is what a checkpoint holds."""

    def __init__(
        self, project: Project, options: TrainOptions, on_event: Event, should_stop: Callable[[], bool]
    ) -> None:
        self.project = project
        self.options = options
        self.on_event = on_event
        self.should_stop = should_stop
        self.plan, goes_on = choose_plan(
            project, detect(options.device), options.network, options.spacing, options.fresh, self._say
        )
        self._say(f"Plan: {self.plan.in_words()}")
        torch.set_num_threads(self.plan.threads)
        torch.manual_seed(options.seed)
        self.student = make_network(self.plan).to(self.plan.device)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.student.parameters(),
            lr=self.plan.learning_rate,
            weight_decay=self.plan.weight_decay,
            fused=self.plan.device != "mps",
        )
        state, own = None, dict[str, torch.Tensor]()
        if goes_on:
            state, own = load_training(project.models_dir, self.student, self.teacher, self.optimizer)
        if state is None:
            keep_specialist(project, self._say)
        self.budget, self.round = choose_budget(state, options.minutes, options.steps, self._say)
        self.origin = "" if state is None else str(state.get("origin", ""))  # the imported model, in words
        # The framework that this round of "auto" goes on with; None until that is decided.
        self.chosen: str | None = None if state is None or state["finished"] else state.get("chosen")
        self.schedule = Schedule(self.plan, self.budget)
        # With a budget in steps nothing depends on a clock, and another number of threads adds in another order.
        adapts = self.plan.device == "cpu" and not self.budget.in_steps
        self.pace = Pace(self.plan.threads if adapts else 1)
        # After a resumption other patches are drawn than were drawn before.
        self.rng = np.random.default_rng([options.seed, self.round, self.budget.steps])
        self.frameworks = Frameworks(Setting(self.plan, self.rng), own)
        self.working = WorkingSet(project, self.plan)
        augmentation = Augmentation(
            self.plan.patch, self.plan.working_spacing, self.rng, self.plan.mirror, self.plan.device
        )
        self.sampler = Sampler(self.plan, augmentation, self.rng, self.plan.device)
        self.whereabouts = Whereabouts(project)
        self.teaching = Teaching(
            project,
            self.plan,
            self.working,
            self.teacher,
            options.generalist,
            options.seed,
            self.rng,
            self._say,
            should_stop,
        )
        self.teaching.measured = {} if state is None else state.get("measured", {})
        self.teaching.goes_on = self.round > 0
        self.agreement: float | None = None if state is None else state.get("agreement")  # of the proposals before
        self.history = History(project.log_dir / "history.jsonl", fresh=state is None)
        self.proposed_first = state is not None and (bool(state["proposed_first"]) or self.round > 0)
        self.last_log = self.last_checkpoint = self.last_look = time.monotonic()

    def run(self) -> dict[str, Any]:
        annotated = _cases(len(self.working.annotated), "annotated")
        unannotated = _cases(len(self.working.unannotated), "unannotated")
        self._say(f"Learning from {annotated} and {unannotated} on {self.plan.device}.")
        while self.budget.fraction < 1 and not self.should_stop():
            try:
                self._turn()
            except (ProjectError, VolumeError):
                if not self.working.gone:
                    raise
                self._look_for_annotations()  # a person removed a case in the middle of it: go on with the others
        finished = self.budget.fraction >= 1
        proposals = 0
        if finished:
            proposals = self._propose(finished)
        elif not self.schedule.warming_up or self.budget.steps >= MATURE:
            self._save_specialist(finished)  # who stops wants to use what there is
        else:
            self._checkpoint(finished)
        return {
            "finished": finished,
            "round": self.round,
            "steps": self.budget.steps,
            "seconds": round(self.budget.seconds, 1),
            "annotated": len(self.working.annotated),
            "proposals": proposals,
            **self.teaching.summary(),
        }

    def _turn(self) -> None:
        start = time.monotonic()
        self._decide()
        self._step()
        self.teaching.after_step(self.schedule, time.monotonic() - start, self._framework.uses_unlabelled)
        self.budget.seconds += time.monotonic() - start
        self.pace.after_step()
        self._after_step()

    def _step(self) -> None:
        plan, schedule = self.plan, self.schedule
        for group in self.optimizer.param_groups:
            group["lr"] = schedule.learning_rate
        self.student.train()
        annotated = [self.working[name] for name in self.working.annotated]
        framework, alone = self._framework, self._alone
        share = 1 if alone else framework.images_per_pair
        shapes = list(self.teaching.shapes.values())
        labelled = self.sampler.labelled(annotated, max(1, plan.labelled_batch // share), shapes)
        unlabelled = None
        if alone:
            result = framework.supervised(Network(self.student, plan), labelled)
        else:
            names = self.teaching.choose(self.working.unannotated, max(1, plan.unlabelled_batch // share))
            cases = [self.working[name] for name in names]
            unlabelled = self.sampler.unlabelled(cases, self.teaching.pseudo_labels, self.whereabouts.of)
            student, teacher = Network(self.student, plan), Network(self.teacher, plan)
            result = framework.step(student, teacher, labelled, unlabelled, schedule.progress)
        loss = result.supervised + schedule.consistency * result.consistency
        values = {"loss_supervised": float(result.supervised.detach())}
        if result.own is not None:
            loss = loss + result.own
            values["loss_own"] = float(result.own.detach())
        if unlabelled is not None:
            values["loss_consistency"] = float(result.consistency.detach())
            if unlabelled.trust.any() and result.student_probability is not None:
                taught = generalist_loss(
                    result.student_probability[:, 1:],
                    unlabelled.probability,
                    unlabelled.uncertainty,
                    unlabelled.valid,
                    unlabelled.trust,
                    plan.uncertainty_temperature,
                )
                loss = loss + schedule.generalist * taught
                values["loss_generalist"] = float(taught.detach())
        values["loss"] = float(loss.detach())
        if not np.isfinite(values["loss"]):
            raise TrainingError("Training became unstable (the loss is not a number): train again with --fresh.")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimizer.step()
        self.frameworks.update(schedule.learning_rate)
        self.budget.steps += 1
        decay = min(plan.ema_decay, 1 - 1 / (self.budget.steps + 1)) if self.round == 0 else plan.ema_decay
        # The networks have no buffers: their norms keep no statistics.
        get_ema_multi_avg_fn(decay)(list(self.teacher.parameters()), list(self.student.parameters()), None)
        self.history.add(values)

    @property
    def _framework(self) -> Framework:
        return self.frameworks.get(self._framework_name)

    @property
    def _framework_name(self) -> str:
        return resolve_framework(self.options.framework, self.chosen)

    @property
    def _alone(self) -> bool:
        """Whether the next step learns from annotated cases only."""
        wanted = self._framework.uses_unlabelled and bool(self.working.unannotated)
        return self.schedule.warming_up or not wanted

    def _decide(self) -> None:
        """Once in a round of "auto", at half of the budget or earlier: which framework it goes on with.

        With few annotated cases it mixes in unannotated ones as soon as it can guess their masks; with more, when they
        are unlike the annotated ones; and with many steps behind it the teacher's word on them teaches something.
        """
        if self.chosen is not None or self.options.framework != AUTO or not self.working.unannotated:
            return
        steps, fraction = self.budget.steps, self.budget.fraction
        versed = steps >= VERSED and fraction >= _DECIDE_VERSED
        if len(self.working.annotated) <= FEW:
            if self.schedule.warming_up or (fraction < _DECIDE and steps < MATURE):
                return
            self.chosen = "copy-paste" if steps >= MATURE else "supervised"
        elif fraction >= _DECIDE or versed:
            unlike = self._cases_are_unlike()
            if self.should_stop():  # who was stopped while looking, looks again
                return
            self.chosen = "copy-paste" if unlike else "mean-teacher" if versed else "supervised"
            if unlike:
                self._say("Some unannotated cases are unlike the annotated ones.")
        if self._framework.uses_unlabelled:
            self._say(f"Going on with {self.chosen}: learning from unannotated cases, too.")

    def _cases_are_unlike(self) -> bool:
        if self.budget.steps < MATURE:
            return False
        start, names = time.monotonic(), self.working.unannotated
        looked_at = [names[index] for index in self.rng.permutation(len(names))[:LOOKED_AT]]
        predicted = (
            predict_probabilities(self.teacher, self.plan, self.working[name].image)
            for name in looked_at
            if not self.should_stop()
        )

        def enough() -> bool:
            return not self.budget.in_steps and time.monotonic() - start > _DECIDING_SHARE * self.budget.limit

        return cases_are_unlike(predicted, enough)

    def _after_step(self) -> None:
        now = time.monotonic()
        if self._due(now - self.last_log, _LOG_SECONDS, _LOG_STEPS):
            self.last_log = now
            self._log()
        if self._due(now - self.last_look, _LOOK_SECONDS, _LOOK_STEPS):
            self.last_look = now
            self._look_for_annotations()
        if self._due(now - self.last_checkpoint, _CHECKPOINT_SECONDS, _CHECKPOINT_STEPS):
            self.last_checkpoint = now
            self._checkpoint(finished=False)
        if not self.schedule.warming_up and not self.proposed_first:
            self.proposed_first = True
            self._propose(finished=False)
            self.last_checkpoint = time.monotonic()

    def _due(self, seconds: float, every_seconds: float, every_steps: int) -> bool:
        return self.budget.steps % every_steps == 0 if self.budget.in_steps else seconds >= every_seconds

    def _log(self) -> None:
        left = self.budget.seconds_left
        facts = {
            "seconds": round(self.budget.seconds, 1),
            "step": self.budget.steps,
            "round": self.round,
            "phase": "supervised" if self._alone else "semi-supervised",
            "learning_rate": round(self.schedule.learning_rate, 6),
            "annotated": len(self.working.annotated),
            **self.teaching.facts(),
        }
        line = self.history.write(facts)
        self.on_event({"event": "metrics", **line})
        self.on_event(
            {
                "event": "progress",
                "fraction": round(self.budget.fraction, 4),
                "seconds_left": None if left is None else round(left, 1),
                "text": f"step {self.budget.steps}, loss {line.get('loss', 0.0):.3f}",
            }
        )

    def _look_for_annotations(self) -> None:
        before = set(self.working.annotated)
        if not self.working.refresh():
            return
        if not self.working.annotated:
            raise TrainingError(f"The last annotation of {self.project.path} was removed: annotate a case, then train.")
        for name in before | set(self.working.annotated):
            self.sampler.forget(name)
        self.teaching.annotations_changed()
        self._say(f"Annotations have changed: learning from {_cases(len(self.working.annotated), 'annotated')} now.")

    def _save_specialist(self, finished: bool) -> tuple[Specialist, str]:
        """The network as it is now becomes the project's model; the model and its name."""
        labels = range(1, 1 + len(self.plan.segments))
        single = [self.working.is_single(label) for label in labels]
        always = [self.working.is_always_there(label) for label in labels]
        facts: dict[str, Any] = {
            "single_component": single,
            "always_there": always,
            "agreement": self.agreement,
            "round": self.round,
            "steps": self.budget.steps,
            "seconds": round(self.budget.seconds, 1),
            "origin": self.origin,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "annotated": self.working.annotated,
            "unannotated": len(self.working.unannotated),
            "framework": self._framework_name,
            "seed": self.options.seed,
            **self.teaching.summary(),
        }
        # First of all, for a round that counts as finished is not made again, and all that follows may be stopped.
        model = save_specialist(self.project.models_dir, self.teacher, self.plan, facts)
        self._checkpoint(finished)
        return Specialist(self.teacher, self.plan, self.project.segments, single, self.agreement, always), model

    def _propose(self, finished: bool) -> int:
        specialist, model = self._save_specialist(finished)
        names = list(self.working.unannotated)
        opinion = SecondOpinion(self.project, self.working)
        self.agreement = specialist.agreement = opinion.on_average(names, specialist.probabilities, self.should_stop)
        save_fact(self.project.models_dir, "agreement", specialist.agreement)
        written = write_proposals(
            self.project, specialist, model, self.working, opinion, names, self._forward_proposals, self.should_stop
        )
        self._say(f"Proposals for {written} of {len(names)} cases are ready.")
        return written

    def _forward_proposals(self, event: dict[str, Any]) -> None:
        # The progress of training goes on; that of making proposals would make the bar jump back.
        if event["event"] != "progress":
            self.on_event(event)

    def _checkpoint(self, finished: bool) -> None:
        state = {
            "finished": finished,
            "round": self.round,
            "limit": self.budget.limit,
            "in_steps": self.budget.in_steps,
            "steps": self.budget.steps,
            "seconds": self.budget.seconds,
            "proposed_first": self.proposed_first,
            "chosen": self.chosen,
            "origin": self.origin,
            "measured": self.teaching.measured,
            "agreement": self.agreement,
        }
        own = self.frameworks.tensors()
        save_training(self.project.models_dir, self.student, self.teacher, self.optimizer, state, own)

    def _say(self, text: str) -> None:
        self.on_event({"event": "log", "text": text})


def _cases(count: int, kind: str) -> str:
    return f"1 {kind} case" if count == 1 else f"{count} {kind} cases"
