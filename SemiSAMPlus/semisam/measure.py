"""How good a mask is, and whether the confidence knows it.

Masks are (k, j, i) boolean arrays on one grid. Empty masks: if both are empty the program was right (Dice 1, distances
0); if one is, Dice is 0 and distances are undefined (None), and means leave them out and say how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from semisam.volumes import bounding_box


@dataclass(frozen=True)
class Measures:
    """One segment of one case against its reference.

    dice                  overlap, 0 to 1
    hd95_mm               larger of the two directed 95th percentiles of surface distances
    surface_distance_mm   average symmetric surface distance (ASSD)
    volume_ml             of the mask; reference_ml of the reference
    volume_error_percent  signed, of the reference's volume; None when the reference is empty and the mask is not
    """

    dice: float
    hd95_mm: float | None
    surface_distance_mm: float | None
    volume_ml: float
    reference_ml: float
    volume_error_percent: float | None

    def to_dict(self) -> dict[str, float | None]:
        return asdict(self)


def measure(mask: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> Measures:
    """Compare two boolean masks (k, j, i) with voxels of ``spacing`` (k, j, i) mm. ValueError for different shapes."""
    if mask.shape != reference.shape:
        raise ValueError(f"masks of {mask.shape} and {reference.shape} voxels cannot be compared")
    voxel_ml = float(np.prod(spacing)) / 1000
    volume, reference_volume = (float(np.count_nonzero(m)) * voxel_ml for m in (mask, reference))
    if reference_volume > 0:
        volume_error: float | None = 100 * (volume / reference_volume - 1)
    else:
        volume_error = 0.0 if volume == 0 else None
    hd95, assd = surface_distances(mask, reference, spacing)
    return Measures(dice(mask, reference), hd95, assd, volume, reference_volume, volume_error)


def dice(mask: np.ndarray, reference: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|); 1 when both are empty."""
    total = int(np.count_nonzero(mask)) + int(np.count_nonzero(reference))
    return 1.0 if total == 0 else 2.0 * int(np.count_nonzero(mask & reference)) / total


def surface_distances(
    mask: np.ndarray, reference: np.ndarray, spacing: Sequence[float]
) -> tuple[float | None, float | None]:
    """(HD95, ASSD) in mm between the surface voxels of two masks; (0, 0) if both are empty, (None, None) if one is.

    Distances run from voxel centre to voxel centre. HD95 is the larger of the 95th percentiles of the two directions,
    as recommended in "Metrics reloaded" (Maier-Hein et al., Nat Methods 2024).
    """
    from scipy.spatial import cKDTree

    surfaces = [surface_points(m, spacing) for m in (mask, reference)]
    if not all(len(points) for points in surfaces):
        return (None, None) if any(len(points) for points in surfaces) else (0.0, 0.0)
    there, _ = cKDTree(surfaces[1]).query(surfaces[0])
    back, _ = cKDTree(surfaces[0]).query(surfaces[1])
    hd95 = max(float(np.percentile(distances, 95)) for distances in (there, back))
    return hd95, float((there.sum() + back.sum()) / (len(there) + len(back)))


def surface_points(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """(n, 3) positions in mm of the voxels of a mask that have a face in common with a voxel outside of it."""
    box = bounding_box(mask)
    if box is None:
        return np.zeros((0, 3))
    # The edge of the image counts as outside.
    inside = np.pad(mask[box], 1)
    inner = inside.copy()
    for axis in range(3):
        inner &= np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
    found = np.argwhere(inside & ~inner) - 1
    start = np.array([part.start for part in box])
    return (found + start) * np.asarray(spacing, float)


def rank_correlation(confidence: Sequence[float], quality: Sequence[float]) -> float | None:
    """Spearman's correlation: 1 when confidence orders the cases as their true quality does.

    None for fewer than three cases or when one of the two does not vary.
    """
    first, second = (_ranks(np.asarray(values, float)) for values in (confidence, quality))
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def worst_found(confidence: Sequence[float], quality: Sequence[float], share: float = 0.2) -> float | None:
    """How many of the worst ``share`` of cases are among the ``share`` with the lowest confidence, 0 to 1.

    By chance it would be ``share``. None for fewer than five cases.
    """
    if len(quality) < 5:
        return None
    count = max(1, round(share * len(quality)))
    looked_at = set(np.argsort(np.asarray(confidence), kind="stable")[:count].tolist())
    worst = set(np.argsort(np.asarray(quality), kind="stable")[:count].tolist())
    return len(looked_at & worst) / count


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, ties get their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[inverse]
