"""Which case and which place the next patch is taken from, and the patch itself as training needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semisam.learning.augmentation import Augmentation
from semisam.learning.whereabouts import some_of_each
from semisam.learning.working import UNKNOWN, WorkingCase
from semisam.specialists.plan import Plan

# Share of the patches of one annotated case that get the shape of another, registered case; of several annotated cases
# each gets its part of it. Measured: with one +0.015 Dice, with four half of them so -0.012 (few_labels.md).
_BORROWED = 0.5
# Share of the patches that are taken at a voxel of a segment rather than anywhere.
_NEAR = 0.67
# Voxels that are kept of each segment of an annotated case.
_KEPT = 2000


@dataclass(frozen=True)
class PseudoLabel:
    """What the generalists say about one unannotated case, on its working grid.

    probability  (segments, k, j, i) float16, soft
    uncertainty  (segments, k, j, i) float16, variance over perturbed prompts
    valid        (segments, k, j, i) bool, where an answer was given
    trust        (segments,) float32, how much it counts
    """

    probability: np.ndarray
    uncertainty: np.ndarray
    valid: np.ndarray
    trust: np.ndarray

    @classmethod
    def nothing(cls, shape: Sequence[int]) -> PseudoLabel:
        """Nothing said yet about segments of this (segments, k, j, i) shape."""
        maps = np.zeros(shape, np.float16), np.zeros(shape, np.float16), np.zeros(shape, bool)
        return cls(*maps, np.zeros(shape[0], np.float32))

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(array.nbytes for array in (self.probability, self.uncertainty, self.valid))

    def copied(self) -> PseudoLabel:
        """Arrays of its own."""
        return PseudoLabel(self.probability.copy(), self.uncertainty.copy(), self.valid.copy(), self.trust.copy())


@dataclass(frozen=True)
class Shape:
    """The shape of one case, to give to an annotated one: where the annotated case has what this one has here.

    annotated  name of the annotated case
    places     (3, k, j, i) float32, for each voxel of the working grid a (k, j, i) index in the annotated case
    inside     (n, 3) voxels that lie in a segment there
    """

    annotated: str
    places: Tensor
    inside: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(self.places.nbytes + self.inside.nbytes)


@dataclass(frozen=True)
class LabelledPatch:
    """Augmented images (batch, 1, k, j, i) with one-hot targets (batch, 1 + segments, k, j, i).

    A voxel of which nobody has said what it is has a target of zeros: it teaches nothing.
    """

    image: Tensor
    target: Tensor


@dataclass(frozen=True)
class UnlabelledPatch:
    """Patches of unannotated cases under one spatial map and two intensity maps, with the generalists' pseudo-labels.

    weak, strong                     (batch, 1, k, j, i): what the teacher and the student see
    probability, uncertainty, valid  (batch, segments, k, j, i); zero where there is no pseudo-label
    trust                            (batch, segments)
    """

    weak: Tensor
    strong: Tensor
    probability: Tensor
    uncertainty: Tensor
    valid: Tensor
    trust: Tensor


class Sampler:
    """Draws patches. Annotated cases and their structures are drawn evenly, whatever their size."""

    def __init__(self, plan: Plan, augmentation: Augmentation, rng: np.random.Generator, device: str) -> None:
        self._plan = plan
        self._augmentation = augmentation
        self._rng = rng
        self._device = device
        self._foreground: dict[str, list[np.ndarray]] = {}

    def labelled(self, cases: list[WorkingCase], count: int, shapes: Sequence[Shape] = ()) -> LabelledPatch:
        """``count`` patches of random cases, some of them in the shape of another case (see ``_BORROWED``)."""
        images, targets = [], []
        for index in self._rng.integers(len(cases), size=count):
            case = cases[int(index)]
            labels = _labels(case)
            places = self._borrowed(case, [shape for shape in shapes if shape.annotated == case.name], len(cases))
            if places is None:
                places = self._augmentation.spatial(self._labelled_centre(case, labels))
            region, places = _around(places, labels.shape)
            image = self._augmentation.warp(self._image(case, region), places, border=True)
            targets.append(self._target(labels[region], places))
            images.append(self._augmentation.intensity(image))
        return LabelledPatch(torch.stack(images), torch.stack(targets))

    def unlabelled(
        self,
        cases: list[WorkingCase],
        pseudo_labels: dict[str, PseudoLabel],
        whereabouts: Callable[[WorkingCase], Sequence[np.ndarray]] = lambda case: (),
    ) -> UnlabelledPatch:
        """One patch of each of ``cases``; ``whereabouts`` tells voxels (n, 3) of each segment that is known in it."""
        weak, strong, parts, trust = [], [], [], []
        segments = len(self._plan.segments)
        for case in cases:
            label = pseudo_labels.get(case.name)
            places = self._augmentation.spatial(self._unlabelled_centre(case, whereabouts(case)))
            region, places = _around(places, case.image.shape)
            image = self._augmentation.warp(self._image(case, region), places, border=True)
            weak.append(self._augmentation.intensity(image, strong=False))
            strong.append(self._augmentation.intensity(image))
            if label is None:
                parts.append(torch.zeros((3 * segments, *self._plan.patch), device=self._device))
                trust.append(torch.zeros(segments, device=self._device))
            else:
                maps = [values[:, *region] for values in (label.probability, label.uncertainty, label.valid)]
                stacked = torch.from_numpy(np.concatenate(maps).astype(np.float32)).to(self._device)
                parts.append(self._augmentation.warp(stacked, places, border=False))
                trust.append(torch.from_numpy(label.trust).to(self._device))
        probability, uncertainty, valid = torch.stack(parts).split(segments, dim=1)
        return UnlabelledPatch(
            torch.stack(weak), torch.stack(strong), probability, uncertainty, valid, torch.stack(trust)
        )

    def forget(self, name: str) -> None:
        """The annotation of this case has changed."""
        self._foreground.pop(name, None)

    def _target(self, labels: np.ndarray, places: Tensor) -> Tensor:
        """(1 + segments, k, j, i) of a patch: ``labels`` at ``places``."""
        # One-hot before warping: a linear map of one-hot keeps borders smooth where nearest neighbour frays them.
        values = torch.arange(1, 1 + len(self._plan.segments)).view(-1, 1, 1, 1)
        foreground = (torch.from_numpy(labels)[None] == values).float()
        if not (labels == UNKNOWN).any():
            target = self._augmentation.warp(foreground.to(self._device), places, border=False)
            return torch.cat([1 - target.sum(0, keepdim=True), target])
        outside = torch.from_numpy(labels == 0)[None].float()
        return self._augmentation.warp(torch.cat([outside, foreground]).to(self._device), places, border=False)

    def _borrowed(self, case: WorkingCase, shapes: Sequence[Shape], annotated: int) -> Tensor | None:
        """Now and then, the places (k, j, i, 3) in ``case`` that give it the shape of another one."""
        if not shapes or self._rng.random() >= _BORROWED / annotated:
            return None
        shape = shapes[int(self._rng.integers(len(shapes)))]
        size = shape.places.shape[1:]
        centre = shape.inside[int(self._rng.integers(len(shape.inside)))]
        region, there = _around(self._augmentation.spatial(self._inside(size, centre.astype(float))), size)
        return self._augmentation.warp(shape.places[:, *region].to(self._device), there, border=True).movedim(0, -1)

    def _image(self, case: WorkingCase, region: tuple[slice, ...]) -> Tensor:
        return torch.from_numpy(np.asarray(case.image[region], np.float32))[None].to(self._device)

    def _labelled_centre(self, case: WorkingCase, labels: np.ndarray) -> np.ndarray:
        """Two of three patches hold a voxel of a random segment; a volume no larger than a patch is centred."""
        centre = self._anywhere(case)
        if self._rng.random() < _NEAR:
            if case.name not in self._foreground:
                self._foreground[case.name] = some_of_each(np.where(labels == UNKNOWN, 0, labels), _KEPT)
            known = self._foreground[case.name]
            if known:
                found = known[int(self._rng.integers(len(known)))]
                centre = self._inside(case.image.shape, found[int(self._rng.integers(len(found)))].astype(float))
        return centre

    def _unlabelled_centre(self, case: WorkingCase, known: Sequence[np.ndarray]) -> np.ndarray:
        if known and self._rng.random() < _NEAR:
            found = known[int(self._rng.integers(len(known)))]
            return self._inside(case.image.shape, found[int(self._rng.integers(len(found)))])
        return self._anywhere(case)

    def _anywhere(self, case: WorkingCase) -> np.ndarray:
        return self._inside(case.image.shape, self._rng.uniform(0, 1, 3) * (np.array(case.image.shape) - 1))

    def _inside(self, shape: Sequence[int], centre: np.ndarray) -> np.ndarray:
        """Move a centre so that the patch does not hang out of the volume more than it has to."""
        size, patch = np.array(shape), np.array(self._plan.patch)
        low = np.minimum(patch, size) / 2 - 0.5
        return np.clip(centre, low, np.maximum(size - 1 - low, low))


def _labels(case: WorkingCase) -> np.ndarray:
    if case.labels is None:
        raise ValueError(f"case {case.name} is not annotated")
    return case.labels


def _around(places: Tensor, shape: Sequence[int]) -> tuple[tuple[slice, ...], Tensor]:
    """The part of a volume that interpolation at ``places`` (k, j, i, 3) needs, and the places in it.

    A volume may be many patches large and have many segments: only what a patch shows is worth converting.
    """
    region = []
    for axis, size in enumerate(shape):
        first, last = (int(torch.floor(end)) for end in torch.aminmax(places[..., axis]))
        # Two voxels at least: with one, nothing lies outside for torch.
        start = min(max(first, 0), max(size - 2, 0))
        stop = min(max(last + 2, start + 2), size)
        region.append(slice(start, stop))
    return tuple(region), places - torch.tensor([part.start for part in region], dtype=places.dtype).to(places.device)
