"""Training samples from worlds: a random crop on a random scale, and prompts for one or two of its objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional

from semisam.generalists.nano.network import BOX, MASK, PROMPT_MAPS, click_maps, normalize
from semisam.pretraining.prompt_simulation import SimulatedPrompts, bounds
from semisam.pretraining.synthesis import MAX_TARGETS, World

_FEWEST_VOXELS = 60


@dataclass(frozen=True)
class Sample:
    """An image (k, j, i) float32 and its objects (bool, the same grid); the first object is the one in focus."""

    image: torch.Tensor
    targets: list[torch.Tensor]


def make_sample(rng: np.random.Generator, world: World, size: int) -> Sample | None:
    """A cube of ``size`` voxels cut from ``world`` round a random target, mirrored, turned and recolored.

    The cut is between a little more than the target and the whole world. None if no target is left in it.
    """
    volumes = np.array([np.count_nonzero(world.targets >> bit & 1) for bit in range(MAX_TARGETS)], float)
    present = np.flatnonzero(volumes)
    if len(present) == 0:
        return None
    # Large objects first more often: the windows of use are fitted to the object, too.
    chances = np.sqrt(volumes[present])
    present = rng.choice(present, len(present), replace=False, p=chances / chances.sum())
    image = torch.from_numpy(world.image.astype(np.float32))
    targets = [torch.from_numpy((world.targets >> int(bit) & 1).astype(bool)) for bit in present]
    image, targets = _crop(rng, image, targets, size)
    if not _FEWEST_VOXELS <= int(targets[0].sum()) <= targets[0].numel() // 2:
        return None
    targets = [target for target in targets if _FEWEST_VOXELS <= int(target.sum()) <= target.numel() // 2]
    order = [int(axis) for axis in rng.permutation(3)]
    mirrored = [axis for axis in range(3) if rng.random() < 0.5]

    def turn(volume: torch.Tensor) -> torch.Tensor:
        return volume.permute(order).flip(mirrored).contiguous()

    image = normalize(image, image != 0)
    image = image * rng.uniform(0.75, 1.25) + rng.normal(0, 0.15)
    if rng.random() < 0.2:
        noise = rng.standard_normal(tuple(image.shape), dtype=np.float32)
        image = image + torch.from_numpy(noise) * rng.uniform(0, 0.3)
    return Sample(turn(image), [turn(target) for target in targets])


def _crop(
    rng: np.random.Generator, image: torch.Tensor, targets: list[torch.Tensor], size: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    whole = image.shape[-1]
    lower, upper = bounds(targets[0])
    smallest = min(max(1.1 * float((upper - lower).max()), size / 1.7, 0.45 * whole), whole)
    side = int(np.clip(round(smallest + (whole + 1 - smallest) * rng.random() ** 2), 8, whole))
    slack = np.maximum(0.5 * (side - (upper - lower)), 0)
    start = 0.5 * (lower + upper) - 0.5 * side + rng.uniform(-0.8, 0.8, 3) * slack
    start = np.clip(np.round(start), 0, whole - side).astype(int)
    window = tuple(slice(int(a), int(a) + side) for a in start)
    image, targets = image[window], [target[window] for target in targets]
    if side == size:
        return image, targets
    stack = torch.stack([image, *(target.float() for target in targets)])[None]
    stack = functional.interpolate(stack, size=(size,) * 3, mode="trilinear")[0]
    return stack[0], [channel > 0.5 for channel in stack[1:]]


def prompt_maps(prompts: list[SimulatedPrompts], size: int) -> torch.Tensor:
    """(b, PROMPT_MAPS, size, size, size) float32 input of the decoder for one prompt an item."""
    most = max(len(item.points) for item in prompts)
    points, labels = torch.zeros(len(prompts), most, 3), torch.full((len(prompts), most), -1)
    maps = torch.zeros(len(prompts), PROMPT_MAPS, size, size, size)
    for number, item in enumerate(prompts):
        if item.points:
            points[number, : len(item.points)] = torch.tensor(item.points, dtype=torch.float32)
            labels[number, : len(item.points)] = torch.tensor(item.labels)
        if item.box is not None:
            k0, j0, i0, k1, j1, i1 = item.box
            maps[number, BOX] = -1
            maps[number, BOX, k0:k1, j0:j1, i0:i1] = 1
        if item.mask is not None:
            maps[number, MASK] = 2 * item.mask - 1
    maps[:, :4] = click_maps(points, labels, (size,) * 3)
    return maps
