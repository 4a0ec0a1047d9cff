"""Random smooth fields and solids on a cube: the vocabulary of the procedural worlds.

Every function takes a ``numpy.random.Generator`` and works on the cube [-1, 1]^3 sampled at ``size`` voxels along each
axis (k, j, i). Solids are returned as approximate signed distances in cube units, negative inside, so that shells,
cavities and walls are one comparison away. Nothing here reads a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as functional

KINDS = ("ellipsoid", "ellipsoid", "superquadric", "tube", "tube", "blob", "blob", "cluster")
"""Names of the solids, repeated in proportion to how often they are drawn."""


@lru_cache(maxsize=8)
def cube_grid(size: int) -> torch.Tensor:
    """(3, size, size, size) float32 coordinates k, j, i from -1 to 1. Shared: do not write into it."""
    axis = torch.linspace(-1, 1, size)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))


def smooth_noise(rng: np.random.Generator, count: int, knots: float, size: int) -> torch.Tensor:
    """(count, size, size, size) smooth random fields of zero mean and unit deviation, about ``knots`` waves an axis."""
    shape = tuple(int(max(2, round(knots * rng.uniform(0.7, 1.4)))) for _ in range(3))
    knot_values = torch.from_numpy(rng.standard_normal((1, count, *shape), dtype=np.float32))
    field = functional.interpolate(knot_values, size=(size,) * 3, mode="trilinear", align_corners=True)[0]
    deviation, mean = torch.std_mean(field, dim=(1, 2, 3), keepdim=True)
    return (field - mean) / (deviation + 1e-5)


def blur(field: torch.Tensor, sigma: float | Sequence[float]) -> torch.Tensor:
    """Gaussian blur of a (k, j, i) field, ``sigma`` in voxels, one number or one an axis; edges are repeated."""
    sigmas = (sigma,) * 3 if isinstance(sigma, (int, float)) else tuple(sigma)
    result = field[None, None]
    for axis, width in enumerate(sigmas):
        if width < 0.2:
            continue
        reach = max(1, math.ceil(2.5 * width))
        offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
        weights = torch.exp(-offsets * offsets / (2 * width * width))
        kernel_shape, padding = [1] * 5, [0] * 6
        kernel_shape[2 + axis] = -1
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = reach
        padded = functional.pad(result, padding, mode="replicate")
        result = functional.conv3d(padded, (weights / weights.sum()).view(kernel_shape))
    return result[0, 0]


def warped_grid(rng: np.random.Generator, size: int, amplitude: float) -> torch.Tensor:
    """Cube coordinates bent by smooth noise: solids evaluated on them get organic, bumpy surfaces."""
    grid = cube_grid(size) + amplitude * smooth_noise(rng, 3, rng.uniform(3, 6), size)
    if rng.random() < 0.5:
        grid = grid + 0.3 * amplitude * smooth_noise(rng, 3, rng.uniform(7, 14), size)
    return grid


def rotation(rng: np.random.Generator) -> torch.Tensor:
    """A uniformly random (3, 3) rotation matrix, from a random unit quaternion."""
    quaternion = rng.standard_normal(4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    rows = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    return torch.tensor(rows, dtype=torch.float32)


def solid(
    rng: np.random.Generator, grid: torch.Tensor, radius: float, center: np.ndarray, kind: str | None = None
) -> torch.Tensor:
    """(k, j, i) approximate signed distance to a random solid of about ``radius`` round ``center`` (cube units)."""
    kind = kind or str(rng.choice(KINDS))
    if kind == "cluster":
        return _cluster(rng, grid, radius, center)
    local = grid - torch.tensor(center, dtype=torch.float32).view(3, 1, 1, 1)
    local = (rotation(rng) @ local.reshape(3, -1)).reshape(local.shape)
    if kind == "tube":
        return _tube(rng, local, radius)
    if kind == "blob":
        wobble = smooth_noise(rng, 1, rng.uniform(3, 8), grid.shape[-1])[0]
        return local.square().sum(0).sqrt() - radius * (0.8 + rng.uniform(0.15, 0.35) * wobble)
    exponent = 2.0 if kind == "ellipsoid" else float(rng.uniform(1.2, 6.0))
    half_axes = np.exp(rng.uniform(-1.2, 0.0, 3))
    half_axes = np.maximum(half_axes / half_axes.max(), 0.22) * radius
    scaled = local.abs() / torch.tensor(half_axes, dtype=torch.float32).view(3, 1, 1, 1)
    level = scaled.clamp_min(1e-4).pow(exponent).sum(0).pow(1 / exponent)
    return (level - 1) * float(half_axes.min())


def _tube(rng: np.random.Generator, local: torch.Tensor, radius: float) -> torch.Tensor:
    """Distance to a bent chain of capsules whose thickness changes along its course."""
    count = 8
    course = np.linspace(0, 1, count)
    bend, twist = rng.uniform(-1.2, 1.2) * radius, rng.uniform(-0.6, 0.6) * radius
    path = np.stack(
        [
            radius * (2 * course - 1),
            bend * (4 * course * (1 - course) - 0.5),
            twist * np.sin(2 * math.pi * course * rng.uniform(0.5, 1.2)),
        ],
        axis=1,
    ).astype(np.float32)
    thickness = radius * rng.uniform(0.12, 0.45) * np.exp(rng.uniform(-0.6, 0.6, 3))
    thickness = np.interp(course, [0, 0.5, 1], np.clip(thickness, 0.07, 0.8 * radius + 0.02))
    distance = torch.full(local.shape[1:], 10.0)
    for index in range(count - 1):
        start = torch.from_numpy(path[index]).view(3, 1, 1, 1)
        step = torch.from_numpy(path[index + 1] - path[index]).view(3, 1, 1, 1)
        offset = local - start
        along = ((offset * step).sum(0) / float(step.square().sum())).clamp(0, 1)
        width = thickness[index] + along * float(thickness[index + 1] - thickness[index])
        capsule = (offset - along * step).square().sum(0).sqrt() - width
        distance = torch.minimum(distance, capsule)
    return distance


def _cluster(rng: np.random.Generator, grid: torch.Tensor, radius: float, center: np.ndarray) -> torch.Tensor:
    """Smooth union of two to four simple solids: chambers with vessels, lobed organs."""
    members = []
    for _ in range(int(rng.integers(2, 5))):
        place = center + rng.uniform(-0.6, 0.6, 3) * radius
        kind = str(rng.choice(["ellipsoid", "superquadric", "tube", "blob"]))
        members.append(solid(rng, grid, radius * rng.uniform(0.35, 0.7), place, kind))
    softness = 0.04
    return -softness * torch.logsumexp(torch.stack(members).clamp(-1, 1) / -softness, dim=0)
