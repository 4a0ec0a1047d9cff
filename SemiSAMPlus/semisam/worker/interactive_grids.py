"""Between the image that a person clicks on and the working grid that a generalist sees, there and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from semisam.errors import UsageError
from semisam.files.raw_nrrd import write_raw_nrrd
from semisam.prompts import Prompts
from semisam.segments import Segment
from semisam.volumes import Geometry, Volume, axis_map, bounding_box, resample_probabilities

Region = tuple[slice, slice, slice]


class GivenPrompts(Protocol):
    """Prompts as a person gives them, in voxels of the image; see ``interactive.PromptRequest``."""

    @property
    def points(self) -> Sequence[Sequence[float]]: ...

    @property
    def labels(self) -> Sequence[int]: ...

    @property
    def box(self) -> Sequence[float] | None: ...

    @property
    def mask(self) -> Path | None: ...


def working_prompts(request: GivenPrompts, image: Geometry, working: Geometry, segment: int) -> Prompts:
    """The prompts, checked against the image, in voxels of the working grid."""
    points = np.asarray(request.points, float).reshape(-1, 3)
    labels = np.asarray(request.labels, np.uint8)
    if len(points) != len(labels):
        raise UsageError(f"There are {len(points)} points but {len(labels)} labels: give one label for each point.")
    size = f"{_words(image.shape)} voxels (k, j, i)"
    for point in points:
        if not all(-0.5 <= x < n - 0.5 for x, n in zip(point, image.shape, strict=True)):
            raise UsageError(f"The point ({_words(point)}) lies outside of the image, which has {size}.")
    box = None
    if request.box is not None:
        lower, upper = np.asarray(request.box[:3], float), np.asarray(request.box[3:], float)
        if not ((lower >= 0) & (lower < upper) & (upper <= image.shape)).all():
            raise UsageError(
                f"The box ({_words(request.box)}) is empty or reaches out of the image, which has {size}: give k0, j0, "
                "i0 and then the larger k1, j1, i1."
            )
        # The faces of a box lie half a voxel before the centers of its first voxels and of those after its last.
        faces = working.world_to_index(image.index_to_world(np.stack([lower, upper]) - 0.5)) + 0.5
        box = tuple(np.clip([*faces.min(0), *faces.max(0)], 0, working.shape * 2).tolist())
    mask = None if request.mask is None else _read_prompt_mask(request.mask, image, working)
    moved = working.world_to_index(image.index_to_world(points)).astype(np.float32)
    prompts = Prompts(moved, labels, box, mask, segment)
    if prompts.is_empty:
        raise UsageError("There is no prompt: give points, a box or a mask.")
    return prompts


def _read_prompt_mask(path: Path, image: Geometry, working: Geometry) -> np.ndarray:
    """(k, j, i) float32 probability of the object on the working grid: the file's own, or 1 where a label is not 0."""
    from semisam.files.volume_files import read_image

    mask = read_image(path)
    offset = image.world_to_index(mask.geometry.index_to_world([0, 0, 0]))
    parallel = axis_map(mask.geometry, image) == ((0, 1, 2), (False, False, False))
    whole = np.abs(offset - np.rint(offset)).max() < 0.1
    if not parallel or not whole or not np.allclose(mask.spacing, image.spacing, rtol=1e-3):
        raise UsageError(f'The mask "{path}" is not on the grid of the image: save it on the image\'s grid.')
    voxels = mask.voxels
    if float(voxels.min()) < 0:
        raise UsageError(f'The mask "{path}" holds negative numbers: give a label map or probabilities from 0 to 1.')
    if float(voxels.max()) > 1:
        voxels = (voxels > 0).astype(np.float32)
    probability = np.zeros(working.shape, np.float32)
    region = bounding_box(voxels > 0)
    if region is not None:
        first = np.rint(offset).astype(int) + [part.start for part in region]
        last = np.rint(offset).astype(int) + [part.stop for part in region]
        if (first < 0).any() or (last > image.shape).any():
            raise UsageError(
                f'The mask "{path}" marks voxels outside of the image: is it the mask of another one? Give one of this '
                "image."
            )
        inner = _widened(region, mask.geometry)
        part = _covering(inner, mask.geometry, working)
        source = part_of(mask.geometry, inner)
        probability[part] = resample_probabilities(voxels[inner][None], source, part_of(working, part))[0]
    return probability


def on_image(
    probability: np.ndarray, working: Geometry, image: Geometry, threshold: float
) -> tuple[np.ndarray, Region]:
    """The object on the image's grid: a bool array, and the box of the image that it fills, without empty borders.

    An object that is not there is one empty voxel.
    """
    nothing = np.zeros((1, 1, 1), bool), (slice(0, 1), slice(0, 1), slice(0, 1))
    region = bounding_box(probability >= threshold)
    if region is None:
        return nothing
    if working == image:
        return probability[region] >= threshold, region
    # Between voxels below the threshold interpolation stays below it, so a margin of one voxel is enough.
    inner = _widened(region, working)
    outer = _covering(inner, working, image)
    part = resample_probabilities(probability[inner][None], part_of(working, inner), part_of(image, outer))[0]
    found = part >= threshold
    tight = bounding_box(found)
    if tight is None:
        return nothing
    start = [part.start for part in outer]
    return found[tight], _region(
        [a + part.start for a, part in zip(start, tight, strict=True)],
        [a + part.stop for a, part in zip(start, tight, strict=True)],
        image,
    )


def _widened(region: Region, geometry: Geometry) -> Region:
    """The region with a margin of one voxel, as far as the grid reaches."""
    return _region([part.start - 1 for part in region], [part.stop + 1 for part in region], geometry)


def _covering(region: Region, source: Geometry, target: Geometry) -> Region:
    """The voxels of ``target`` that lie where ``region`` of ``source`` lies; those at its border are included."""
    faces = np.array([[part.start - 0.5, part.stop - 0.5] for part in region])
    corners = np.stack(np.meshgrid(*faces, indexing="ij"), -1).reshape(-1, 3)
    index = target.world_to_index(source.index_to_world(corners))
    return _region(np.floor(index.min(0)), np.ceil(index.max(0)) + 1, target)


def _region(lower: Sequence[float] | np.ndarray, upper: Sequence[float] | np.ndarray, geometry: Geometry) -> Region:
    """The voxels from ``lower`` up to and without ``upper`` that lie in ``geometry``; one at least."""
    first = np.clip(lower, 0, np.asarray(geometry.shape) - 1).astype(int)
    last = np.clip(upper, first + 1, geometry.shape).astype(int)
    k, j, i = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return k, j, i


def write_object(path: Path, found: np.ndarray, geometry: Geometry, segment: Segment) -> None:
    """Write a bool array (k, j, i) as a mask with 1 for the object, in the format of the extension."""
    if path.name.lower().endswith(".nrrd") and not path.name.lower().endswith(".seg.nrrd"):
        write_raw_nrrd(path, found, geometry)
        return
    from semisam.files.volume_files import write_mask

    write_mask(path, Volume(found.astype(np.uint8), geometry), [Segment(1, segment.name, segment.color)])


def part_of(geometry: Geometry, region: Region) -> Geometry:
    """The grid of a box of voxels within ``geometry``."""
    start = [part.start for part in region]
    k, j, i = (part.stop - part.start for part in region)
    x, y, z = geometry.index_to_world(start).tolist()
    return Geometry((k, j, i), geometry.spacing, (x, y, z), geometry.direction)


def everything(geometry: Geometry) -> Region:
    """All voxels of a grid."""
    k, j, i = (slice(0, size) for size in geometry.shape)
    return k, j, i


def writable(region: Region, geometry: Geometry) -> Region:
    """The region with two voxels or more along every axis: files of a single slice are not read as volumes."""
    first = [min(part.start, max(0, size - 2)) for part, size in zip(region, geometry.shape, strict=True)]
    return _region(first, [max(a + 2, part.stop) for a, part in zip(first, region, strict=True)], geometry)


def within(region: Region, outer: Region) -> Region:
    """``region``, counted from the first voxel of ``outer``."""
    k, j, i = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(region, outer, strict=True))
    return k, j, i


def numbers(region: Region) -> tuple[int, ...]:
    """(k0, j0, i0, k1, j1, i1), half-open."""
    return (*(part.start for part in region), *(part.stop for part in region))


def _words(numbers: Sequence[float] | np.ndarray) -> str:
    return ",".join(f"{number:g}" for number in numbers)
