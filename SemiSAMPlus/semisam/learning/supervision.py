"""Generalist supervision: the specialist's predictions prompt frozen generalists, whose answers teach it in turn.

For one unannotated case: the teacher's probabilities -> perturbed prompts -> every generalist -> per voxel the mean and
the variance over the prompts (the uncertainty U) -> fusion by trust * exp(-U / tau) -> a soft pseudo-label.
(SemiSAM+, Medical Image Analysis 2025, sections 3.2 and 3.3; the gating by measured trust is ours.)
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from semisam.generalists.base import Embedding, Generalist
from semisam.generalists.cache import EmbeddingCache
from semisam.generalists.registration.generalist import Registration
from semisam.kept import Kept
from semisam.learning.sampling import PseudoLabel, Shape
from semisam.learning.trust import Trust, agreement
from semisam.learning.working import WorkingCase
from semisam.prompts import Prompts, perturbed_prompts
from semisam.specialists.plan import Plan

# Share of the squared disagreement between generalist and teacher that counts as uncertainty. It is kept small, for
# where they differ is where the generalist can teach anything.
_DISAGREEMENT = 0.1
# Per case, a generalist counts fully when it agrees with the teacher to a Dice of 0.7 and not at all below 0.4.
_GATE = (0.4, 0.7)
_KEPT_BYTES = 256 << 20
# Generalists that lend the shapes of other cases to annotated ones (see ``register``).
LENDERS = (Registration.name,)
# Segments asked about at a time: of more, each visit to a case renews two, with this share of the prompts each, so that
# many cost less than twice the time of one.
_AT_ONCE, _OF_MANY = 2, 0.75


@dataclass(frozen=True)
class Answer:
    """What one generalist says of some segments of a case; arrays are (segments, k, j, i) float32, valid is bool."""

    probability: np.ndarray
    uncertainty: np.ndarray
    valid: np.ndarray


class GeneralistSupervision:
    """Holds the generalists of a run and what is known about how far to trust each."""

    def __init__(
        self, generalists: Sequence[Generalist], cache: EmbeddingCache, plan: Plan, segment_values: Sequence[int]
    ) -> None:
        self._generalists = list(generalists)
        self._cache = cache
        self._plan = plan
        self._values = list(segment_values)
        self._kept = Kept(_KEPT_BYTES)
        self._visits: Counter[str] = Counter()
        self.encoding_seconds = 0.0
        self.trust = Trust([generalist.name for generalist in generalists], len(segment_values))

    @property
    def active(self) -> bool:
        """Whether any generalist is trusted with any segment."""
        return any(self.trust.of(generalist.name).max() > 0 for generalist in self._generalists)

    def measure_trust(
        self,
        cases: Sequence[WorkingCase],
        prediction: Callable[[WorkingCase], np.ndarray],
        rng: np.random.Generator,
        enough: Callable[[float], bool] = lambda seconds: False,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Let every generalist correct predictions for annotated cases, and compare with the annotations.

        prediction: (1 + segments, k, j, i) of an immature teacher for an annotated case; a mature one has learned these
        cases by heart and would leave nothing to correct. Asked for the cases that are measured only; what is known of
        a generalist from a case already is not measured again.
        enough: asked before each further case, with the seconds that this generalist has taken so far; a slow one is
        measured on the first cases only.
        should_stop: asked before every case; then nothing more is measured.
        """
        for generalist in self._generalists:
            seconds, known = 0.0, self.trust.known(generalist.name)
            for case in cases:
                if case.name in known or case.labels is None:
                    continue
                if should_stop() or (known and enough(seconds)):
                    if known:
                        self.trust.passed_over(generalist.name, case.name)
                    continue
                probability = prediction(case)
                start = time.monotonic()
                for grouping in self._groupings():
                    answer = self._ask(generalist, case, probability, grouping, range(len(self._values)), rng)
                    self.trust.record(
                        generalist.name, case.name, grouping, answer.probability, probability[1:], case.labels
                    )
                seconds += time.monotonic() - start

    def pseudo_label(
        self, case: WorkingCase, prediction: np.ndarray, rng: np.random.Generator, before: PseudoLabel | None = None
    ) -> tuple[PseudoLabel, float] | None:
        """The fused pseudo-label of an unannotated case and its agreement (Dice) with the teacher's prediction.

        prediction: (1 + segments, k, j, i) of the teacher; before: the last pseudo-label of this case, whose segments
        stay where it is not their turn. None when no trusted generalist has an answer: an empty or tiny prediction,
        say, or all of them gated off.
        """
        wanted = self._turn(case.name)
        answer, trust = self._fused(case, prediction, wanted, rng)
        label = PseudoLabel.nothing(prediction[1:].shape) if before is None else before.copied()
        label.probability[wanted], label.uncertainty[wanted] = answer.probability, answer.uncertainty
        label.valid[wanted], label.trust[wanted] = answer.valid, trust
        if not label.valid.any():
            return None
        said = answer.valid.any((1, 2, 3))
        agreements = agreement(answer.probability, prediction[1:][wanted])[said]
        return label, float(np.mean(agreements)) if said.any() else 0.0

    def _turn(self, name: str) -> list[int]:
        """The segments whose turn it is at this visit to a case."""
        count = len(self._values)
        first = self._visits[name] * _AT_ONCE
        self._visits[name] += 1
        return sorted({(first + offset) % count for offset in range(min(_AT_ONCE, count))})

    def _fused(
        self, case: WorkingCase, prediction: np.ndarray, wanted: list[int], rng: np.random.Generator
    ) -> tuple[Answer, np.ndarray]:
        """What the trusted generalists say together of the ``wanted`` segments, and the trust in each of these."""
        shape = (len(wanted), *prediction.shape[1:])
        weight_sum, probability_sum, uncertainty_sum = (np.zeros(shape, np.float32) for _ in range(3))
        trust = np.zeros(len(wanted), np.float32)
        for generalist in self._generalists:
            measured = self.trust.of(generalist.name)[wanted]
            if not measured.max() > 0:
                continue
            answer = self._ask(generalist, case, prediction, self.trust.best_grouping(generalist.name), wanted, rng)
            agreed = agreement(answer.probability, prediction[1:][wanted])
            gated = (measured * np.clip((agreed - _GATE[0]) / (_GATE[1] - _GATE[0]), 0, 1)).astype(np.float32)
            weight = gated[:, None, None, None] * np.exp(-answer.uncertainty / self._plan.uncertainty_temperature)
            weight *= answer.valid
            weight_sum += weight
            probability_sum += weight * answer.probability
            uncertainty_sum += weight * answer.uncertainty
            trust = np.maximum(trust, gated)
        valid = weight_sum > 1e-4
        scale = np.where(valid, 1 / np.maximum(weight_sum, 1e-4), 0)
        return Answer(probability_sum * scale, uncertainty_sum * scale, valid), trust

    def register(self, case: WorkingCase, annotated: dict[str, WorkingCase]) -> Shape | None:
        """Register the case; returns its shape for the annotated ones to borrow, if registration is trusted.

        Trusted or not, what registration says of the case is in the cache then, as the second opinion on its proposal.
        """
        for generalist in self._generalists:
            if not isinstance(generalist, Registration):
                continue
            found = generalist.correspondence(self._embedding(generalist, case))
            if not self.trust.of(generalist.name).max() > 0 or found is None or found[0] not in annotated:
                continue
            example = annotated[found[0]]
            assert example.labels is not None
            size = np.array(example.labels.shape).reshape(3, 1, 1, 1)
            places = found[1] / np.array(self._plan.working_spacing, np.float32).reshape(3, 1, 1, 1) + (size - 1) / 2
            nearest = np.clip(np.rint(places), 0, size - 1).astype(int)
            inside = np.argwhere(example.labels[tuple(nearest)] > 0)
            if len(inside):
                step = max(1, len(inside) // 1000)
                return Shape(found[0], torch.from_numpy(places.astype(np.float32)), inside[::step])
        return None

    def _embedding(self, generalist: Generalist, case: WorkingCase) -> Embedding:
        start = time.monotonic()
        if getattr(generalist, "raw_intensities", False):
            # Reading an image file again takes longer than most prompts: the embedding stays in memory.
            key = (generalist.name, case.name)
            embedding: Embedding | None = self._kept.get(key)
            if embedding is None:
                embedding = self._cache.get(generalist, case.raw())
                self._kept.put(key, embedding, sum(array.nbytes for array in embedding.arrays.values()))
        else:
            embedding = self._cache.get(generalist, case.volume)
        self.encoding_seconds += time.monotonic() - start
        return embedding

    def _groupings(self) -> list[tuple[tuple[int, ...], ...]]:
        """Each segment for itself, and all as one structure that the teacher divides: the border between two parts of
        an organ may be a convention, which no generalist can see."""
        count = len(self._values)
        single = tuple((index,) for index in range(count))
        return [single] if count == 1 else [single, (tuple(range(count)),)]

    def _ask(
        self,
        generalist: Generalist,
        case: WorkingCase,
        prediction: np.ndarray,
        grouping: tuple[tuple[int, ...], ...],
        wanted: Sequence[int],
        rng: np.random.Generator,
    ) -> Answer:
        """What it says of the ``wanted`` segments, in their order, to prompts made from ``prediction``."""
        segments, rows = prediction[1:], {index: row for row, index in enumerate(wanted)}
        shape = (len(rows), *segments.shape[1:])
        probability, uncertainty = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        valid = np.zeros(shape, bool)
        count = self._plan.perturbed_prompts
        if len(segments) > _AT_ONCE:
            count = max(2, round(_OF_MANY * count))
        prompts: list[Prompts] = []
        spans: list[tuple[tuple[int, ...], slice]] = []
        for group in grouping:
            if rows.keys().isdisjoint(group):
                continue
            union = segments[list(group)].sum(0)
            value = self._values[group[0]] if len(group) == 1 else 0
            made = perturbed_prompts(union, rng, count, segment=value, spacing=self._plan.working_spacing)
            if made:
                spans.append((group, slice(len(prompts), len(prompts) + len(made))))
                prompts += made
        if not prompts:
            return Answer(probability, uncertainty, valid)
        answers = generalist.predict(self._embedding(generalist, case), prompts)
        for group, span in spans:
            mean, variance = answers[span].mean(0), answers[span].var(0)
            if not (mean > 0.5).any():
                continue
            union = segments[list(group)].sum(0)
            region = _surroundings(np.maximum(mean, union) > 0.1)
            doubt = variance + _DISAGREEMENT * (mean - union) ** 2
            for index in rows.keys() & set(group):
                row = rows[index]
                share = segments[index] / np.maximum(union, 1e-3) if len(group) > 1 else 1.0
                probability[row] = mean * share
                uncertainty[row] = doubt
                valid[row][region] = True
        return Answer(probability, uncertainty, valid)


def _surroundings(mask: np.ndarray) -> tuple[slice, ...]:
    """The box round a (k, j, i) mask and a quarter of its size on every side.

    Far from the object a generalist has nothing to say that the specialist does not know, and the many voxels there
    would drown those near the border, where it matters, in the mean of the loss.
    """
    region = []
    for axis in range(3):
        inside = np.nonzero(mask.any(tuple(other for other in range(3) if other != axis)))[0]
        first, last = int(inside[0]), int(inside[-1])
        margin = max(2, (last - first + 1) // 4)
        region.append(slice(max(0, first - margin), last + margin + 1))
    return tuple(region)
