"""Trust, fusion and uncertainty: a bad generalist is switched off, a good one is heard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest

from conftest import ellipsoid
from semisam.generalists.base import Embedding
from semisam.generalists.cache import EmbeddingCache
from semisam.learning.measured import notes_of, recall
from semisam.learning.supervision import GeneralistSupervision
from semisam.learning.trust import Trust
from semisam.learning.working import WorkingCase
from semisam.prompts import Prompts
from semisam.specialists.plan import Plan
from semisam.volumes import Geometry, Volume

SHAPE = (20, 24, 20)
LABELS = ellipsoid(SHAPE)


def make_plan(**changes: object) -> Plan:
    values = {
        "segments": ("head", "tail"), "modality": "MR or other", "working_spacing": (1.0, 1.0, 1.0),
        "patch": (16, 24, 16), "channels": (4, 8), "strides": ((2, 2, 2),),
        "intensity": {}, "device": "cpu", "bfloat16": False, "threads": 1,
        "memory_mb": 1000,
    }  # fmt: skip
    return Plan(**(values | changes))  # type: ignore[arg-type]


def make_case(labels: np.ndarray | None) -> WorkingCase:
    rng = np.random.default_rng(0)
    image = (LABELS * 2 + rng.normal(0, 0.3, SHAPE)).astype(np.float16)
    geometry = Geometry.simple(SHAPE)
    return WorkingCase("case", image, geometry, geometry, labels)


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.stack([labels == value for value in range(3)]).astype(np.float32)


def mediocre() -> np.ndarray:
    """A prediction that is off by two voxels along j, Dice about 0.8."""
    return one_hot(np.roll(LABELS, 2, axis=1)) * 0.9 + 0.03


class Scripted:
    """A generalist that answers with given maps: the union for segment 0, else that of the segment."""

    def __init__(self, name: str, maps: dict[int, np.ndarray] | None, seed: int = 0) -> None:
        self.name = name
        self.fingerprint = name
        self._maps = maps
        self._rng = np.random.default_rng(seed)

    def encode(self, volume: Volume) -> Embedding:
        return Embedding({"shape": np.array(volume.shape)})

    def predict(self, embedding: Embedding, prompts: Sequence[Prompts]) -> np.ndarray:
        if self._maps is None:
            return self._rng.random((len(prompts), *embedding.arrays["shape"])).astype(np.float32)
        return np.stack([self._maps[prompt.segment] for prompt in prompts]).astype(np.float32)


def oracle() -> Scripted:
    return Scripted("oracle", {0: LABELS > 0, 1: LABELS == 1, 2: LABELS == 2})


def noise() -> Scripted:
    return Scripted("noise", None)


def supervise(tmp_path: Path, *generalists: Scripted) -> GeneralistSupervision:
    return GeneralistSupervision(generalists, EmbeddingCache(tmp_path), make_plan(), (1, 2))


def test_a_generalist_that_answers_noise_is_switched_off(tmp_path: Path) -> None:
    supervision = supervise(tmp_path, noise())
    rng = np.random.default_rng(0)
    supervision.measure_trust([make_case(LABELS)], lambda case: mediocre(), rng)
    assert np.all(supervision.trust.of("noise") == 0)
    assert not supervision.active
    assert supervision.pseudo_label(make_case(None), mediocre(), rng) is None


def test_a_slow_generalist_is_measured_on_the_first_cases_only(tmp_path: Path) -> None:
    slow, asked = Counting({0: LABELS > 0, 1: LABELS == 1, 2: LABELS == 2}), list[float]()
    predicted: list[str] = []
    supervision = supervise(tmp_path, slow)
    cases = [replace(make_case(LABELS), name=name) for name in "abc"]

    def enough(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) > 1

    def prediction(case: WorkingCase) -> np.ndarray:
        predicted.append(case.name)
        return mediocre()

    supervision.measure_trust(cases, prediction, np.random.default_rng(0), enough)
    assert predicted == ["a", "b"]
    assert len(asked) == 2 and 0 <= asked[0] <= asked[1]
    assert len(slow.asked) == 2 * 2  # two cases, the segments one by one and together
    assert np.all(supervision.trust.of("counting") == 1)


def test_who_stops_does_not_wait_for_the_trust_in_all_generalists(tmp_path: Path) -> None:
    generalists = [Counting({0: LABELS > 0, 1: LABELS == 1, 2: LABELS == 2}) for _ in range(2)]
    generalists[1].name = "another"
    supervision = supervise(tmp_path, *generalists)
    cases, stops = [replace(make_case(LABELS), name=name) for name in "ab"], chain([False], repeat(True))
    predictions = {case.name: mediocre() for case in cases}
    supervision.measure_trust(
        cases, lambda case: predictions[case.name], np.random.default_rng(0), should_stop=lambda: next(stops)
    )
    assert [len(generalist.asked) for generalist in generalists] == [2, 0]
    # What nobody measured is measured later; what was begun is left at that.
    assert supervision.trust.known("counting").keys() == {"a", "b"} and not supervision.trust.known("another")


def test_trust_is_recalled_as_far_as_generalist_and_annotation_are_the_same(tmp_path: Path) -> None:
    generalist, cases = oracle(), [replace(make_case(LABELS), name="a")]
    cases.append(replace(cases[0], name="b", labels=np.where(LABELS == 1, 1, 0)))  # shows one segment only
    predictions = {case.name: mediocre() for case in cases}
    measured = supervise(tmp_path, generalist)
    measured.measure_trust(cases, lambda case: predictions[case.name], np.random.default_rng(0))
    notes = json.loads(json.dumps(notes_of(measured.trust, {"oracle": generalist}, {"a": "1", "b": "1"})))

    def recalled(fingerprint: str, **revisions: str) -> Trust:
        other = oracle()
        other.fingerprint = fingerprint
        supervision = supervise(tmp_path, other)
        recall(supervision.trust, notes, {"oracle": other}, revisions)
        return supervision.trust

    grouping = measured.trust.best_grouping("oracle")
    same = recalled("oracle", a="1", b="1")
    assert same.best_grouping("oracle") == grouping
    assert np.array_equal(same.advantage("oracle", grouping), measured.trust.advantage("oracle", grouping))
    assert recalled("oracle", a="1", b="2").known("oracle").keys() == {"a"}
    assert recalled("oracle", b="1").known("oracle").keys() == {"b"}
    assert not recalled("another version", a="1", b="1").known("oracle")


def test_a_generalist_that_knows_better_is_trusted_fully(tmp_path: Path) -> None:
    supervision = supervise(tmp_path, oracle())
    supervision.measure_trust([make_case(LABELS)], lambda case: mediocre(), np.random.default_rng(0))
    assert np.all(supervision.trust.of("oracle") == 1)


def test_one_bad_generalist_among_several_does_no_harm(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    answers = []
    for name, team in (("alone", [oracle()]), ("with noise", [noise(), oracle()])):
        supervision = supervise(tmp_path / name, *team)
        supervision.measure_trust([make_case(LABELS)], lambda case: mediocre(), rng)
        result = supervision.pseudo_label(make_case(None), mediocre(), rng)
        assert result is not None
        answers.append(result[0].probability)
    assert np.array_equal(*answers)
    assert np.array_equal(answers[0] > 0.5, one_hot(LABELS)[1:] > 0.5)


def test_uncertainty_is_zero_where_prompts_do_not_matter_and_large_where_they_do(tmp_path: Path) -> None:
    class Undecided(Scripted):
        def predict(self, embedding: Embedding, prompts: Sequence[Prompts]) -> np.ndarray:
            answers = super().predict(embedding, prompts)
            answers[4] = 0  # the first of the four prompts for the tail finds nothing
            return answers

    supervision = supervise(tmp_path, Undecided("undecided", {0: LABELS > 0, 1: LABELS == 1, 2: LABELS == 2}))
    result = supervision.pseudo_label(make_case(None), one_hot(LABELS), np.random.default_rng(0))
    assert result is not None
    tail = LABELS == 2
    assert result[0].uncertainty[1][tail].mean() > 0.1
    assert result[0].uncertainty[0][LABELS == 1].mean() < 0.02


class Counting(Scripted):
    """Notes for which segments it was prompted."""

    def __init__(self, maps: dict[int, np.ndarray]) -> None:
        super().__init__("counting", maps)
        self.asked: list[list[int]] = []

    def predict(self, embedding: Embedding, prompts: Sequence[Prompts]) -> np.ndarray:
        self.asked.append([prompt.segment for prompt in prompts])
        return super().predict(embedding, prompts)


def test_of_many_segments_two_are_renewed_at_a_time_and_the_others_stay(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    for value in range(1, 6):
        labels[4:12, 4 * value - 2 : 4 * value + 2, 5:13] = value
    prediction = np.stack([labels == value for value in range(6)]).astype(np.float32)
    generalist = Counting({value: labels == value for value in range(1, 6)})
    plan = make_plan(segments=tuple("abcde"))
    supervision = GeneralistSupervision([generalist], EmbeddingCache(tmp_path), plan, range(1, 6))
    rng, label = np.random.default_rng(0), None
    for valid in (2, 4, 5):
        result = supervision.pseudo_label(make_case(None), prediction, rng, label)
        assert result is not None and result[1] == 1.0
        before, (label, _) = label, result
        assert int(label.valid.any((1, 2, 3)).sum()) == valid == np.count_nonzero(label.trust)
        if before is not None:
            assert np.array_equal(label.probability[:2], before.probability[:2]) or valid == 5
    assert [sorted(set(asked)) for asked in generalist.asked] == [[1, 2], [3, 4], [1, 5]]
    assert np.array_equal(label.probability > 0.5, prediction[1:] > 0.5)
    # What was said of another segment does not change with this one's turn, and the old label is left alone.
    kept = label.copied()
    blind = np.where(np.arange(6)[:, None, None, None] == 2, 0, prediction).astype(np.float32)
    result = supervision.pseudo_label(make_case(None), blind, rng, label)
    assert result is not None and not result[0].valid[1].any() and result[0].trust[1] == 0
    assert np.array_equal(label.valid, kept.valid) and np.array_equal(result[0].valid[3:], kept.valid[3:])


@pytest.mark.parametrize("voxels", [0, 1])
def test_an_empty_or_tiny_prediction_gives_no_pseudo_label(tmp_path: Path, voxels: int) -> None:
    supervision = supervise(tmp_path, oracle())
    prediction = np.zeros((3, *SHAPE), np.float32)
    prediction[0] = 1
    prediction[:, 10, 10, 10] = (0.1, 0.9 * voxels, 0)
    assert supervision.pseudo_label(make_case(None), prediction, np.random.default_rng(0)) is None


def test_a_generalist_that_contradicts_the_teacher_entirely_is_not_heard_for_that_case(tmp_path: Path) -> None:
    elsewhere = np.roll(LABELS, 9, axis=0) * (np.arange(SHAPE[0]) < 5)[:, None, None]
    wrong = Scripted("wrong", {0: elsewhere > 0, 1: elsewhere == 1, 2: elsewhere == 2})
    supervision = supervise(tmp_path, wrong)
    assert supervision.pseudo_label(make_case(None), one_hot(LABELS), np.random.default_rng(0)) is None


def test_parts_of_an_organ_are_prompted_as_a_whole_where_that_is_better(tmp_path: Path) -> None:
    """A generalist that sees the organ but not the border within it is asked for the organ."""
    whole_only = Scripted("whole", {0: LABELS > 0, 1: LABELS > 0, 2: LABELS > 0})
    supervision = supervise(tmp_path, whole_only)
    shrunk = one_hot(np.where(np.roll(LABELS, 1, 0) * np.roll(LABELS, -1, 0) > 0, LABELS, 0)) * 0.9 + 0.03
    supervision.measure_trust([make_case(LABELS)], lambda case: shrunk, np.random.default_rng(0))
    assert supervision.trust.best_grouping("whole") == ((0, 1),)


def test_trust_needs_only_annotated_cases_and_says_when_it_could_not_be_measured(tmp_path: Path) -> None:
    silent = Scripted("silent", {value: np.zeros(SHAPE) for value in range(3)})
    supervision = supervise(tmp_path, silent)
    supervision.measure_trust([make_case(LABELS)], lambda case: mediocre(), np.random.default_rng(0))
    assert np.all(supervision.trust.of("silent") == 0.5)
