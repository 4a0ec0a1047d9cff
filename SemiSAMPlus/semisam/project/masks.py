"""Masks against the image and the segments they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semisam.errors import ProjectError
from semisam.segments import Segment

if TYPE_CHECKING:
    import numpy as np

    from semisam.volumes import Geometry, Volume


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


def _version(image: Path) -> tuple[Path, int, int]:
    status = image.stat()
    return (image, status.st_mtime_ns, status.st_size)


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
        present = read_mask(annotation, segments, proposed.geometry).voxels
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
