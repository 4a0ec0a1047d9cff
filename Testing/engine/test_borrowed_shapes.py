"""Annotated cases in the shape of other cases, and what registration says of the specialist's masks."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conftest import Study
from semisam.generalists.base import Context
from semisam.generalists.cache import EmbeddingCache
from semisam.generalists.registration.generalist import Registration
from semisam.learning.augmentation import Augmentation
from semisam.learning.sampling import Sampler, Shape
from semisam.learning.second_opinion import SecondOpinion, examples
from semisam.learning.teaching import Teaching
from semisam.learning.working import WorkingCase, WorkingSet
from semisam.project import Project
from semisam.specialists.fingerprint import take_fingerprint
from semisam.specialists.hardware import detect
from semisam.specialists.plan import Plan, make_plan


@pytest.fixture
def opened(study: Study) -> tuple[Project, Plan, WorkingSet]:
    """Case 1 is annotated."""
    project = study.make_project(annotated=("case1",))
    plan = make_plan(take_fingerprint(project), detect("cpu"), tuple(segment.name for segment in project.segments))
    return project, plan, WorkingSet(project, plan)


def truth(study: Study, project: Project, working: WorkingSet, name: str) -> np.ndarray:
    """(segments, k, j, i) float32 of the true mask on the working grid, which is the original one here."""
    from semisam.files.volume_files import read_mask

    mask = read_mask(study.labels / f"{name}.nii.gz", project.segments, project.image(name).geometry).voxels
    assert mask.shape == working[name].image.shape
    return np.stack([mask == segment.value for segment in project.segments]).astype(np.float32)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_registration_says_where_each_voxel_lies_in_the_example(
    study: Study, opened: tuple[Project, Plan, WorkingSet]
) -> None:
    project, plan, working = opened
    registration = Registration(Context(examples(project, working)))
    embedding = registration.encode(working["case3"].volume)
    found = registration.correspondence(embedding)
    assert found is not None
    name, millimetres = found
    assert name == "case1"
    labels = working["case1"].labels
    assert labels is not None
    size = np.array(labels.shape).reshape(3, 1, 1, 1)
    index = np.rint(millimetres / np.reshape(plan.working_spacing, (3, 1, 1, 1)) + (size - 1) / 2).astype(int)
    carried = labels[tuple(np.clip(index, 0, size - 1))]
    for position, mask in enumerate(truth(study, project, working, "case3")):
        assert dice(carried == position + 1, mask > 0) > 0.8
    # An example is no example for itself.
    assert registration.correspondence(registration.encode(working["case1"].volume)) is None


def test_a_borrowed_shape_moves_image_and_labels_together(opened: tuple[Project, Plan, WorkingSet]) -> None:
    _, plan, working = opened
    case = working["case1"]
    assert case.labels is not None
    rng = np.random.default_rng(0)
    augmentation = Augmentation(plan.patch, plan.working_spacing, rng)
    sampler = Sampler(plan, augmentation, rng, "cpu")
    # A shape that is three voxels further along i: what lay at i is found at i + 3 there.
    places = np.stack(np.meshgrid(*(np.arange(size) for size in case.image.shape), indexing="ij")).astype(np.float32)
    places[2] += 3
    inside = np.argwhere(np.roll(case.labels, -3, axis=2) > 0)
    shape = Shape("case1", torch.from_numpy(places), inside)
    middle = (np.array(case.image.shape) - 1) / 2
    augmentation.spatial = lambda centre, augment=True: Augmentation.spatial(  # type: ignore[method-assign]
        augmentation, middle, augment=False
    )
    borrowed = next(found for _ in range(50) if (found := sampler._borrowed(case, [shape], 1)) is not None)
    plain = augmentation.spatial(np.zeros(3))
    volume = torch.from_numpy(case.labels.astype(np.float32))[None]
    moved, still = (augmentation.warp(volume, where, border=True)[0] for where in (borrowed, plain))
    assert torch.allclose(moved[:, :, :-3], still[:, :, 3:], atol=1e-3)


def test_the_more_cases_are_annotated_the_fewer_shapes_are_borrowed(opened: tuple[Project, Plan, WorkingSet]) -> None:
    _, plan, working = opened
    case = working["case1"]
    places = np.stack(np.meshgrid(*(np.arange(size) for size in case.image.shape), indexing="ij")).astype(np.float32)
    shape = Shape("case1", torch.from_numpy(places), np.array([[5, 5, 5]]))

    def share(annotated: int) -> float:
        rng = np.random.default_rng(0)
        sampler = Sampler(plan, Augmentation(plan.patch, plan.working_spacing, rng), rng, "cpu")
        return sum(sampler._borrowed(case, [shape], annotated) is not None for _ in range(200)) / 200

    assert share(1) == pytest.approx(0.5, abs=0.1)
    assert share(5) == pytest.approx(0.1, abs=0.06)
    rng = np.random.default_rng(0)
    sampler = Sampler(plan, Augmentation(plan.patch, plan.working_spacing, rng), rng, "cpu")
    assert all(sampler._borrowed(case, [], 1) is None for _ in range(20))


def test_the_second_opinion_is_low_for_a_mask_in_the_wrong_place(
    study: Study, opened: tuple[Project, Plan, WorkingSet]
) -> None:
    project, _, working = opened
    right = truth(study, project, working, "case3")
    right = np.concatenate([1 - right.sum(0, keepdims=True), right])
    wrong = np.roll(right, 5, axis=2)
    opinion = SecondOpinion(project, working)
    # Nothing is registered yet, and asking registers nothing.
    assert not opinion.has("case3")
    assert opinion(working["case3"], right) is None
    cache = EmbeddingCache(project.cache_dir / "embeddings")
    cache.get(Registration(Context(examples(project, working))), working["case3"].volume)
    assert opinion.has("case3")
    good, bad = opinion(working["case3"], right), opinion(working["case3"], wrong)
    assert good is not None and bad is not None and good > 0.8 > 0.65 > bad
    other = np.zeros((3, *working["case4"].image.shape), np.float32)
    assert opinion(working["case4"], other) is None
    assert opinion.on_average(["case4", "case3"], lambda image: wrong) == pytest.approx(bad)
    assert opinion.on_average(["case4"], lambda image: other) is None
    assert opinion.on_average(["case3"], lambda image: pytest.fail("it was stopped"), lambda: True) is None


def test_what_neither_of_two_opinions_finds_is_no_disagreement(
    opened: tuple[Project, Plan, WorkingSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _, working = opened
    case = working["case3"]
    opinion = SecondOpinion(project, working)
    EmbeddingCache(project.cache_dir / "embeddings").get(Registration(Context(examples(project, working))), case.volume)
    masks = np.zeros((2, *case.image.shape), np.float32)
    monkeypatch.setattr(Registration, "predict", lambda *arguments: masks)
    assert opinion(case, np.concatenate([1 - masks.sum(0, keepdims=True), masks])) == 1
    masks[0, 5:9, 5:9, 5:9] = 1
    assert opinion(case, np.concatenate([1 - masks.sum(0, keepdims=True), masks])) == 1
    more = masks.copy()
    more[1, 12:15, 5:9, 5:9] = 1
    assert opinion(case, np.concatenate([1 - more.sum(0, keepdims=True), more])) == 0.5


def test_cases_are_ranked_by_opinions_of_each_or_of_none(study: Study) -> None:
    from semisam.learning.loop import TrainOptions, train
    from semisam.predict import Specialist, confidence_of, expected_dice, propose

    project = study.make_project(annotated=("case1", "case2"))
    train(project, TrainOptions(steps=40, generalist="none"), lambda event: None, lambda: False)
    specialist, _ = Specialist.load(project)
    assert specialist.agreement is None
    working = WorkingSet(project, specialist.plan)
    expected = {name: expected_dice(specialist.probabilities(working[name].image)) for name in working.unannotated}

    def confidences() -> dict[str, float]:
        propose(project, lambda event: None, lambda: False)
        return {name: project.case(name).confidence for name in working.unannotated}

    assert confidences() == pytest.approx(expected)
    registration = Registration(Context(examples(project, working)))
    cache = EmbeddingCache(project.cache_dir / "embeddings")
    cache.get(registration, working["case3"].volume)
    assert confidences() == pytest.approx(expected)  # the other one has no opinion
    cache.get(registration, working["case4"].volume)
    opinion = SecondOpinion(project, working)
    agreed = {name: opinion(working[name], specialist.probabilities(working[name].image)) for name in expected}
    assert confidences() == pytest.approx({name: confidence_of(expected[name], agreed[name]) for name in expected})

    train(project, TrainOptions(steps=10, generalist="none"), lambda event: None, lambda: False)
    specialist, _ = Specialist.load(project)
    assert specialist.agreement is not None  # new volumes are judged by it


def test_training_prepares_second_opinions_and_borrows_shapes(study: Study) -> None:
    from semisam.learning.loop import TrainOptions, train

    project = study.make_project(annotated=("case1",))
    train(project, TrainOptions(steps=40, generalist="registration"), lambda event: None, lambda: False)
    embeddings = list((project.cache_dir / "embeddings").glob("registration-*"))
    assert len(embeddings) >= 2
    confidences = [project.cases[name].confidence for name in ("case2", "case3", "case4")]
    assert all(value is not None and 0 <= value < 1 for value in confidences)


@pytest.mark.parametrize(("memory_mb", "kept"), [(1000, 3), (0, 1)])
def test_shapes_fill_only_a_part_of_the_memory(
    study: Study, opened: tuple[Project, Plan, WorkingSet], memory_mb: int, kept: int
) -> None:
    project, plan, working = opened
    plan, rng = replace(plan, memory_mb=memory_mb), np.random.default_rng(0)
    teaching = Teaching(
        project, plan, working, torch.nn.Identity(), "registration", 0, rng, lambda text: None, lambda: False
    )
    registered: list[str] = []

    def register(case: WorkingCase, annotated: dict[str, WorkingCase]) -> Shape:
        registered.append(case.name)
        return Shape("case1", torch.zeros((3, *case.image.shape)), np.zeros((1, 3), int))

    teaching._supervision = SimpleNamespace(encoding_seconds=0.0, register=register)  # type: ignore[assignment]
    for _ in working.unannotated:
        teaching._refresh_next(ask=False)
    assert list(teaching.shapes) == registered[-kept:]
