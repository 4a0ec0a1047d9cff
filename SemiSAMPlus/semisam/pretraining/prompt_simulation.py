"""Simulated prompts: what people and immature specialists would say about a known object.

Clicks and boxes are the easy part. The masks matter most, because a mask from a specialist is what the generalist is
mainly asked to repair: they carry the errors specialists make (a part missing, leaked into something that looks alike,
moved towards a neighbour, too thick or too thin), and many are good already, so that a good mask is left good. Errors
have structure; smoothing the mask cannot undo them, looking at the image can.

Masks and images are (k, j, i) float32 tensors on one cube. Masks are probabilities from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as functional

from semisam.generalists.nano.network import box_mean
from semisam.pretraining.shapes import blur, cube_grid, rotation, smooth_noise

Point = tuple[int, int, int]


@dataclass
class SimulatedPrompts:
    """Prompts for one object on one cube: clicks (k, j, i) with label 1 inside or 0 outside, box (6 voxel indices,
    half-open) or None, mask probability (k, j, i) or None."""

    points: list[Point] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: tuple[int, int, int, int, int, int] | None = None
    mask: torch.Tensor | None = None


KINDS = ("click", "clicks", "box", "box and click", "mask", "mask and click")
SHARES = (0.20, 0.18, 0.20, 0.04, 0.32, 0.06)


def first_prompts(
    rng: np.random.Generator, target: torch.Tensor, image: torch.Tensor, neighbor: torch.Tensor | None = None
) -> SimulatedPrompts:
    """Prompts of a random kind for ``target`` (bool). ``neighbor`` (bool) is another object a mask may drift into."""
    kind = str(rng.choice(KINDS, p=SHARES))
    prompts = SimulatedPrompts()
    if "mask" in kind:
        prompts.mask = specialist_mask(rng, target, image, neighbor)
    if "box" in kind:
        prompts.box = jittered_box(rng, target, float(rng.choice([0.0, 0.05, 0.1, 0.2])))
    clicks = 0 if kind in ("mask", "box") else int(rng.integers(2, 7)) if kind == "clicks" else 1
    if prompts.mask is not None and clicks:
        add_correction(rng, prompts, prompts.mask, target)
        return prompts
    inner = _inwardness(target)
    shell = (_box_mean(target.float(), 7) > 0.01) & ~target
    for number in range(clicks):
        if number == 0 or rng.random() < 0.6:
            _add_click(rng, prompts, inner, float(rng.choice([1, 3, 8, 20])), 1)
        else:
            outside = shell if rng.random() < 0.7 else ~target
            _add_click(rng, prompts, outside.float(), 1.0, 0)
    return prompts


def add_correction(
    rng: np.random.Generator, prompts: SimulatedPrompts, answer: torch.Tensor, target: torch.Tensor
) -> None:
    """One more click, in the middle of an error of ``answer`` (probability)."""
    wrong = (answer > 0.5) != target
    place = _draw(rng, _inwardness(wrong), float(rng.choice([4, 10, 20])))
    if place is not None:
        prompts.points.append(place)
        prompts.labels.append(int(target[place]))


def jittered_box(rng: np.random.Generator, target: torch.Tensor, jitter: float) -> tuple[int, int, int, int, int, int]:
    """Bounding box whose faces are moved by up to ``jitter`` of the object's extent."""
    lower, upper = bounds(target)
    extent = upper - lower
    limit = np.array(target.shape)
    low = np.clip(np.round(lower + rng.uniform(-jitter, jitter, 3) * extent), 0, limit - 2).astype(int)
    high = np.clip(np.round(upper + rng.uniform(-jitter, jitter, 3) * extent), low + 1, limit).astype(int)
    return (int(low[0]), int(low[1]), int(low[2]), int(high[0]), int(high[1]), int(high[2]))


def bounds(mask: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last index of a non-empty mask along k, j, i."""
    lower, upper = [], []
    for axis in range(3):
        occupied = mask.any(dim=(axis + 1) % 3, keepdim=True).any(dim=(axis + 2) % 3, keepdim=True)
        indices = torch.nonzero(occupied.flatten()).flatten()
        lower.append(int(indices[0]))
        upper.append(int(indices[-1]) + 1)
    return np.array(lower), np.array(upper)


def specialist_mask(
    rng: np.random.Generator, target: torch.Tensor, image: torch.Tensor, neighbor: torch.Tensor | None = None
) -> torch.Tensor:
    """The mask an immature, or a good, specialist might give for ``target``; hard in half of the cases.

    Rarely far from the target: a specialist that misses an object altogether is not worth asking about.
    """
    truth = target.float()
    quality = rng.random()
    if quality < 0.10:
        mask = truth
    elif quality < 0.40:
        mask = _deform(rng, truth, severity=rng.uniform(0.03, 0.3))
    else:
        severity, worst = rng.uniform(0.2, 1.0), rng.uniform(0.2, 0.6)
        for _ in range(4):
            mask = _structured_errors(rng, _deform(rng, truth, severity), target, image, neighbor)
            if overlap(mask > 0.5, target) >= worst:
                break
            severity *= 0.5
    if rng.random() < 0.25:  # a coarse working grid
        coarse = functional.avg_pool3d(mask[None, None], 2, ceil_mode=True)
        mask = functional.interpolate(coarse, size=tuple(mask.shape), mode="trilinear")[0, 0]
    if rng.random() < 0.5:
        return (mask > 0.5).float()
    return blur(mask, rng.uniform(0, 0.9)).clamp(0, 1)


def overlap(first: torch.Tensor, second: torch.Tensor) -> float:
    """Dice coefficient of two bool masks, 0 if both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 0.0


def _structured_errors(
    rng: np.random.Generator,
    mask: torch.Tensor,
    target: torch.Tensor,
    image: torch.Tensor,
    neighbor: torch.Tensor | None,
) -> torch.Tensor:
    if rng.random() < 0.35:
        mask = _lose_part(rng, mask, target)
    if rng.random() < 0.4:
        mask = _leak(rng, mask, target, image)
    if neighbor is not None and rng.random() < 0.2:
        mask = _swallow(rng, mask, neighbor)
    if rng.random() < 0.15:
        islands = smooth_noise(rng, 1, rng.uniform(4, 9), target.shape[-1])[0]
        mask = torch.maximum(mask, torch.sigmoid((islands - rng.uniform(1.9, 2.8)) * 8))
    return mask


def _deform(rng: np.random.Generator, truth: torch.Tensor, severity: float) -> torch.Tensor:
    """Bend, shift, and thicken or thin unevenly, in proportion to the object's radius."""
    size = truth.shape[-1]
    radius = float(truth.sum() * 0.24) ** (1 / 3)
    bend = smooth_noise(rng, 3, rng.uniform(3, 7), size) * (rng.uniform(0, 0.3) * severity * radius)
    amount = 0.2 if rng.random() < 0.7 else 0.5
    shift = torch.from_numpy(rng.normal(0, amount, 3).astype(np.float32)).view(3, 1, 1, 1) * (severity * radius)
    position = cube_grid(size) + (bend + shift) * (2 / (size - 1))
    moved = functional.grid_sample(
        truth[None, None], position.flip(0).movedim(0, -1)[None], padding_mode="border", align_corners=True
    )[0, 0]
    smooth = blur(moved, rng.uniform(0.5, 0.6 + 0.12 * radius))
    offset = rng.uniform(-0.4, 0.4) * severity
    uneven = smooth_noise(rng, 1, rng.uniform(4, 9), size)[0] * (rng.uniform(0, 0.25) * severity)
    detail = rng.uniform(0.5, 1.0)
    level = detail * moved + (1 - detail) * smooth if rng.random() < 0.3 else smooth
    return torch.sigmoid((level - 0.5 - offset - uneven) * float(rng.choice([4, 10, 40])))


def _lose_part(rng: np.random.Generator, mask: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Everything on one side of a plane through the object is missing."""
    along = (cube_grid(mask.shape[-1]) * rotation(rng)[0].view(3, 1, 1, 1)).sum(0)
    cut = torch.quantile(along[target][:4000], rng.uniform(0.05, 0.55))
    return mask * torch.sigmoid((along - cut) * (0.5 * mask.shape[-1]))


def _leak(rng: np.random.Generator, mask: torch.Tensor, target: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Near the object, parts that look most like it are taken in as well."""
    inside = image[target]
    unlike = (blur(image, 0.8) - inside.mean()).abs() / (inside.std() + 0.1)
    near = (_box_mean(target.float(), int(rng.choice([7, 11]))) > 0.02) & ~target
    if not bool(near.any()):
        return mask
    likeness = torch.quantile(unlike[near][:8000], rng.uniform(0.15, 0.6))
    patches = smooth_noise(rng, 1, rng.uniform(3, 8), mask.shape[-1])[0] > rng.uniform(-0.5, 1.0)
    leaked = _box_mean((near & (unlike < likeness) & patches).float(), 3)
    return torch.maximum(mask, (leaked * 2 - 0.3).clamp(0, 1))


def _swallow(rng: np.random.Generator, mask: torch.Tensor, neighbor: torch.Tensor) -> torch.Tensor:
    """A part of another object is taken in."""
    if not bool(neighbor.any()):
        return mask
    along = (cube_grid(mask.shape[-1]) * rotation(rng)[0].view(3, 1, 1, 1)).sum(0)
    cut = torch.quantile(along[neighbor][:4000], rng.uniform(0.4, 0.9))
    return torch.maximum(mask, (neighbor & (along > cut)).float())


def _box_mean(values: torch.Tensor, width: int) -> torch.Tensor:
    return box_mean(values[None, None], width)[0, 0]


def _inwardness(mask: torch.Tensor) -> torch.Tensor:
    """0 outside, rising towards the middle of ``mask``: a cheap stand-in for the distance to its surface."""
    values = mask.float()
    return _box_mean(_box_mean(values, 3), 5) * values


def _draw(rng: np.random.Generator, weight: torch.Tensor, power: float) -> Point | None:
    """A voxel drawn in proportion to ``weight`` ** ``power``, or None where all weights are 0."""
    chances = weight.flatten().double().numpy() ** power
    total = chances.sum()
    if not total > 0:
        return None
    index = int(np.searchsorted(np.cumsum(chances), rng.random() * total))
    place = np.unravel_index(min(index, chances.size - 1), tuple(weight.shape))
    return (int(place[0]), int(place[1]), int(place[2]))


def _add_click(
    rng: np.random.Generator, prompts: SimulatedPrompts, weight: torch.Tensor, power: float, label: int
) -> None:
    place = _draw(rng, weight, power)
    if place is not None:
        prompts.points.append(place)
        prompts.labels.append(label)
