"""Cases that the specialist is not prepared for are noticed, and a round of "auto" then learns from them, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import make_study
from semisam.learning import loop
from semisam.learning.history import read_history
from semisam.learning.loop import TrainOptions, train
from semisam.learning.unlikeness import LOOKED_AT, cases_are_unlike
from semisam.project import Project
from test_training import small_plan


def prediction(sure: float) -> np.ndarray:
    """(2, k, j, i) of a ball of which the specialist expects about this Dice."""
    mask = sum((axis - 8) ** 2 for axis in np.ogrid[:16, :16, :16]) < 25
    inside = np.where(mask, sure, 0.0)
    return np.stack([1 - inside, inside])


def test_equally_sure_cases_are_alike_however_unsure() -> None:
    for sure in (0.6, 0.95):
        assert not cases_are_unlike(prediction(sure + 0.01 * (number % 3)) for number in range(8))


def test_cases_of_which_some_are_a_riddle_are_unlike() -> None:
    assert cases_are_unlike(prediction(0.55 if number % 3 == 0 else 0.95) for number in range(8))


def test_another_field_of_view_makes_no_case_unlike() -> None:
    def organs(seen: bool) -> np.ndarray:
        organ = prediction(0.9)
        other = organ[1:] if seen else np.full_like(organ[1:], 1e-4)
        other = np.roll(other, 3, axis=1) * (organ[1:] == 0)
        return np.concatenate([1 - organ[1:] - other, organ[1:], other])

    assert not cases_are_unlike(organs(seen=number % 3 > 0) for number in range(8))


def test_of_a_few_cases_nothing_is_concluded() -> None:
    assert not cases_are_unlike([prediction(0.55), prediction(0.95)] * 2)


def test_looking_ends_when_its_time_is_used_up_but_not_before_there_is_something_to_say() -> None:
    made: list[int] = []

    def predictions() -> Any:
        for number in range(LOOKED_AT):
            made.append(number)
            yield prediction(0.95)

    cases_are_unlike(predictions(), lambda: True)
    assert len(made) == 5


@pytest.mark.parametrize(
    ("unlike", "versed", "framework", "begins"),
    [
        (False, 1000, "supervised", 48),
        (True, 1000, "copy-paste", 24),
        (False, 4, "mean-teacher", 17),
        (True, 4, "copy-paste", 17),
        (False, 20, "mean-teacher", 20),
    ],
)
def test_a_round_decides_once_and_keeps_to_it_when_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unlike: bool, versed: int, framework: str, begins: int
) -> None:
    asked: list[int] = []

    def scripted(probabilities: Any, enough: Any) -> bool:
        asked.append(len(list(probabilities)))
        return unlike

    monkeypatch.setattr(loop, "cases_are_unlike", scripted)
    monkeypatch.setattr(loop, "MATURE", 1)
    monkeypatch.setattr(loop, "VERSED", versed)
    project = make_study(tmp_path / "study", cases=6).make_project(("case1", "case2", "case3"))
    small_plan(project)
    stopping = [False] * 36 + [True] * 2
    first = _train(project, lambda: stopping.pop(0) if stopping else True)
    assert not first["finished"] and 24 < first["steps"] < 48
    summary = _train(project, lambda: False)
    assert summary["finished"] and len(asked) == 1 and asked[0] > 0
    facts = json.loads((project.models_dir / "specialist.json").read_text())
    assert facts["framework"] == framework
    history = read_history(project.log_dir / "history.jsonl")
    mixed = {line["step"] for line in history if "loss_consistency" in line}
    assert mixed == {line["step"] for line in history if line["step"] > begins}


def test_who_was_stopped_while_looking_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def scripted(probabilities: Any, enough: Any) -> bool:
        next(probabilities)
        looked.append(1)
        looked.append(1 + len(list(probabilities)))
        return False

    monkeypatch.setattr(loop, "cases_are_unlike", scripted)
    monkeypatch.setattr(loop, "MATURE", 1)
    project = make_study(tmp_path / "study", cases=6).make_project(("case1", "case2", "case3"))
    small_plan(project)
    assert not _train(project, lambda: bool(looked))["finished"]
    assert looked == [1, 1] and json.loads((project.models_dir / "training.json").read_text())["chosen"] is None
    assert _train(project, lambda: False)["finished"]
    assert looked[2:] == [1, 3]


@pytest.mark.parametrize(("mature", "begins"), [(16, 16), (1000, 48)])
def test_with_few_annotated_cases_unannotated_ones_come_in_with_a_mature_teacher_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mature: int, begins: int
) -> None:
    monkeypatch.setattr(loop, "MATURE", mature)
    monkeypatch.setattr(loop, "cases_are_unlike", lambda probabilities, enough: pytest.fail("nothing to look at"))
    project = make_study(tmp_path / "study").make_project(("case1", "case2"))
    small_plan(project)
    assert _train(project, lambda: False)["finished"]
    facts = json.loads((project.models_dir / "specialist.json").read_text())
    assert facts["framework"] == ("copy-paste" if begins < 48 else "supervised")
    history = read_history(project.log_dir / "history.jsonl")
    # A line tells of the ten steps before it; the warm-up ends after ten.
    assert [line["step"] for line in history if "loss_consistency" in line] == [s for s in (20, 30, 40) if s > begins]


def _train(project: Project, stop: Any) -> dict[str, Any]:
    return train(project, TrainOptions(steps=48, generalist="none", device="cpu"), lambda event: None, stop)
