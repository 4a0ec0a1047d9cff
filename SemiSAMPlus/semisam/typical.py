"""Which cases to annotate first: those that are most like the others.

Nothing is known about the cases at that point but their images. So every image is reduced to a thumbnail of its whole
field of view, two cases are as alike as their thumbnails correlate, and cases are chosen so that most others have one
like themselves among the chosen (facility location, solved greedily). What that is worth: Testing/benchmarks/
few_labels.md, "Which cases to annotate first".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from semisam.errors import SemiSAMError
from semisam.files.atomic import replacing
from semisam.project.image_version import image_version
from semisam.ranking import keep_order

if TYPE_CHECKING:
    from semisam.project.view import ProjectView
    from semisam.volumes import Volume

# Voxels along each side of a thumbnail: the outlines of organs, not their details.
_SIDE = 16
# Thumbnails are compared at all shifts of up to so many voxels: no two patients lie alike.
_SHIFT = 4
# Local mean and contrast are taken over a Gaussian of this standard deviation, in voxels of a thumbnail.
_LOCAL = 3.0
# The part of the cases that is to be covered; those like no other must not decide.
_COVERED = 0.75
# With more cases than this, so many of them, evenly spread, stand for all.
_AUDIENCE = 200


def choose(
    project: ProjectView, on_case: Callable[[int, int, str], None], should_stop: Callable[[], bool]
) -> list[str]:
    """All cases that nobody has annotated, the one to annotate first in front; kept for ``ranking.kept_order``.

    What is annotated already counts as chosen, so that the next one is like the cases that are not covered yet. Cases
    whose image cannot be read come last. Empty when it was stopped.
    """
    names = sorted(project.cases)
    thumbnails = {}
    for index, name in enumerate(names):
        if should_stop():
            return []
        on_case(index, len(names), name)
        try:
            thumbnails[name] = _thumbnail_of(project, name)
        except (SemiSAMError, OSError):
            continue  # shown to the user when the case is opened
    known = list(thumbnails)
    annotated = set(project.training_cases())
    order: list[str] = []
    if known:
        alike = similarities(np.stack([thumbnails[name] for name in known]))
        given = [index for index, name in enumerate(known) if name in annotated]
        order = [known[index] for index in coverage_order(alike, given)]
    order += [name for name in names if name not in thumbnails and name not in annotated]
    keep_order(project.cache_dir, order)
    return order


def thumbnail(volume: Volume) -> np.ndarray:
    """(16, 16, 16) float32 of the whole field of view, in canonical axes, without local mean and contrast."""
    from scipy.ndimage import gaussian_filter, zoom

    from semisam.generalists.grids import robust_scaled
    from semisam.volumes import resample_image, working_geometry

    grid = volume.geometry.canonical()
    # Never finer than the image: a stack of a few slices is stretched afterwards.
    spacing = [max(step, step * size / _SIDE) for step, size in zip(grid.spacing, grid.shape, strict=True)]
    small = resample_image(volume, working_geometry(volume.geometry, spacing))
    small = zoom(robust_scaled(small), [_SIDE / size for size in small.shape], order=1, mode="nearest", grid_mode=True)
    mean = gaussian_filter(small, _LOCAL)
    deviation = np.sqrt(gaussian_filter((small - mean) ** 2, _LOCAL) + 1e-4)
    return ((small - mean) / deviation).astype(np.float32)


def similarities(thumbnails: np.ndarray) -> np.ndarray:
    """(n, side, side, side) thumbnails -> (n, n) correlations, each at its best shift; the middle counts most."""
    from scipy.fft import irfftn, rfftn

    side = thumbnails.shape[-1]
    window = np.sqrt(np.hanning(side + 2)[1:-1])
    weight = window[:, None, None] * window[:, None] * window
    centred = (thumbnails - thumbnails.mean((1, 2, 3), keepdims=True)) * weight
    centred /= np.sqrt((centred**2).sum((1, 2, 3), keepdims=True)) + 1e-6
    shape = (side + 2 * _SHIFT,) * 3  # as much room as the shifts need
    spectra = rfftn(centred, shape, axes=(1, 2, 3))
    near = np.r_[0 : _SHIFT + 1, -_SHIFT:0]
    alike = np.eye(len(thumbnails), dtype=np.float32)
    for index in range(len(thumbnails)):
        correlation = irfftn(spectra[index:] * spectra[index].conj(), shape, axes=(1, 2, 3))
        best = correlation[:, near][:, :, near][:, :, :, near].max((1, 2, 3))
        alike[index, index:] = alike[index:, index] = best
    return alike


def coverage_order(alike: np.ndarray, given: Sequence[int] = ()) -> list[int]:
    """All indices but ``given``, each next one chosen so that most cases get one like themselves.

    alike  (n, n) similarity of any two cases
    given  cases that are chosen already
    """
    count = len(alike)
    audience = np.unique(np.linspace(0, count - 1, min(count, _AUDIENCE)).round().astype(int))
    kept = max(1, round(_COVERED * len(audience)))
    covered = alike[list(given)][:, audience].max(0) if len(given) else np.full(len(audience), -1.0)
    left = [index for index in range(count) if index not in set(given)]
    order = []
    while left:
        reached = np.maximum(alike[left][:, audience], covered)
        value = np.partition(reached, len(audience) - kept, axis=1)[:, len(audience) - kept :].mean(1)
        best = left.pop(int(value.argmax()))
        covered = np.maximum(covered, alike[best, audience])
        order.append(best)
    return order


def _thumbnail_of(project: ProjectView, name: str) -> np.ndarray:
    """From the cache as long as the image file is the same."""
    _, changed, size = image_version(project.cases[name].image)
    path = project.cache_dir / "thumbnails" / f"{name}-{size}-{changed}.npy"
    try:
        kept: np.ndarray = np.load(path)
        if kept.shape == (_SIDE,) * 3:
            return kept
    except (OSError, ValueError, EOFError):
        pass  # not there, or cut short by a kill: made anew
    made = thumbnail(project.image(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, made)
    return made
