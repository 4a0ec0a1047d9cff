"""From slice to slice: what a network for pictures is asked in which slice, and how its answers become a volume.

A mask says what to ask in every slice of it: the box round it there, and the mask. A box starts in its middle slice,
clicks in theirs. From there the answer is carried on: its box and its logits are the question in the next slice, until
the prompt's box ends, the object vanishes, or the answer jumps. All asked slices are a step apart; between them logits
are interpolated, and neighbours are averaged a little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semisam.generalists.grids import robust_bounds
from semisam.generalists.sam_slices.frame import SliceFrame
from semisam.prompts import THRESHOLD, Prompts

# Slices that are asked lie at least this far apart, mm.
_STEP = 3.0
# How many steps a mask may be carried on beyond its ends.
_BEYOND = 2
# An answer that overlaps less (Dice) with the one it was carried from is another object.
_OVERLAP = 0.5
# Logits are kept within these limits, so that one sure slice does not outvote its neighbours.
_SUREST = 8.0
_MASK_LOGIT = 4.0


@dataclass(frozen=True)
class Question:
    """What is asked in one slice.

    points, labels  (n, 2) rows, columns, and (n,)
    box             (row0, column0, row1, column1), half-open, or None
    mask            (m, m) logits as the network takes them, or None
    steps           how far it was carried
    directions      in which the answer is carried on: -1, 1
    before          (rows, columns) bool, the answer it was carried from
    """

    slice: int
    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None
    mask: np.ndarray | None
    steps: int
    directions: tuple[int, ...]
    before: np.ndarray | None


class Walk:
    """The way of one prompt through the slices.

    ``waiting`` are the questions to be answered next; ``receive`` takes an answer and may add to them.

    most  slices to ask at most
    """

    def __init__(self, prompt: Prompts, frame: SliceFrame, most: int) -> None:
        self._frame = frame
        self._answers: dict[int, list[tuple[np.ndarray, float]]] = {}
        self._points = frame.indices(prompt.points)
        self._labels = np.asarray(prompt.labels).astype(int).ravel()
        self._first, self._last = 0, frame.shape[0] - 1
        self._step = max(1, round(_STEP / frame.spacing[0]))
        self._left = most + 2 * _BEYOND
        self._carry = most
        mask = None if prompt.mask is None else frame.turned(np.asarray(prompt.mask, np.float32))
        self._box: np.ndarray | None = None
        self.waiting: list[Question] = []
        if mask is not None and (mask > THRESHOLD).any():
            self._from_mask(mask, most)
        elif prompt.box is not None:
            self._from_box(np.asarray(prompt.box, float), most)
        else:
            self._from_clicks()
        self._asked = {question.slice for question in self.waiting}

    def _from_mask(self, mask: np.ndarray, most: int) -> None:
        lower, upper = (int(end[0]) for end in robust_bounds(mask > THRESHOLD))
        self._step = max(self._step, -(-(upper - lower + 1) // most))
        self._carry = _BEYOND
        count = (upper - lower) // self._step + 1
        start = lower + (upper - lower - (count - 1) * self._step) // 2
        for index in range(start, start + count * self._step, self._step):
            part = mask[index]
            if (part > THRESHOLD).any():
                logits = self._frame.to_mask(part)
                logits = np.clip(np.log((logits + 0.01) / (1.01 - logits)), -_MASK_LOGIT, _MASK_LOGIT)
                ends = {-1: index == start, 1: index == start + (count - 1) * self._step}
                self._ask(index, _box(part > THRESHOLD), logits, tuple(way for way, end in ends.items() if end))

    def _from_box(self, box: np.ndarray, most: int) -> None:
        ends = np.sort(self._frame.indices(np.stack([box[:3] - 0.5, box[3:] - 0.5])), axis=0)
        first, last = np.ceil(ends[0, 0]), np.floor(ends[1, 0])
        self._first, self._last = int(max(first, 0)), int(min(last, self._frame.shape[0] - 1))
        if self._first > self._last:
            return
        self._step = max(self._step, -(-(self._last - self._first + 1) // most))
        self._box = np.concatenate([ends[0, 1:] + 0.5, ends[1, 1:] + 0.5])
        self._ask((self._first + self._last) // 2, self._box, None, (-1, 1))

    def _from_clicks(self) -> None:
        inside = np.rint(self._points[self._labels == 1, 0]).astype(int)
        for index in np.unique(np.clip(inside, 0, self._last)):
            self._ask(int(index), None, None, (-1, 1))

    def _ask(
        self,
        index: int,
        box: np.ndarray | None,
        mask: np.ndarray | None,
        directions: tuple[int, ...],
        steps: int = 0,
        before: np.ndarray | None = None,
    ) -> None:
        if self._left <= 0:
            return
        self._left -= 1
        here = np.abs(self._points[:, 0] - index) <= max(0.5, self._step / 2)
        points, labels = self._points[here, 1:], self._labels[here]
        self.waiting.append(Question(index, points, labels, box, mask, steps, directions, before))

    def receive(self, question: Question, mask: np.ndarray) -> None:
        """The answer to a question: (m, m) logits of the network."""
        logits = np.clip(self._frame.from_mask(mask), -_SUREST, _SUREST)
        if self._box is not None:
            logits = _within(logits, self._box)
        found = logits > 0
        if question.before is not None and _dice(found, question.before) < _OVERLAP:
            return
        self._answers.setdefault(question.slice, []).append((logits, 1 / (1 + question.steps)))
        if not found.any() or question.steps >= self._carry:
            return
        for direction in question.directions:
            following = question.slice + direction * self._step
            if self._first <= following <= self._last and following not in self._asked:
                box = _grown(_box(found), found.shape)
                logits = np.clip(mask, -_SUREST, _SUREST)
                self._ask(following, box, logits, (direction,), question.steps + 1, found)

    def volume(self) -> np.ndarray:
        """(slices, rows, columns) float32 logits; minus infinity in slices that nothing was found in."""
        result = np.full(self._frame.shape, -np.inf, np.float32)
        asked = sorted(self._answers)
        if not asked:
            return result
        stack = np.stack([_mean(self._answers[index]) for index in asked])
        neighbours = np.diff(asked) <= 2 * self._step
        smooth, total = 2 * stack, np.full(len(asked), 2.0)
        smooth[1:][neighbours] += stack[:-1][neighbours]
        smooth[:-1][neighbours] += stack[1:][neighbours]
        total[1:] += neighbours
        total[:-1] += neighbours
        stack = smooth / total[:, None, None]
        for index, logits in zip(asked, stack, strict=True):
            result[index] = logits
        for position in np.flatnonzero(neighbours):
            low, high = asked[position], asked[position + 1]
            for index in range(low + 1, high):
                share = (index - low) / (high - low)
                result[index] = (1 - share) * stack[position] + share * stack[position + 1]
        return result


def _mean(answers: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """The weighted mean of a slice's answers; those carried further weigh less."""
    return np.average([answer for answer, _ in answers], axis=0, weights=[weight for _, weight in answers])


def _box(mask: np.ndarray) -> np.ndarray:
    """(row0, column0, row1, column1), half-open, round a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1], float)


def _grown(box: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A twentieth larger on every side, one voxel at least: the object may be larger in the next slice."""
    margin = np.maximum(0.05 * (box[2:] - box[:2]), 1)
    return np.concatenate([np.maximum(box[:2] - margin, 0), np.minimum(box[2:] + margin, shape)])


def _within(logits: np.ndarray, box: np.ndarray) -> np.ndarray:
    rows, columns = np.arange(logits.shape[0]), np.arange(logits.shape[1])
    inside = ((rows >= box[0] - 0.5) & (rows < box[2]))[:, None] & ((columns >= box[1] - 0.5) & (columns < box[3]))
    return np.where(inside, logits, -_SUREST)


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / total if total else 0.0
