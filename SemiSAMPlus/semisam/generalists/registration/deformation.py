"""Smooth deformation of one image onto another with SimpleITK, from an affine start.

Images are in canonical axis order with their centre at the origin of space; what remains of an oblique direction is
for the affine map. Every filter gets its number of threads, so the process-wide default stays as it is. Symmetric
forces demons (Vercauteren et al., Diffeomorphic demons, NeuroImage 45, 2009) on half the resolution, then on all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import SimpleITK as sitk

_COARSE_ITERATIONS, _FINE_ITERATIONS = 60, 20
# Standard deviation, in voxels, of the smoothing of the displacements after each iteration.
_STIFFNESS = 1.0


def to_image(voxels: np.ndarray, spacing: tuple[float, float, float]) -> sitk.Image:
    """(k, j, i) voxels as an ITK image whose centre is the origin of space."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels, np.float32))
    step = [float(value) for value in spacing[::-1]]
    image.SetSpacing(step)
    image.SetOrigin([-(size - 1) / 2 * value for size, value in zip(image.GetSize(), step, strict=True)])
    return image


def from_matrix(matrix: np.ndarray, offset: np.ndarray) -> sitk.Transform:
    """The inverse of ``matrix @ position + offset`` (k, j, i mm) as a map of ITK's points (x, y, z)."""
    import SimpleITK as sitk

    inverse = np.linalg.inv(matrix)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(inverse[::-1, ::-1].ravel().tolist())
    transform.SetTranslation((-inverse @ offset)[::-1].tolist())
    return transform


def deformation(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform, threads: int = 1) -> sitk.Transform:
    """The whole map of points of ``fixed`` to points of ``moving``, given an affine ``start``."""
    import SimpleITK as sitk

    matching = sitk.HistogramMatchingImageFilter()
    matching.SetNumberOfThreads(threads)
    matching.SetNumberOfHistogramLevels(128)
    matching.SetNumberOfMatchPoints(10)
    moved = matching.Execute(warp(moving, fixed, start, threads), fixed)
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfThreads(threads)
    demons.SmoothDisplacementFieldOn()
    demons.SetStandardDeviations(_STIFFNESS)
    demons.SetNumberOfIterations(_COARSE_ITERATIONS)
    field = demons.Execute(_halved(fixed, threads), _halved(moved, threads))
    enlarge = sitk.ResampleImageFilter()
    enlarge.SetNumberOfThreads(threads)
    enlarge.SetReferenceImage(fixed)
    enlarge.SetInterpolator(sitk.sitkLinear)
    enlarge.UseNearestNeighborExtrapolatorOn()
    demons.SetNumberOfIterations(_FINE_ITERATIONS)
    field = demons.Execute(fixed, moved, enlarge.Execute(field))
    # The displacement comes first: from the fixed grid into the affinely moved image, and on from there.
    return sitk.CompositeTransform([start, sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))])


def warp(
    moving: sitk.Image, fixed: sitk.Image, transform: sitk.Transform, threads: int = 1, outside: float | None = None
) -> sitk.Image:
    """``moving`` on the grid of ``fixed``, linear; beyond its field of view ``outside``, or else its minimum."""
    import SimpleITK as sitk

    resampler = sitk.ResampleImageFilter()
    resampler.SetNumberOfThreads(threads)
    resampler.SetReferenceImage(fixed)
    resampler.SetTransform(transform)
    resampler.SetInterpolator(sitk.sitkLinear)
    if outside is None:
        outside = float(sitk.GetArrayViewFromImage(moving).min())
    resampler.SetDefaultPixelValue(outside)
    return resampler.Execute(moving)


def positions(fixed: sitk.Image, transform: sitk.Transform) -> np.ndarray:
    """(3, k, j, i) float32: where ``transform`` takes the voxels of ``fixed``, as (k, j, i) mm from the centre."""
    import SimpleITK as sitk

    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, fixed.GetSize(), fixed.GetOrigin(), fixed.GetSpacing(), fixed.GetDirection()
    )
    moved = np.moveaxis(sitk.GetArrayFromImage(field)[..., ::-1], -1, 0).astype(np.float32)
    for axis, (size, spacing, origin) in enumerate(
        zip(fixed.GetSize()[::-1], fixed.GetSpacing()[::-1], fixed.GetOrigin()[::-1], strict=True)
    ):
        moved[axis] += (origin + spacing * np.arange(size)).reshape([-1 if n == axis else 1 for n in range(3)])
    return moved


def _halved(image: sitk.Image, threads: int) -> sitk.Image:
    """The image at twice the spacing along the axes that are long and fine enough, smoothed accordingly."""
    import SimpleITK as sitk

    size, spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    factor = np.where((size >= 16) & (spacing < 2 * spacing.min()), 2, 1)
    smooth = sitk.SmoothingRecursiveGaussianImageFilter()
    smooth.SetNumberOfThreads(threads)
    # Axes that keep their spacing get next to no smoothing (the filter wants a positive number).
    smooth.SetSigma(np.where(factor > 1, 1.44, 0.1) * spacing)
    if min(size) >= 4:
        image = smooth.Execute(image)
    center = np.array(image.GetOrigin()) + (size - 1) / 2 * spacing
    new_size, new_spacing = -(-size // factor), spacing * factor
    grid = sitk.Image([int(n) for n in new_size], sitk.sitkFloat32)
    grid.SetSpacing(new_spacing.tolist())
    grid.SetOrigin((center - (new_size - 1) / 2 * new_spacing).tolist())
    return warp(image, grid, sitk.Transform(3, sitk.sitkIdentity), threads)
