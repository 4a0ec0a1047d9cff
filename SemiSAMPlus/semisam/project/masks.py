"""Masks against the image and the segments they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semisam.errors import ProjectError, UsageError
from semisam.project.image_version import image_version as _version
from semisam.segments import OUTSIDE, Segment

if TYPE_CHECKING:
    import numpy as np

    from semisam.volumes import Geometry, Volume

# Voxels are not cubes any more where one side is so many times as long as another.
_THICK = 1.5


class ImageGeometries:
    """The grids of images, read once for each version of a file."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], Geometry] = {}

    def of(self, image: Path) -> Geometry:
        """The grid of an image file or DICOM folder. Raises VolumeError."""
        key = _version(image)
        return self._known[key] if key in self._known else self.read(image).geometry

    def read(self, image: Path) -> Volume:
        """The image itself; its grid is remembered."""
        from semisam.files.volume_files import read_image

        key = _version(image)
        volume = read_image(image)
        self._known[key] = volume.geometry
        return volume


def checked_mask(name: str, mask: Volume, geometry: Geometry, segments: Sequence[Segment]) -> Volume:
    """The mask as uint8 on exactly ``geometry``. Raises ProjectError when it does not fit the image or the segments."""
    import numpy as np

    from semisam.volumes import Volume

    if not mask.geometry.is_close(geometry):
        raise ProjectError(
            f'The mask for the case "{name}" is not on the grid of its image (mask {_words(mask.geometry)}; '
            f"image {_words(geometry)}): resample it to the image first."
        )
    voxels = mask.voxels
    if voxels.dtype != np.bool_ and not np.issubdtype(voxels.dtype, np.integer):
        raise ProjectError(f'The mask for the case "{name}" holds {voxels.dtype} numbers instead of segment values.')
    known = np.array([0, *(segment.value for segment in segments)])
    unknown = np.setdiff1d(np.unique(voxels), known)
    if len(unknown):
        values = ", ".join(str(value) for value in unknown[:5])
        raise ProjectError(
            f'The mask for the case "{name}" holds the value {values}, which is no segment of the project '
            f"({', '.join(f'{segment.value}={segment.name}' for segment in segments)})."
        )
    return Volume(np.ascontiguousarray(voxels, np.uint8), geometry)


def read_annotation(
    path: Path, segments: Sequence[Segment], reference: Geometry | None = None
) -> tuple[Volume, np.ndarray | None]:
    """An annotation file: the mask, and (k, j, i) bool where it is known, or None for a whole annotation.

    A .seg.nrrd file with voxels of a segment called ``OUTSIDE.name`` is a partial annotation. The value alone says
    nothing: in a label map it may well be the structure, or what is to be ignored. Raises VolumeError as ``read_mask``
    does.
    """
    import numpy as np

    from semisam.files.volume_files import named_segments, read_mask
    from semisam.volumes import Volume

    marked = any(segment.name.casefold() == OUTSIDE.name for segment in named_segments(path))
    if not marked or any(segment.value == OUTSIDE.value for segment in segments):
        return read_mask(path, segments, reference), None
    mask = read_mask(path, (*segments, OUTSIDE), reference)
    outside = mask.voxels == OUTSIDE.value
    if not outside.any():
        return mask, None
    return Volume(np.where(outside, 0, mask.voxels).astype(np.uint8), mask.geometry), mask.voxels > 0


def read_given(
    path: Path, segments: Sequence[Segment], reference: Geometry, unknown: str | None
) -> tuple[Volume, np.ndarray | None]:
    """A mask that a person gives, and (k, j, i) bool where it is known, or None for all of it.

    unknown  what of it is unknown: None for nothing, unless the file itself tells; "slices" for the slices with nothing
             drawn on them; or the value of the unknown voxels, as in scribbles, where 0 is what is known to be outside

    Raises VolumeError, and UsageError for any other ``unknown``.
    """
    if unknown is None:
        return read_annotation(path, segments, reference)
    import numpy as np

    from semisam.files.volume_files import read_mask
    from semisam.volumes import Volume

    if unknown == "slices":
        mask = read_mask(path, segments, reference)
        return mask, drawn_slices(mask)
    if not unknown.isdigit() or not 1 <= int(unknown) <= 255 or int(unknown) in {s.value for s in segments}:
        raise UsageError(
            f'"{unknown}" cannot mean unknown: say "slices", or a value from 1 to 255 that no segment has.'
        )
    nobody_knows = Segment(int(unknown), "unknown", OUTSIDE.color)
    mask = read_mask(path, (*segments, nobody_knows), reference)
    known = mask.voxels != nobody_knows.value
    return Volume(np.where(known, mask.voxels, 0).astype(np.uint8), mask.geometry), known


def volumes_ml(mask: Volume, segments: Sequence[Segment]) -> dict[str, float]:
    """Volume of each segment in a mask, millilitres, by name."""
    voxel_ml = mask.geometry.voxel_volume / 1000
    return {segment.name: float((mask.voxels == segment.value).sum()) * voxel_ml for segment in segments}


def drawn_slices(mask: Volume) -> np.ndarray:
    """(k, j, i) bool: the slices with something drawn on them, along the axis that one draws across.

    That is the axis of the longest voxels, or, where the voxels are about cubes, the one with the fewest such slices.
    """
    import numpy as np

    axes = range(3)
    drawn = [mask.voxels.any(axis=tuple(other for other in axes if other != axis)) for axis in axes]
    spacing = mask.geometry.spacing
    longest = int(np.argmax(spacing))
    if spacing[longest] > _THICK * min(spacing):
        axis = longest
    else:
        axis = min(axes, key=lambda axis: drawn[axis].mean())
    known = drawn[axis].reshape([-1 if other == axis else 1 for other in axes])
    return np.broadcast_to(known, mask.shape).copy()


def shows_enough(mask: Volume, known: np.ndarray) -> bool:
    """Whether a partial annotation shows both: some of a segment, and what is outside."""
    marked = mask.voxels > 0
    return bool((marked & known).any() and (~marked & known).any())


def with_outside(name: str, mask: Volume, known: np.ndarray, segments: Sequence[Segment]) -> Volume:
    """The mask as the file of a partial annotation has it. Raises ProjectError where ``known`` makes no sense."""
    import numpy as np

    from semisam.volumes import Volume

    if known.shape != mask.shape:
        raise ProjectError(f'What is known of the case "{name}" is not on the grid of its image.')
    if any(segment.value == OUTSIDE.value for segment in segments):
        raise ProjectError(
            f"A segment of this project has the value {OUTSIDE.value}, which partial annotations need: give it another."
        )
    voxels = np.where(known, np.where(mask.voxels == 0, OUTSIDE.value, mask.voxels), 0).astype(np.uint8)
    if not shows_enough(mask, known):
        raise ProjectError(
            f'The partial annotation of the case "{name}" must show both: some of a segment, and what is outside.'
        )
    return Volume(voxels, mask.geometry)


def write_merged(
    target: Path, proposal: Path, annotation: Path | None, segments: Sequence[Segment], chosen: Sequence[Segment]
) -> None:
    """Write the mask ``annotation`` (None: an empty one) with the ``chosen`` segments as in ``proposal``."""
    import numpy as np

    from semisam.files.volume_files import read_mask, write_mask
    from semisam.volumes import Volume

    proposed = read_mask(proposal, segments)
    if annotation is None:
        present = np.zeros(proposed.shape, np.uint8)
    else:
        present = read_annotation(annotation, segments, proposed.geometry)[0].voxels
    voxels = merged(present, proposed.voxels, [segment.value for segment in chosen])
    write_mask(target, Volume(voxels, proposed.geometry), segments)


def merged(annotation: np.ndarray, proposal: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """``annotation`` with the segments ``values`` (and only these) as in ``proposal``; all (k, j, i) uint8.

    A voxel that the annotation gives to another segment stays with that segment.
    """
    import numpy as np

    taken_over = np.isin(proposal, values)
    kept = (annotation != 0) & ~np.isin(annotation, values)
    return np.where(kept, annotation, np.where(taken_over, proposal, 0)).astype(np.uint8)


def _words(geometry: Geometry) -> str:
    size = " x ".join(str(number) for number in geometry.shape)
    spacing = " x ".join(f"{number:.4g}" for number in geometry.spacing)
    origin = ", ".join(f"{number:.4g}" for number in geometry.origin)
    return f"{size} voxels of {spacing} mm at ({origin})"
