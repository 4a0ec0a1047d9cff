"""Rounds of training on a tiny study: what they may see, and what a stop, a kill or a new annotation does to them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from conftest import Study, ellipsoid, make_study
from semisam.errors import GeneralistError, TrainingError, UsageError
from semisam.files.volume_files import read_image, read_mask, write_image, write_mask
from semisam.learning.history import read_history
from semisam.learning.loop import TrainOptions, train
from semisam.learning.second_opinion import SecondOpinion
from semisam.learning.trust import Trust
from semisam.predict import Specialist, clean_up, expected_dice, propose, segment
from semisam.project import Project, State
from semisam.specialists.fingerprint import take_fingerprint
from semisam.specialists.hardware import detect
from semisam.specialists.plan import make_plan
from semisam.volumes import Volume

STEPS = 24


def small_plan(project: Project, **changes: object) -> None:
    """A network of a few channels, so that a step takes milliseconds."""
    plan = make_plan(take_fingerprint(project), detect("cpu"), tuple(s.name for s in project.segments))
    settings: dict[str, Any] = {
        "channels": (4, 8, 8, 8),
        "patch": (24, 24, 24),
        "threads": 1,
        "refresh_every": 8,
    } | changes
    replace(plan, **settings).save(project.models_dir / "plan.json")


def run(project: Project, stop: Callable[[], bool] = lambda: False, **options: Any) -> tuple[dict[str, Any], list[Any]]:
    # "auto" would learn from annotated cases alone in rounds as short as these.
    defaults = {"steps": STEPS, "framework": "copy-paste", "generalist": "random-walker", "device": "cpu"}
    events: list[Any] = []
    values: dict[str, Any] = defaults | options
    return train(project, TrainOptions(**values), events.append, stop), events


def weights(project: Project) -> str:
    """Hash of the model that predicts."""
    (path,) = project.models_dir.glob("specialist-*.safetensors")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def proposals(project: Project) -> dict[str, bytes]:
    return {name: project.proposal(name).voxels.tobytes() for name, case in project.cases.items() if case.proposal}


def test_a_round_ends_in_a_proposal_for_every_unannotated_case(study: Study) -> None:
    project = study.make_project()
    small_plan(project)
    summary, events = run(project, steps=60)
    project.reload()
    assert summary["finished"] and summary["steps"] == 60
    for name in ("case3", "case4"):
        case = project.cases[name]
        assert case.state == State.PROPOSED
        assert case.confidence is not None and 0 <= case.confidence <= 1
        assert project.proposal(name).geometry.is_close(project.image(name).geometry)
    assert {"progress", "metrics", "proposal-ready", "log"} <= {event["event"] for event in events}
    phases = {line["phase"] for line in read_history(project.log_dir / "history.jsonl")}
    assert phases == {"supervised", "semi-supervised"}


def test_labels_of_unannotated_cases_cannot_influence_training(tmp_path: Path) -> None:
    """With the same seed, permuting, deleting or half-doing them changes nothing, bit for bit."""
    outcomes = []
    for kind in ("as they are", "permuted", "deleted", "in work"):
        study = make_study(tmp_path / kind)
        third, fourth = study.labels / "case3.nii.gz", study.labels / "case4.nii.gz"
        if kind == "permuted":
            reference = sitk.ReadImage(str(third))
            sitk.WriteImage(reference * 0 + 1, str(third))
            fourth.write_bytes(third.read_bytes())
        if kind == "deleted":
            third.unlink()
            fourth.unlink()
        project = study.make_project()
        if kind == "in work":
            geometry = project.image("case3").geometry
            mask = Volume(np.ones(geometry.shape, np.uint8), geometry)
            project.set_annotation("case3", mask, author="tester", source="half done", state=State.IN_WORK)
        small_plan(project)
        run(project, generalist="random-walker,registration", seed=3, steps=16)
        project.reload()
        outcomes.append((weights(project), proposals(project).get("case4")))
    assert len(set(outcomes)) == 1


def test_training_never_writes_an_annotation(study: Study) -> None:
    project = study.make_project()
    small_plan(project)
    before = {name: project.annotation_path(name).read_bytes() for name in project.training_cases()}
    run(project)
    assert {name: project.annotation_path(name).read_bytes() for name in project.training_cases()} == before


def test_a_stopped_round_goes_on_where_it_was(study: Study) -> None:
    project = study.make_project()
    small_plan(project)
    calls = iter(range(1000))
    summary, _ = run(project, stop=lambda: next(calls) >= 10)
    assert not summary["finished"] and 0 < summary["steps"] < STEPS
    # What it has learned so far can be used.
    assert json.loads((project.models_dir / "specialist.json").read_text())["steps"] == summary["steps"]
    resumed, events = run(project)
    assert resumed["finished"] and resumed["steps"] == STEPS
    assert any("Going on with round 1" in event.get("text", "") for event in events)
    assert [line["step"] for line in read_history(project.log_dir / "history.jsonl")] == sorted(
        line["step"] for line in read_history(project.log_dir / "history.jsonl")
    )


def test_what_comes_after_the_last_step_may_be_killed_without_losing_the_round(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = study.make_project()
    small_plan(project)
    calls: list[int] = []

    def killed(*_: object) -> None:
        calls.append(len(calls))
        if len(calls) == 2:  # the first proposals follow the warm-up
            raise KeyboardInterrupt

    monkeypatch.setattr(SecondOpinion, "on_average", killed)
    with pytest.raises(KeyboardInterrupt):
        run(project)
    for name in ("training", "specialist"):
        assert json.loads((project.models_dir / f"{name}.json").read_text())["steps"] == STEPS
    Specialist.load(project, "cpu")


def test_trust_is_measured_once_for_each_annotation_whatever_stops_and_begins(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later on the teacher knows the annotated cases by heart, and no generalist could show what it is good for."""
    project = study.make_project()
    small_plan(project)
    record, measured = Trust.record, list[str]()

    def noting(trust: Trust, name: str, case: str, *values: Any) -> None:
        measured.append(case)
        record(trust, name, case, *values)

    monkeypatch.setattr(Trust, "record", noting)

    def trained(**options: Any) -> tuple[dict[str, Any], set[str]]:
        measured.clear()
        summary, _ = run(project, framework="mean-teacher", **options)
        return summary["trust"], set(measured)

    first, cases = trained(stop=_after(16))
    assert cases == {"case1", "case2"} and first["random-walker"]
    assert trained() == (first, set())  # goes on
    assert trained() == (first, set())  # the next round
    mask = project.annotation("case2")
    mask.voxels[mask.voxels == 2] = 1
    project.set_annotation("case2", mask, author="tester", source="corrected")
    assert trained()[1] == {"case2"}
    state = json.loads((project.models_dir / "training.json").read_text())
    del state["measured"]  # as an earlier version wrote it
    (project.models_dir / "training.json").write_text(json.dumps(state))
    assert trained()[1] == {"case1", "case2"}


def _after(count: int) -> Callable[[], bool]:
    """Stops when it was asked so many times."""
    calls = iter(range(10_000))
    return lambda: next(calls) >= count


def test_after_a_finished_round_the_next_begins_from_its_result_and_fresh_begins_anew(study: Study) -> None:
    project = study.make_project()
    small_plan(project)
    assert run(project, steps=4)[0]["round"] == 0
    assert run(project, steps=4)[0]["round"] == 1
    assert run(project, steps=4, fresh=True)[0]["round"] == 0


def test_a_project_whose_models_somebody_removed_begins_anew(study: Study) -> None:
    project = study.make_project(annotated=("case1",))
    shutil.rmtree(project.models_dir)
    summary, _ = run(project, steps=2, generalist="none")
    assert summary["finished"] and project.case("case2").proposal is not None


def test_an_annotation_that_arrives_while_training_runs_is_learned_from(study: Study) -> None:
    project = study.make_project()
    small_plan(project)
    other = Project.open(study.project)
    calls = iter(range(1000))

    def annotate_at_step_five() -> bool:
        if next(calls) == 5:
            mask = read_mask(study.labels / "case3.nii.gz", other.segments, other.image("case3").geometry)
            other.set_annotation("case3", mask, author="tester", source="drawn")
        return False

    summary, events = run(project, stop=annotate_at_step_five)
    assert summary["annotated"] == 3
    assert any("Annotations have changed" in event.get("text", "") for event in events)
    project.reload()
    assert project.cases["case3"].state == State.ANNOTATED
    assert project.cases["case3"].proposal is None or project.cases["case3"].proposal.provenance["model"]


@pytest.mark.parametrize("moment", ["while it learns", "while proposals are made"])
def test_a_case_may_be_removed_while_training_runs(study: Study, moment: str) -> None:
    project = study.make_project()
    small_plan(project)
    other, calls = Project.open(study.project), iter(range(1000))

    def remove() -> None:
        other.reload()
        if "case4" in other.cases:
            other.remove_case("case4")

    def on_event(event: dict[str, Any]) -> None:
        if moment == "while proposals are made" and event["event"] == "proposal-ready":
            remove()

    def should_stop() -> bool:
        if moment == "while it learns" and next(calls) == 2:
            remove()
        return False

    options = TrainOptions(steps=STEPS, framework="mean-teacher", generalist="random-walker", device="cpu")
    summary = train(project, options, on_event, should_stop)
    assert summary["finished"] and summary["steps"] == STEPS and summary["proposals"] == 1
    assert Project.open(study.project).cases.keys() == {"case1", "case2", "case3"}


def test_training_needs_an_annotated_case_and_a_sensible_budget(study: Study) -> None:
    project = study.make_project()
    with pytest.raises(UsageError, match="not both"):
        train(project, TrainOptions(minutes=1, steps=1), print, lambda: False)
    with pytest.raises(UsageError, match="larger than 0"):
        train(project, TrainOptions(steps=-1), print, lambda: False)
    for name in project.training_cases():
        project.remove_annotation(name)
    with pytest.raises(TrainingError, match="annotate at least one"):
        train(project, TrainOptions(steps=1), print, lambda: False)


@pytest.mark.parametrize("name", ["training", "specialist"])
def test_a_damaged_checkpoint_is_told_in_a_sentence(study: Study, name: str) -> None:
    project = study.make_project()
    small_plan(project)
    run(project, steps=4)
    for path in project.models_dir.glob(f"{name}-*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match="--fresh"):
        run(project, steps=4) if name == "training" else Specialist.load(project, "cpu")
    assert run(project, steps=4, fresh=True)[0]["finished"]


def test_the_generalist_moves_the_student(study: Study, tmp_path: Path) -> None:
    """The same seed with and without generalist supervision gives different networks: its loss has a gradient."""
    outcomes = []
    for generalist, weight in (("random-walker", 1.0), ("random-walker", 0.0), ("none", 1.0)):
        project = make_study(tmp_path / f"{generalist}{weight}").make_project()
        small_plan(project, generalist_weight=weight)
        summary, _ = run(project, generalist=generalist, steps=60)
        outcomes.append(weights(project))
        if weight:
            assert (summary["trust"] != {}) == (generalist != "none")
    assert outcomes[0] != outcomes[1]


@pytest.mark.parametrize(
    ("framework", "measured"),
    [("supervised", ["registration"]), ("mean-teacher", ["random-walker", "registration"])],
)
def test_only_generalists_that_are_used_are_measured(study: Study, framework: str, measured: list[str]) -> None:
    project = study.make_project()
    small_plan(project)
    summary, events = run(project, framework=framework, generalist="random-walker,registration")
    assert sorted(summary["trust"]) == measured
    said = [event["text"] for event in events if event["event"] == "log" and "Not used" in event["text"]]
    assert len(said) == (framework == "supervised") and all(text.endswith(": random-walker.") for text in said)


def test_a_generalist_without_weights_is_told_before_training_begins(study: Study) -> None:
    project = study.make_project()
    with pytest.raises(GeneralistError, match="not on this computer"):
        run(project, generalist="sam-med3d")
    assert not (project.models_dir / "plan.json").exists()


def test_new_volumes_are_segmented_on_their_own_grid_whatever_its_orientation(study: Study, tmp_path: Path) -> None:
    project = study.make_project()
    small_plan(project)
    run(project)
    image = read_image(study.images / "case1.nii.gz")
    oblique = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, -1.0)
    turned = Volume(image.voxels, replace(image.geometry, direction=oblique, origin=(10.0, -20.0, 30.0)))
    paths = [tmp_path / "turned.nrrd", tmp_path / "plain.nii.gz"]
    write_image(paths[0], turned)
    write_image(paths[1], image)
    results, problems = segment(project, paths, tmp_path / "out", lambda event: None, "cpu")
    assert not problems
    for result, original in zip(results, (turned, image), strict=True):
        mask = read_mask(Path(result["mask"]), project.segments)
        assert mask.geometry.is_close(original.geometry)
    assert [Path(result["mask"]).name for result in results] == ["turned.seg.nrrd", "plain.nii.gz"]


def test_proposing_without_a_model_is_told(study: Study) -> None:
    with pytest.raises(TrainingError, match="semisam train"):
        propose(study.make_project(), lambda event: None, lambda: False, "cpu")


def test_clean_up_keeps_the_largest_piece_of_segments_that_are_in_one_piece() -> None:
    labels = ellipsoid((20, 24, 20))
    clean = labels.copy()
    labels[0, 0, 0] = labels[0, 0, 19] = 1
    labels[19, 23, 19] = 2
    assert np.array_equal(clean_up(labels, [True, True]), clean)
    assert (clean_up(labels, [False, True]) == 1).sum() == (clean == 1).sum() + 2


def test_expected_dice_is_one_for_certain_and_low_for_vague_predictions() -> None:
    labels = ellipsoid((20, 24, 20))
    certain = np.stack([labels == value for value in range(3)]).astype(np.float32)
    assert expected_dice(certain) > 0.999
    assert expected_dice(0.5 * certain + 0.5 / 3) < 0.6


def test_a_segment_that_is_absent_counts_as_far_as_it_is_likely() -> None:
    labels = ellipsoid((20, 24, 20))
    organ = np.stack([labels != 1, labels == 1, np.zeros(labels.shape)]).astype(np.float32)

    def doubted(found: np.ndarray, tumor: float) -> np.ndarray:
        spot = found.copy()
        spot[:, 2, 2, 2] = 1 - tumor, 0, tumor
        return spot

    assert expected_dice(organ) > 0.999
    assert expected_dice(doubted(organ, 0.02)) > 0.97
    assert expected_dice(doubted(organ, 0.45)) < 0.7
    assert expected_dice(organ, [True, True]) < 0.51  # every annotation shows a tumor: who finds none has missed it
    nothing = np.zeros_like(organ)
    nothing[0] = 1
    assert expected_dice(nothing) == 1 and expected_dice(nothing, [True, False]) == 0
    assert expected_dice(doubted(nothing, 0.45)) == pytest.approx(0.55)


def test_a_history_cut_short_by_a_kill_is_readable_and_goes_on(study: Study) -> None:
    project = study.make_project()
    small_plan(project)
    run(project, steps=10)
    path = project.log_dir / "history.jsonl"
    whole = len(read_history(path))
    with path.open("ab") as file:
        file.write(b'{"seconds": 1.0, "st')
    assert len(read_history(path)) == whole
    run(project, steps=10)
    assert len(read_history(path)) > whole
    assert all(json.loads(json.dumps(line)) for line in read_history(path))


def test_write_mask_and_proposals_agree_on_segment_values(tmp_path: Path) -> None:
    """Segment values need not be 1, 2, 3."""
    study = make_study(tmp_path / "values")
    from semisam.segments import Segment

    segments = (Segment(7, "head", (1, 2, 3)), Segment(3, "tail", (4, 5, 6)))
    project = Project.create(tmp_path / "project", segments)
    for name in ("case1", "case2"):
        project.add_case(name, study.images / f"{name}.nii.gz")
    image = project.image("case1")
    values = np.array([0, 7, 3], np.uint8)[ellipsoid(image.shape, 0.05)]
    write_mask(tmp_path / "mask.nii.gz", Volume(values, image.geometry), segments)
    project.set_annotation("case1", read_mask(tmp_path / "mask.nii.gz", segments), author="tester", source="file")
    small_plan(project)
    run(project, steps=150, generalist="none")
    project.reload()
    proposed = project.proposal("case2").voxels
    truth = np.array([0, 7, 3], np.uint8)[ellipsoid(project.image("case2").shape, 0.1)]
    assert set(np.unique(proposed)) <= {0, 3, 7}
    assert 2 * ((proposed == 7) & (truth == 7)).sum() > 0.5 * ((proposed == 7).sum() + (truth == 7).sum())
