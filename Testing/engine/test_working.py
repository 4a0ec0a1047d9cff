"""Working copies: what is kept of a case while a round learns from it, and what becomes of it."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from conftest import Study
from semisam.learning.history import History, read_history
from semisam.learning.working import WorkingSet
from semisam.project import Project
from semisam.specialists.fingerprint import take_fingerprint
from semisam.specialists.hardware import detect
from semisam.specialists.plan import Plan, make_plan


def plan_of(project: Project) -> Plan:
    return make_plan(take_fingerprint(project), detect("cpu"), ("head", "tail"))


def test_a_full_disk_costs_the_working_copies_not_the_round(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, image: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    project = study.make_project()
    plan = plan_of(project)
    monkeypatch.setattr(np, "save", full)
    case = WorkingSet(project, plan)["case3"]
    assert case.image.shape == case.geometry.shape
    assert not list((project.cache_dir / "working").iterdir())


def test_a_history_that_cannot_be_written_lacks_a_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    history = History(tmp_path / "history.jsonl", fresh=True)
    with monkeypatch.context() as disk:
        disk.setattr(Path, "open", full)
        history.add({"loss": 1.0})
        assert history.write({"step": 1}) == {"step": 1, "loss": 1.0}
    history.write({"step": 2})
    assert read_history(tmp_path / "history.jsonl") == [{"step": 2}]
