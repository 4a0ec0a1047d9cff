"""When a round looks at its growing teacher, and what it keeps of it to measure the trust in generalists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from conftest import Study
from frameworks_kit import tiny_plan
from semisam.files.volume_files import read_mask, write_mask
from semisam.learning import teaching
from semisam.learning.sampling import PseudoLabel
from semisam.learning.schedule import Budget, Schedule
from semisam.learning.teaching import Teaching
from semisam.learning.working import WorkingSet
from semisam.volumes import Volume


class Watched:
    """The teaching of a round whose teacher predicts what the test says."""

    def __init__(self, study: Study, monkeypatch: pytest.MonkeyPatch, generalist: str = "random-walker") -> None:
        self.project = study.make_project()
        plan = tiny_plan(working_spacing=(1.2, 1.0, 1.0))
        self.working = WorkingSet(self.project, plan)
        self.said: list[str] = []
        self.prediction = np.zeros(0)
        rng = np.random.default_rng(0)
        monkeypatch.setattr(teaching, "predict_probabilities", self._predict)
        teacher = torch.nn.Identity()
        self.teaching = Teaching(
            self.project, plan, self.working, teacher, generalist, 0, rng, self.said.append, lambda: False
        )

    def _predict(self, network: Any, plan: Any, image: np.ndarray) -> np.ndarray:
        return self.prediction


def mediocre(labels: np.ndarray) -> np.ndarray:
    """(3, k, j, i) of a teacher that sees all two voxels beside: a Dice of about 0.8."""
    return np.stack([np.roll(labels, 2, axis=2) == value for value in range(3)]).astype(np.float32)


def test_a_case_without_one_of_the_segments_shows_the_growing_teacher_like_any_other(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study.labels / "case1.nii.gz"
    mask = read_mask(path, study.segments)
    write_mask(path, Volume(np.where(mask.voxels == 2, 0, mask.voxels), mask.geometry), study.segments)
    watched = Watched(study, monkeypatch)
    labels = watched.working["case1"].labels
    assert labels is not None and set(np.unique(labels)) == {0, 1}
    watched.prediction = mediocre(labels)
    watched.working.complete = ["case1"]
    watched.teaching._watch_teacher()
    assert list(watched.teaching._immature) == ["case1"]


def test_the_first_look_is_at_a_teacher_that_has_learned_something(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(study, monkeypatch)
    looks: list[float] = []
    monkeypatch.setattr(watched.teaching, "_watch_teacher", lambda: looks.append(budget.seconds))
    budget = Budget(limit=100.0, in_steps=False)
    schedule = Schedule(tiny_plan(warm_up=0.2), budget)
    for _ in range(19):  # the seconds of a step are known to the budget only after it
        watched.teaching.after_step(schedule, 1.0, ask=True)
        budget.seconds += 1.0
    assert looks[0] > 0 and len(looks) > 15


@pytest.mark.parametrize(
    ("steps_a_second", "ask", "goes_on", "asked_from"),
    [(10, True, False, 30), (2, True, False, 50), (100, True, False, 20), (2, False, False, 20), (2, True, True, 20)],
)
def test_generalists_are_asked_once_the_teacher_is_mature_or_at_half_of_the_time(
    study: Study, monkeypatch: pytest.MonkeyPatch, steps_a_second: int, ask: bool, goes_on: bool, asked_from: float
) -> None:
    """What they made of a teacher of a hundred steps halved the Dice of short rounds (plug_and_play.md)."""
    watched = Watched(study, monkeypatch)
    started: list[float] = []
    looks: list[float] = []
    monkeypatch.setattr(watched.teaching, "_watch_teacher", lambda: looks.append(budget.seconds))
    monkeypatch.setattr(watched.teaching, "_refresh_next", lambda ask: None)

    def start(*_: Any) -> str:
        started.append(budget.seconds)
        return "generalists"

    monkeypatch.setattr(watched.teaching, "_start", start)
    watched.teaching.goes_on = goes_on
    budget = Budget(limit=100.0, in_steps=False)
    schedule = Schedule(tiny_plan(warm_up=0.2), budget)
    for _ in range(99 * steps_a_second):
        budget.steps += 1
        watched.teaching.after_step(schedule, 1 / steps_a_second, ask)
        budget.seconds += 1 / steps_a_second
    assert started == pytest.approx([asked_from], abs=1)
    assert looks[-1] == pytest.approx(asked_from, abs=2), "until then the growing teacher is looked at"


def test_what_is_kept_of_the_growing_teacher_takes_half_of_its_memory(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(study, monkeypatch)
    labels = watched.working["case1"].labels
    assert labels is not None
    watched.prediction = 0.9 * mediocre(labels)
    watched.working.complete = ["case1"]
    watched.teaching._watch_teacher()
    ((_, kept),) = watched.teaching._immature.values()
    assert kept.nbytes == watched.prediction.nbytes / 2
    measured: list[np.ndarray] = []

    def measure(supervision: Any, cases: Any, prediction: Any, *others: Any) -> None:
        measured.extend(prediction(case) for case in cases)

    monkeypatch.setattr(teaching.GeneralistSupervision, "measure_trust", measure)
    watched.teaching._start(Budget(limit=100.0, in_steps=False), ask=True)
    assert measured[0].dtype == np.float32
    np.testing.assert_allclose(measured[0], watched.prediction, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_second_patch_is_of_a_case_with_a_pseudo_label_and_no_case_is_left_out(
    study: Study, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    teaching = Watched(study, monkeypatch).teaching
    names = ["a", "b", "c", "d"]
    assert set(teaching.choose(names, 100)) == set(names), "without any, all are alike"
    teaching.pseudo_labels["b"] = PseudoLabel.nothing((2, 4, 4, 4))
    chosen = [name for _ in range(300) for name in teaching.choose(names, count)]
    counts = np.array([chosen.count(name) for name in names]) / len(chosen)
    # Half of all, and a fourth of the other half.
    np.testing.assert_allclose(counts, [0.125, 0.625, 0.125, 0.125], atol=0.06)
