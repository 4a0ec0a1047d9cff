"""Made-up volumes for the demonstration: a bent organ in two parts, among bodies that look like it.

Every volume is a different "patient": the organ is bent, turned, scaled and deformed, the contrast, noise, bias field,
voxel size and axis order change. The truth is known, so the demonstration can say how good its masks are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semisam.files.volume_files import write_image, write_mask
from semisam.segments import Segment, default_color
from semisam.volumes import Geometry, Volume, reorder_voxels

SEGMENTS = (Segment(1, "head", default_color(3)), Segment(2, "tail", default_color(1)))

# Field of view in mm along k, j, i.
_EXTENT = np.array([46.0, 56.0, 50.0])
# (k, j, i) mm; thick slices are as usual as fine voxels.
_SPACINGS = ((1.5, 1.5, 1.5), (1.3, 1.5, 1.5), (2.6, 1.3, 1.3))
_ORDERS = ((0, 1, 2), (1, 0, 2), (2, 1, 0), (0, 2, 1))


@dataclass(frozen=True)
class DemoCase:
    """One made-up image with its true mask (values of ``SEGMENTS``) on the same grid."""

    name: str
    image: Volume
    truth: Volume


def make_cases(count: int, seed: int = 0, first: int = 1) -> list[DemoCase]:
    """``count`` cases called case01, case02, ... (from the number ``first``); the same ones for the same seed."""
    return [make_case(f"case{first + n:02d}", np.random.default_rng([seed, first + n])) for n in range(count)]


def write_cases(cases: list[DemoCase], images: Path, labels: Path) -> None:
    """Images and true masks as NIfTI files in two folders."""
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        write_image(images / f"{case.name}.nii.gz", case.image)
        write_mask(labels / f"{case.name}.nii.gz", case.truth, SEGMENTS)


def make_case(name: str, rng: np.random.Generator) -> DemoCase:
    """One case, wholly decided by ``rng``."""
    spacing = np.array(_SPACINGS[rng.integers(len(_SPACINGS))])
    shape = np.round(_EXTENT / spacing).astype(int)
    # Positions in mm from the centre, pushed about by a smooth field: everything in the patient deforms together.
    places = np.stack(np.meshgrid(*(_axis(n, s) for n, s in zip(shape, spacing, strict=True)), indexing="ij"), -1)
    places = places + np.stack([1.5 * _smooth(rng, shape, 3) for _ in range(3)], -1)
    head, tail = _organ(places @ _rotation(rng, 0.3) + rng.normal(0, 2.0, 3), rng)
    body = np.sum((places / (_EXTENT * [0.62, 0.47, 0.46])) ** 2, -1) < 1
    image = np.where(body, 0.30 + 0.04 * _smooth(rng, shape, 10), 0.02)
    for _ in range(7):  # vessels and knots; a part of them as bright as the organ
        level = rng.choice([0.12, 0.45, 0.60, 0.75]) + rng.normal(0, 0.03)
        image = np.where(body & _distractor(places, rng) & ~head & ~tail, level, image)
    contrast = rng.uniform(0.26, 0.34)
    image = np.where(head, 0.32 + 1.3 * contrast, np.where(tail, 0.32 + 0.75 * contrast, image))
    image = _blurred(image, 0.9 / spacing)
    image = image * np.exp(0.10 * _smooth(rng, shape, 2)) + rng.normal(0, 0.035, shape)
    scale = rng.uniform(300, 1500)  # as with MR, the numbers mean nothing
    truth = np.where(head, 1, np.where(tail, 2, 0)).astype(np.uint8)
    geometry = Geometry(
        (int(shape[0]), int(shape[1]), int(shape[2])),
        (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        tuple(rng.uniform(-80, 80, 3).round(2).tolist()),
        tuple(_tilt(rng).ravel().tolist()),
    )
    order = _ORDERS[rng.integers(len(_ORDERS))]
    flips = tuple(bool(flip) for flip in rng.integers(0, 2, 3))
    stored = geometry.reordered(order, flips)
    voxels = np.clip(image * scale, 0, None).round().astype(np.float32)
    return DemoCase(
        name,
        Volume(reorder_voxels(voxels, order, flips), stored),
        Volume(reorder_voxels(truth, order, flips), stored),
    )


def _axis(size: int, spacing: float) -> np.ndarray:
    return (np.arange(size) - (size - 1) / 2) * spacing


def _organ(places: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A bent, tapering sausage along j, and the plane that parts its head from its tail."""
    k, j, i = np.moveaxis(places, -1, 0)
    length, width = rng.uniform(16, 20), rng.uniform(6.5, 8.0)
    bend = rng.uniform(0.012, 0.024)
    along = j / length
    radius = width * (1 - 0.22 * along) * np.sqrt(np.clip(1 - along**2, 0, None))
    across = np.sqrt(((k + bend * (j**2) - 3) * 1.15) ** 2 + i**2)
    organ = across < radius
    border = j > rng.normal(0, 1.5) + 2
    return organ & ~border, organ & border


def _distractor(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tube or an ellipsoid somewhere in the body."""
    turned = (places - rng.uniform(-0.38, 0.38, 3) * _EXTENT) @ _rotation(rng, np.pi)
    radii = rng.uniform(2.5, 5.5, 3)
    if rng.random() < 0.4:
        radii = np.array([40.0, rng.uniform(1.8, 3.2), rng.uniform(1.8, 3.2)])
    return np.sum((turned / radii) ** 2, -1) < 1


def _rotation(rng: np.random.Generator, most: float) -> np.ndarray:
    """A turn by up to ``most`` radians round a random axis."""
    x, y, z = axis = rng.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    angle = rng.uniform(-most, most)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _tilt(rng: np.random.Generator) -> np.ndarray:
    """Directions of the axes (columns i, j, k): every third scan is oblique."""
    return _rotation(rng, 0.2) if rng.random() < 0.34 else np.eye(3)


def _smooth(rng: np.random.Generator, shape: np.ndarray, knots: int) -> np.ndarray:
    """A smooth random field with standard deviation 1."""
    from scipy.ndimage import zoom

    coarse = rng.normal(size=(knots + 2,) * 3)
    field = zoom(coarse, shape / np.array(coarse.shape), order=3, mode="nearest", grid_mode=True)
    return (field - field.mean()) / (field.std() + 1e-6)


def _blurred(image: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """The partial volume effect."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, sigma * 0.7)
