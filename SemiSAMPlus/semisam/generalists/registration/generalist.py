"""``registration``: annotated cases registered to a volume carry their masks over to it.

Its errors have nothing to do with those of a network that learned from the same cases, which is what makes it a useful
teacher; and the first masks are there seconds after the first annotation.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from semisam.errors import GeneralistError
from semisam.generalists.base import Context, Embedding, Example
from semisam.generalists.grids import affordable_geometry, robust_scaled
from semisam.generalists.registration.alignment import Alignment, AlignmentExample, AlignmentTarget, align, match
from semisam.generalists.registration.deformation import deformation, from_matrix, positions, to_image, warp
from semisam.prompts import THRESHOLD, Prompts
from semisam.volumes import (
    Geometry,
    Volume,
    bounding_box,
    content_hash,
    resample_image,
    resample_mask,
    resample_probabilities,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

_logger = logging.getLogger(__name__)

# Volumes with more voxels than this are registered on a coarser grid.
_LARGEST = 150_000
# So many registrations to one volume are fused.
_REGISTRATIONS = 3
# With more examples, the best matches are aligned coarsely, and the best of these in full.
_CANDIDATES = 6
# More annotated cases than this are thinned out evenly before anything else.
_MATCHED = 24
# Margin, in voxels of the mean spacing, around the aligned segments within which the volume is deformed.
_MARGIN = 10
# Standard deviation, in voxels, of the smoothing of carried-over masks.
_SMOOTHING = 0.7
# How sharply an example's weight falls with its local similarity (0 to 1) and with its agreement with a prompt.
_BY_SIMILARITY, _BY_AGREEMENT = 4.0, 8.0
# A click overrules the propagated masks within about this distance, in voxels of the mean spacing.
_CLICK_REACH = 2.0


class Registration:
    """Label propagation by affine and deformable registration of the annotated cases.

    An example with the same voxels as the volume is left out, so that its answers on annotated cases are honest; with
    no other example left the answers are zeros. Prompts choose among the registrations (of up to three examples, or of
    fewer from several starts): mask, box and points weigh each by how well its masks agree with them, and a click that
    contradicts the result overrules it nearby.

    threads  used by SimpleITK for one registration
    """

    name = "registration"
    threads = 1

    def __init__(self, context: Context) -> None:
        """Raises GeneralistError when no annotated case holds a segment."""
        self._examples = [example for example in context.examples if np.any(example.mask)]
        if not self._examples:
            raise GeneralistError('The generalist "registration" needs at least one annotated case.')
        self._hashes = [content_hash(example.volume) for example in self._examples]
        self._values = sorted({int(value) for example in self._examples for value in np.unique(example.mask) if value})
        self._prepared: dict[int, _Prepared] = {}
        digest = hashlib.blake2b(b"registration-4", digest_size=16)
        for key, example in zip(self._hashes, self._examples, strict=True):
            digest.update(key.encode() + np.ascontiguousarray(example.mask, np.uint8).tobytes())
        self.fingerprint = f"registration-{digest.hexdigest()}"

    def encode(self, volume: Volume) -> Embedding:
        """Register the most similar examples to ``volume``; about 0.4 s a registration at 40 x 56 x 40 voxels.

        Arrays, on the canonical registration grid: ``labels`` (registrations, segments, k, j, i) uint8, probability x
        255; ``similarity`` (registrations, k, j, i) uint8, local correlation x 255; ``positions`` (3, k, j, i) float16,
        where the best registration puts each voxel, in mm from the centre of the example's field of view.
        """
        key = content_hash(volume)
        grid = affordable_geometry(volume.geometry, _LARGEST)
        voxels = robust_scaled(resample_image(volume, grid))
        others = [index for index, other in enumerate(self._hashes) if other != key]
        chosen = self._aligned(AlignmentTarget(voxels, grid.spacing), others)
        labels = np.zeros((len(chosen), len(self._values), *grid.shape), np.uint8)
        similarity = np.zeros((len(chosen), *grid.shape), np.uint8)
        places = np.zeros((3, *grid.shape), np.float16)
        for row, (index, alignment) in enumerate(chosen):
            example = self._prepare(index)
            transform = self._carry_over(example, voxels, grid.spacing, alignment, labels[row], similarity[row])
            if row == 0:
                places[...] = positions(to_image(voxels, grid.spacing), transform)
        meta = {
            "values": self._values,
            "examples": [self._examples[index].name for index, _ in chosen],
            "alignment": [round(alignment.similarity, 4) for _, alignment in chosen],
            "geometry": _to_json(volume.geometry),
            "grid": _to_json(grid),
        }
        return Embedding({"labels": labels, "similarity": similarity, "positions": places}, meta)

    def predict(self, embedding: Embedding, prompts: Sequence[Prompts]) -> np.ndarray:
        """(n, k, j, i) float32 probability of each prompt's segment (0: of any segment). Empty prompts give zeros."""
        source, grid = _from_json(embedding.meta["grid"]), _from_json(embedding.meta["geometry"])
        answers = np.zeros((len(prompts), *grid.shape), np.float32)
        similarity = embedding.arrays["similarity"].astype(np.float32) / 255
        for answer, prompt in zip(answers, prompts, strict=True):
            labels = self._labels_of(embedding, prompt.segment)
            if prompt.is_empty or labels is None:
                continue
            weights = np.exp(_BY_SIMILARITY * similarity)
            if len(labels) > 1:
                agreement = _agreement(labels, prompt, grid, source)
                weights *= np.exp(_BY_AGREEMENT * (agreement - agreement.max()))[:, None, None, None]
            fused = (weights * labels).sum(0) / weights.sum(0)
            answer[...] = resample_probabilities(fused[None], source, grid)[0]
            _honor_clicks(answer, prompt, grid)
        return answers

    @staticmethod
    def reliability(embedding: Embedding) -> float:
        """0 to 1: mean local correlation of the best example with the volume, where its masks lie."""
        labels, similarity = embedding.arrays["labels"], embedding.arrays["similarity"]
        found = [
            float(near.mean()) / 255
            for masks, values in zip(labels, similarity, strict=True)
            if (near := values[(masks > 25).any(0)]).size
        ]
        return max(found, default=0.0)

    @staticmethod
    def correspondence(embedding: Embedding) -> tuple[str, np.ndarray] | None:
        """The best example's name, and where it has each voxel of the encoded volume: (3, k, j, i) float32, in mm from
        the centre of the example's field of view. None when no other example was there."""
        if not embedding.meta["examples"]:
            return None
        source, grid = _from_json(embedding.meta["grid"]), _from_json(embedding.meta["geometry"])
        places = embedding.arrays["positions"].astype(np.float32)
        return embedding.meta["examples"][0], np.stack([resample_image(Volume(axis, source), grid) for axis in places])

    def _labels_of(self, embedding: Embedding, segment: int) -> np.ndarray | None:
        """(registrations, k, j, i) float32 propagated probability of one segment, or of all together."""
        labels, values = embedding.arrays["labels"], embedding.meta["values"]
        if len(labels) == 0 or (segment != 0 and segment not in values):
            return None
        chosen = labels if segment == 0 else labels[:, values.index(segment) : values.index(segment) + 1]
        return np.minimum(chosen.astype(np.float32).sum(1) / 255, 1)

    def _prepare(self, index: int) -> _Prepared:
        if index not in self._prepared:
            self._prepared[index] = _Prepared(self._examples[index], self._values)
        return self._prepared[index]

    def _aligned(self, target: AlignmentTarget, others: list[int]) -> list[tuple[int, Alignment]]:
        """The registrations to make, at most three: the most similar examples and where they lie in the target."""
        if len(others) > _MATCHED:
            others = [others[n * len(others) // _MATCHED] for n in range(_MATCHED)]
        matched = [(index, match(self._prepare(index).side, target)) for index in others]
        found = matched
        for limit, levels in ((_CANDIDATES, slice(0, 1)), (_REGISTRATIONS, slice(1, None))):
            found = sorted(found, key=lambda entry: -entry[1].similarity)
            found = [(index, align(self._prepare(index).side, target, start, levels)) for index, start in found[:limit]]
        found.sort(key=lambda entry: -entry[1].similarity)
        # Few examples go again from the unstretched match: a second opinion, and doubt where the two differ.
        return [*found, *matched][:_REGISTRATIONS]

    def _carry_over(
        self,
        example: _Prepared,
        voxels: np.ndarray,
        spacing: tuple[float, float, float],
        alignment: Alignment,
        labels: np.ndarray,
        similarity: np.ndarray,
    ) -> sitk.Transform:
        """Fill ``labels`` (segments, k, j, i) and ``similarity`` (k, j, i), both zeros, where the example says so.

        Returns the map of points of the volume to points of the example."""
        import SimpleITK as sitk
        from scipy.ndimage import gaussian_filter

        fixed = to_image(voxels, spacing)
        transform = from_matrix(alignment.matrix, alignment.offset)
        carried = sitk.GetArrayFromImage(warp(example.union, fixed, transform, self.threads, 0.0))
        box = bounding_box(carried > 0.1)
        if box is None:
            return transform
        margin = np.ceil(_MARGIN * np.prod(spacing) ** (1 / 3) / np.asarray(spacing)).astype(int).tolist()
        region = tuple(
            slice(max(0, part.start - m), min(size, part.stop + m))
            for part, m, size in zip(box, margin, voxels.shape, strict=True)
        )
        fixed = fixed[region[::-1]]
        try:
            transform = deformation(fixed, example.image, transform, self.threads)
        except RuntimeError as error:
            _logger.info("The deformation failed, the affine alignment stays: %s", error)
        moved = sitk.GetArrayFromImage(warp(example.image, fixed, transform, self.threads))
        similarity[region] = _quantized(_local_correlation(voxels[region], moved))
        for target, mask in zip(labels, example.masks, strict=True):
            if mask is not None:
                carried = sitk.GetArrayFromImage(warp(mask, fixed, transform, self.threads, 0.0))
                target[region] = _quantized(gaussian_filter(carried, _SMOOTHING))
        return transform


class _Prepared:
    """An example on its registration grid.

    image, union  ITK images of the voxels and of all segments together
    masks         ITK images, one for each of the project's values; None for a segment that this example lacks
    side          for alignment
    """

    def __init__(self, example: Example, values: Sequence[int]) -> None:
        grid = affordable_geometry(example.volume.geometry, _LARGEST)
        voxels = robust_scaled(resample_image(example.volume, grid))
        mask = resample_mask(Volume(np.asarray(example.mask, np.uint8), example.volume.geometry), grid, values)
        if not mask.any():
            # A segment too small for this grid: keep at least its place.
            mask[tuple(np.asarray(grid.shape) // 2)] = values[0]
        self.side = AlignmentExample(voxels, mask, grid.spacing)
        self.image = to_image(voxels, grid.spacing)
        self.union = to_image(mask > 0, grid.spacing)
        self.masks = [to_image(mask == value, grid.spacing) if (mask == value).any() else None for value in values]


def _local_correlation(first: np.ndarray, second: np.ndarray, size: int = 7) -> np.ndarray:
    """(k, j, i) float32 correlation of two images in cubes of ``size`` voxels, negative values as 0."""
    from scipy.ndimage import uniform_filter

    first, second = first.astype(np.float32), second.astype(np.float32)
    mean1, mean2 = uniform_filter(first, size), uniform_filter(second, size)
    variance1 = uniform_filter(first * first, size) - mean1 * mean1
    variance2 = uniform_filter(second * second, size) - mean2 * mean2
    covariance = uniform_filter(first * second, size) - mean1 * mean2
    # The constant keeps flat regions, where correlation is noise, from looking alike.
    return np.clip(covariance / (np.sqrt(np.clip(variance1 * variance2, 0, None)) + 1e-3), 0, 1)


def _agreement(labels: np.ndarray, prompt: Prompts, grid: Geometry, source: Geometry) -> np.ndarray:
    """(registrations,) 0 to 1: how well each propagated mask agrees with mask, box and points (their mean)."""
    parts = []
    if prompt.mask is not None:
        mask = resample_image(Volume(np.asarray(prompt.mask, np.float32), grid), source)
        overlap = np.minimum(labels, mask).sum((1, 2, 3))
        parts.append(2 * overlap / (labels.sum((1, 2, 3)) + mask.sum() + 1e-6))
    if prompt.box is not None:
        box = np.asarray(prompt.box, float).reshape(2, 3)
        corners = source.world_to_index(grid.index_to_world(np.stack([box[0], box[1] - 1])))
        lower = np.clip(np.rint(corners.min(0)), 0, np.asarray(source.shape) - 1).astype(int)
        upper = np.clip(np.rint(corners.max(0)) + 1, lower + 1, source.shape).astype(int)
        within = labels[:, lower[0] : upper[0], lower[1] : upper[1], lower[2] : upper[2]]
        parts.append(within.sum((1, 2, 3)) / (labels.sum((1, 2, 3)) + 1e-6))
    if len(prompt.points):
        where = source.world_to_index(grid.index_to_world(np.asarray(prompt.points, float).reshape(-1, 3)))
        index = np.clip(np.rint(where), 0, np.asarray(source.shape) - 1).astype(int)
        said = labels[:, index[:, 0], index[:, 1], index[:, 2]]
        parts.append(np.where(np.asarray(prompt.labels).ravel() > 0, said, 1 - said).mean(1))
    return np.mean(parts, axis=0)


def _honor_clicks(answer: np.ndarray, prompt: Prompts, grid: Geometry) -> None:
    """Where a click contradicts the answer, blend in what it says with a Gaussian around it."""
    reach = _CLICK_REACH * np.prod(grid.spacing) ** (1 / 3) / np.asarray(grid.spacing)
    for point, label in zip(np.asarray(prompt.points, float).reshape(-1, 3), np.ravel(prompt.labels), strict=True):
        index = np.rint(point).astype(int)
        if ((index < 0) | (index >= answer.shape)).any() or (answer[tuple(index)] >= THRESHOLD) == bool(label):
            continue
        lower = np.maximum(index - np.ceil(2 * reach).astype(int), 0)
        upper = np.minimum(index + np.ceil(2 * reach).astype(int) + 1, answer.shape)
        region = tuple(slice(a, b) for a, b in zip(lower.tolist(), upper.tolist(), strict=True))
        axes = np.ogrid[region]
        squares = sum(((axis - p) / r) ** 2 for axis, p, r in zip(axes, index, reach, strict=True))
        share = np.exp(-squares).astype(np.float32)
        answer[region] += share * (np.float32(label > 0) - answer[region])


def _quantized(probability: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(np.nan_to_num(probability), 0, 1) * 255).astype(np.uint8)


def _to_json(geometry: Geometry) -> dict[str, list]:
    return {
        "shape": list(geometry.shape),
        "spacing": list(geometry.spacing),
        "origin": list(geometry.origin),
        "direction": list(geometry.direction),
    }


def _from_json(data: dict[str, list]) -> Geometry:
    return Geometry(tuple(data["shape"]), tuple(data["spacing"]), tuple(data["origin"]), tuple(data["direction"]))
