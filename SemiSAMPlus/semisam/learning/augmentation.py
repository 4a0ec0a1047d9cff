"""Strong augmentation: one resampling with a random affine and elastic map, and random intensities.

The spatial map is drawn in mm, so that thick-sliced volumes are not sheared across their slices, and goes from the
working copy straight to the patch: nothing is interpolated twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Strength:
    """How far augmentation goes. Angles in degrees, lengths as a fraction of the patch's shortest side in mm.

    rotation_in_plane is for volumes of thick slices, which are planned along the organ of each patient: about the axis
    across the slices the organ may lie anyhow. Nothing else turns them.
    """

    rotation: float = 20.0
    rotation_in_plane: float = 60.0
    scale: float = 0.2
    shift: float = 0.08
    elastic: float = 0.05
    gamma: float = 0.5
    contrast: float = 0.3
    bias_field: float = 0.25
    noise: float = 0.25


class Augmentation:
    """Draws random patches of ``patch`` (k, j, i) voxels of ``spacing`` mm."""

    def __init__(
        self,
        patch: tuple[int, int, int],
        spacing: tuple[float, float, float],
        rng: np.random.Generator,
        mirror: bool = False,
        device: str = "cpu",
        strength: Strength | None = None,
    ) -> None:
        self._patch = patch
        self._spacing = torch.tensor(spacing, dtype=torch.float32)
        self._rng = rng
        self._mirror = mirror
        self._device = device
        self._strength = strength or Strength()
        axes = [(torch.arange(size) - (size - 1) / 2) * step for size, step in zip(patch, spacing, strict=True)]
        self._grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).float().to(device)  # mm from the centre
        self._length = min(size * step for size, step in zip(patch, spacing, strict=True))
        # A volume of few thick slices is turned in its plane only: across it there is nothing to interpolate from.
        self._thick = max(spacing) > 3 * min(spacing)

    def spatial(self, centre: np.ndarray, augment: bool = True) -> Tensor:
        """Where a patch round ``centre`` (k, j, i voxels of a volume) is taken from: (k, j, i, 3) voxel indices."""
        position = self._grid
        if augment:
            position = position @ self._affine().T + self._elastic()
        middle = torch.as_tensor(centre, dtype=torch.float32).to(self._device)
        return position / self._spacing.to(self._device) + middle

    def warp(self, volume: Tensor, index: Tensor, border: bool) -> Tensor:
        """Sample volume (channel, k, j, i) at voxel indices (k, j, i, 3) -> (channel, k, j, i), linearly; outside is
        its edge or 0."""
        half = (torch.tensor(volume.shape[1:], dtype=torch.float32) - 1).clamp_min(1) / 2
        grid = (index / half.to(self._device) - 1).flip(-1)[None]
        mode = "border" if border else "zeros"
        return F.grid_sample(volume[None], grid, mode="bilinear", padding_mode=mode, align_corners=True)[0]

    def intensity(self, image: Tensor, strong: bool = True) -> Tensor:
        """New intensities for an image (1, k, j, i) of zero mean and unit variance."""
        draw, strength = self._rng.uniform, self._strength
        if not strong:
            image = image * float(draw(0.9, 1.1)) + float(draw(-0.1, 0.1))
            return image + 0.05 * self._noise(image.shape)
        if draw() < 0.5:
            low, high = image.min(), image.max()
            scaled = ((image - low) / (high - low + 1e-6)) ** math.exp(draw(-strength.gamma, strength.gamma))
            image = (scaled - scaled.mean()) / (scaled.std() + 1e-6)
        if draw() < 0.4:
            field = self._noise((1, 1, 3, 3, 3)) * strength.bias_field
            field = F.interpolate(field, size=image.shape[1:], mode="trilinear", align_corners=True)[0]
            image = image * (1 + field)
        if draw() < 0.25:
            image = F.avg_pool3d(image[None], 3, 1, 1, count_include_pad=False)[0]
        elif draw() < 0.2:
            coarse = F.interpolate(image[None], scale_factor=0.5, mode="trilinear", align_corners=False)
            image = F.interpolate(coarse, size=image.shape[1:], mode="trilinear", align_corners=False)[0]
        contrast = float(draw(1 - strength.contrast, 1 + strength.contrast))
        image = image * contrast + float(draw(-strength.contrast, strength.contrast))
        return image + self._noise(image.shape) * float(draw(0, strength.noise))

    def _noise(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        noise = self._rng.standard_normal(tuple(shape), dtype=np.float32)
        return torch.from_numpy(noise).to(self._device)

    def _affine(self) -> Tensor:
        rng, strength = self._rng, self._strength
        most = np.full(3, strength.rotation)
        if self._thick:
            most = np.where(np.arange(3) == int(torch.argmax(self._spacing)), strength.rotation_in_plane, 0.0)
        angles = np.radians(rng.uniform(-1, 1, 3) * most)
        matrix = np.eye(3)
        for axis, angle in enumerate(angles):
            first, second = [other for other in range(3) if other != axis]
            turn = np.eye(3)
            turn[first, first] = turn[second, second] = math.cos(angle)
            turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
            matrix = matrix @ turn
        scale = 1 + rng.uniform(-strength.scale, strength.scale) + rng.uniform(-0.5, 0.5, 3) * strength.scale
        matrix = matrix @ np.diag(scale)
        if self._mirror and rng.random() < 0.5:
            matrix[:, 2] *= -1  # the i axis of canonical volumes runs from right to left
        return torch.from_numpy(matrix.astype(np.float32)).to(self._device)

    def _elastic(self) -> Tensor:
        rng, strength = self._rng, self._strength
        shift = torch.from_numpy(rng.uniform(-1, 1, 3).astype(np.float32) * strength.shift * self._length)
        amplitude = float(rng.uniform(0, strength.elastic)) * self._length
        control = torch.from_numpy(rng.standard_normal((1, 3, 4, 4, 4)).astype(np.float32)).to(self._device) * amplitude
        if self._thick:
            control[:, int(torch.argmax(self._spacing))] = 0.0
        field = F.interpolate(control, size=self._patch, mode="trilinear", align_corners=True)
        return field[0].permute(1, 2, 3, 0) + shift.to(self._device)
