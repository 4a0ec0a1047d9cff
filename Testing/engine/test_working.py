"""Working copies: what is kept of a case while a round learns from it, and what becomes of it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import Study
from semisam.learning import working
from semisam.learning.history import History, read_history
from semisam.learning.starting import choose_plan
from semisam.learning.working import WorkingSet
from semisam.project import Project
from semisam.project.image_version import image_version
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


def kept(project: Project) -> set[str]:
    return {path.name for path in (project.cache_dir / "working").iterdir()}


def test_a_round_removes_the_working_copies_that_no_case_has_any_more(study: Study) -> None:
    project = study.make_project()
    plan = plan_of(project)
    copies = WorkingSet(project, plan)
    for name in project.cases:
        copies[name]
    (project.cache_dir / "working" / ".tmp-00000000-1-2-old.npy").touch()
    os.utime(project.cache_dir / "working" / ".tmp-00000000-1-2-old.npy", (0, 0))
    WorkingSet(project, replace(plan, working_spacing=(2.0, 2.0, 2.0)))["case3"]
    assert len(kept(project)) == 2 * (4 + 2 + 1) + 1  # those that are annotated are read at once
    working.clear_outdated(project, plan)
    assert len(kept(project)) == 2 * 4
    project.remove_case("case3")
    working.clear_outdated(project, plan)
    assert sorted({name.split("-")[0] for name in kept(project)}) == ["case1", "case2", "case4"]
    away = project.case("case4").image
    away.rename(away.with_suffix(".away"))
    working.clear_outdated(project, plan)
    assert len(kept(project)) == 2 * 3, "a drive that is away may come back"


def test_choosing_the_plan_of_a_round_clears_the_cache(study: Study) -> None:
    project = study.make_project()
    WorkingSet(project, replace(plan_of(project), working_spacing=(2.0, 2.0, 2.0)))
    choose_plan(project, detect("cpu"), None, None, False, lambda text: None)
    assert not kept(project)


def test_what_is_rewritten_in_place_is_another_version_of_an_image(tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    (series / "1.dcm").write_bytes(b"slice")
    (tmp_path / "a.mhd").write_text("ObjectType = Image\nElementDataFile = voxels.raw\n")
    (tmp_path / "b.nhdr").write_text("NRRD0005\ndata file: voxels.raw\n")
    (tmp_path / "c.mhd").write_text("ElementDataFile = LIST\nvoxels.raw\n")
    (tmp_path / "voxels.raw").write_bytes(b"voxels")
    images = [series, *(tmp_path / name for name in ("a.mhd", "b.nhdr", "c.mhd"))]
    before = [image_version(image) for image in images]
    assert before == [image_version(image) for image in images]
    for file in (series / "1.dcm", tmp_path / "voxels.raw"):
        os.utime(file, (1, 10_000_000_000))
    assert not set(before) & {image_version(image) for image in images}
    assert image_version(tmp_path / "none") == (tmp_path / "none", 0, 0)
