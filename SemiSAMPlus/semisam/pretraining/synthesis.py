"""Procedural worlds: random anatomy, drawn as labels and rendered with random contrast, for pre-training `nano`.

The idea is that of SynthSeg (Billot et al., MedIA 2023) and SynthMorph (Hoffmann et al., IEEE TMI 2022): a network
that has seen every contrast on every shape needs no real image. Here a world is a cube of labels (smooth-noise
regions, Voronoi cells, layers, and on top of them organs, vessels, walls, cavities, neighbours that look alike) and an
image made from it with texture, partial volume, bias field, thick slices and noise. No file is ever read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from scipy import ndimage

from semisam.generalists.nano.network import normalize
from semisam.pretraining.shapes import blur, cube_grid, rotation, smooth_noise, solid, warped_grid

MAX_TARGETS = 3
"""Objects of one world that may be asked for; target t is bit t of ``World.targets``."""

SMALLEST, LARGEST = 0.005, 0.4
"""Share of the cube that a target may fill."""


@dataclass(frozen=True)
class World:
    """One training volume.

    image    (k, j, i) float16, clamped to its 0.5 % quantiles, zero mean and unit deviation inside the field of view
    targets  (k, j, i) uint8 bit field, bit t set inside target t; bits without voxels mean there are fewer targets
    """

    image: np.ndarray
    targets: np.ndarray


@dataclass
class _Thing:
    """A painted structure: the labels that belong to it, and the label its contrast is set by."""

    labels: list[int]
    main: int


class _Canvas:
    """The label map while it is painted."""

    def __init__(self, labels: torch.Tensor) -> None:
        self.labels = labels
        self.count = int(labels.max()) + 1
        self.things: list[_Thing] = []
        self.twins: list[tuple[int, int]] = []

    def paint(self, region: torch.Tensor) -> int:
        self.labels[region] = self.count
        self.count += 1
        return self.count - 1


def make_world(seed: int, index: int, size: int = 48) -> World:
    """World number ``index`` of the endless series that ``seed`` stands for: the same numbers give the same world.

    Takes about 70 ms on one core at the default size. A draw without a usable target is drawn again.
    """
    for attempt in range(100):
        rng = np.random.default_rng([seed, index, attempt])
        world = _try_world(rng, size)
        if world is not None:
            return world
    raise RuntimeError("A hundred random worlds in a row held no object of usable size.")


def _try_world(rng: np.random.Generator, size: int) -> World | None:
    grid = warped_grid(rng, size, rng.uniform(0.02, 0.14))
    canvas = _Canvas(_background(rng, grid, size))
    background_count = canvas.count
    for _ in range(int(rng.choice([1, 2, 3, 4, 6, 9]))):
        _add_object(rng, canvas, grid)
    targets = _choose_targets(rng, canvas, background_count)
    if not targets:
        return None
    means = _contrasts(rng, canvas, targets)
    image = _render(rng, canvas.labels, means, size)
    view = _field_of_view(rng, targets, size)
    bits = np.zeros((size,) * 3, np.uint8)
    for bit, (mask, _) in enumerate(targets):
        bits |= np.where(mask & view.numpy(), np.uint8(1 << bit), np.uint8(0))
    return World(normalize(image, view).half().numpy(), bits)


def _background(rng: np.random.Generator, grid: torch.Tensor, size: int) -> torch.Tensor:
    """(k, j, i) int64 labels of the surroundings: blobs, cells, cells with walls, layers, or nothing."""
    kind = rng.random()
    if kind < 0.40:
        count = int(rng.integers(3, 13))
        fields = smooth_noise(rng, count, rng.uniform(2.5, 9), size)
        if rng.random() < 0.5:
            fields = fields + 0.4 * smooth_noise(rng, count, rng.uniform(9, 16), size)
        return fields.argmax(0)
    if kind < 0.65:
        count = int(rng.integers(4, 30))
        seeds = torch.from_numpy(rng.uniform(-1.1, 1.1, (count, 3)).astype(np.float32))
        nearest = torch.cdist(grid.reshape(3, -1).T, seeds).topk(2, largest=False)
        labels = nearest.indices[:, 0].clone()
        if rng.random() < 0.4:
            labels[nearest.values[:, 1] - nearest.values[:, 0] < rng.uniform(0.04, 0.12)] = count
        return labels.view((size,) * 3)
    if kind < 0.85:
        field = smooth_noise(rng, 1, rng.uniform(2.5, 6), size)[0]
        return (field * rng.uniform(0.6, 1.6) + 3).floor().long().clamp(0, 12)
    return torch.zeros((size,) * 3, dtype=torch.long)


def _add_object(rng: np.random.Generator, canvas: _Canvas, grid: torch.Tensor) -> None:
    """Paint one structure, perhaps with a wall, a cavity, an inclusion, or a neighbour cut off by a curved plane."""
    radius = float(np.exp(rng.uniform(np.log(0.2), np.log(0.9))))
    center = rng.uniform(-1, 1, 3) * max(0.1, 0.95 - radius)
    distance = solid(rng, grid, radius, center)
    inside = distance < 0
    if not bool(inside.any()):
        return
    kind = rng.random()
    if kind < 0.12:  # a hollow organ: wall and cavity are two things, sometimes with an open end
        wall = inside & (distance > -rng.uniform(0.08, 0.25))
        cavity = canvas.paint(inside & ~wall)
        if rng.random() < 0.4:
            wall &= (grid * rotation(rng)[0].view(3, 1, 1, 1)).sum(0) < rng.uniform(0.0, 0.4)
        shell = canvas.paint(wall)
        canvas.things += [_Thing([shell], shell), _Thing([cavity], cavity), _Thing([shell, cavity], shell)]
    elif kind < 0.24:  # an organ in a thin capsule that does not belong to it
        canvas.paint((distance >= 0) & (distance < rng.uniform(0.04, 0.12)))
        main = canvas.paint(inside)
        canvas.things.append(_Thing([main], main))
    elif kind < 0.40:  # two adjacent parts, often alike
        normal = rotation(rng)[0].view(3, 1, 1, 1)
        middle = (grid * inside).sum((1, 2, 3), keepdim=True) / inside.sum()
        side = ((grid - middle) * normal).sum(0) + 0.06 * smooth_noise(rng, 1, 5, grid.shape[-1])[0]
        part = side > rng.uniform(-0.15, 0.15)
        first, second = canvas.paint(inside & part), canvas.paint(inside & ~part)
        canvas.things += [_Thing([first], first), _Thing([second], second), _Thing([first, second], first)]
        if rng.random() < 0.5:
            canvas.twins.append((first, second))
    elif kind < 0.55:  # an inclusion of other intensity that belongs to the organ
        main = canvas.paint(inside)
        spot = solid(rng, grid, radius * rng.uniform(0.2, 0.5), center + rng.uniform(-0.5, 0.5, 3) * radius) < 0
        inclusion = canvas.paint(inside & spot)
        canvas.things.append(_Thing([main, inclusion], main))
    else:
        main = canvas.paint(inside)
        canvas.things.append(_Thing([main], main))


def _choose_targets(
    rng: np.random.Generator, canvas: _Canvas, background_count: int
) -> list[tuple[np.ndarray, _Thing]]:
    """Up to MAX_TARGETS connected masks of usable size, from the things and sometimes from the background."""
    labels = canvas.labels.numpy()
    candidates = [canvas.things[index] for index in rng.permutation(len(canvas.things))]
    if background_count > 1 and rng.random() < 0.3:
        label = int(rng.integers(background_count))
        candidates.insert(int(rng.integers(2)), _Thing([label], label))
    targets: list[tuple[np.ndarray, _Thing]] = []
    for thing in candidates:
        mask = np.isin(labels, thing.labels)
        if not SMALLEST <= mask.mean() <= 2 * LARGEST:
            continue
        if thing.main < background_count or rng.random() < 0.9:
            mask = _largest_piece(mask)
        if SMALLEST <= mask.mean() <= LARGEST and not any((mask == other).all() for other, _ in targets):
            targets.append((mask, thing))
        if len(targets) == MAX_TARGETS:
            break
    return targets


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax()


def _contrasts(rng: np.random.Generator, canvas: _Canvas, targets: list[tuple[np.ndarray, _Thing]]) -> np.ndarray:
    """Mean intensity of every label: a few tissue classes or free, then the targets set against a neighbour.

    A target mostly differs a little from the neighbour it touches most, and something apart from it looks the same:
    neither intensity alone nor shape alone finds it.
    """
    means = rng.uniform(0, 1, canvas.count)
    if rng.random() < 0.6:
        classes = np.sort(rng.uniform(0, 1, int(rng.integers(2, 6))))
        means = classes[rng.integers(0, len(classes), canvas.count)] + rng.normal(0, 0.03, canvas.count)
    labels = canvas.labels
    for mask, thing in targets:
        region = torch.from_numpy(mask)
        around = (functional.max_pool3d(region[None, None].float(), 5, 1, 2)[0, 0] > 0) & ~region
        if not bool(around.any()):
            continue
        if rng.random() < 0.65:
            touching = np.bincount(labels[around].numpy(), minlength=canvas.count)
            neighbor = int(rng.choice(canvas.count, p=touching / touching.sum()))
            if neighbor not in thing.labels:
                means[thing.main] = means[neighbor] + rng.choice([-1, 1]) * rng.uniform(0.07, 0.4)
        if rng.random() < 0.4:
            touching = np.bincount(labels[around].numpy(), minlength=canvas.count)
            apart = np.setdiff1d(np.nonzero(touching == 0)[0], thing.labels)
            if len(apart):
                means[rng.choice(apart)] = means[thing.main] + rng.normal(0, 0.03)
    for first, second in canvas.twins:
        means[second] = means[first] + rng.normal(0, 0.06)
    return means


def _render(rng: np.random.Generator, labels: torch.Tensor, means: np.ndarray, size: int) -> torch.Tensor:
    """Image (k, j, i) float32 from labels and their mean intensities."""
    count = len(means)

    def per_label(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32))[labels]

    image = blur(per_label(means), rng.uniform(0.3, 1.1))
    grain = smooth_noise(rng, 1, rng.uniform(8, 24), size)[0]
    image = image + per_label(rng.uniform(0, 0.09, count) * (rng.random(count) < 0.8)) * grain
    if rng.random() < 0.5:
        roughness = per_label(rng.uniform(0, 0.07, count) * (rng.random(count) < 0.5))
        image = image + roughness * _white(rng, labels.shape)
    if rng.random() < 0.5:
        image = image + rng.uniform(0.01, 0.1) * smooth_noise(rng, 1, rng.uniform(2, 5), size)[0]
    if rng.random() < 0.6:
        image = image * torch.exp(rng.uniform(0, 0.25) * smooth_noise(rng, 1, 2.2, size)[0])
    image = _acquire(rng, image, size)
    low, high = torch.aminmax(image)
    image = (image - low) / (high - low + 1e-6)
    if rng.random() < 0.5:
        image = image ** float(np.exp(rng.normal(0, 0.35)))
    return 1 - image if rng.random() < 0.5 else image


def _acquire(rng: np.random.Generator, image: torch.Tensor, size: int) -> torch.Tensor:
    """Thick slices or an isotropic scan, with white or correlated noise."""
    if rng.random() < 0.4:
        axis, thickness = int(rng.integers(3)), float(rng.uniform(1.5, 5))
        sigmas, scanned = [0.0] * 3, [size] * 3
        sigmas[axis], scanned[axis] = 0.35 * thickness, max(6, int(size / thickness))
        image = functional.interpolate(blur(image, sigmas)[None, None], size=scanned, mode="trilinear")
        image = image + rng.uniform(0, 0.08) * _white(rng, tuple(scanned))
        mode = "nearest" if rng.random() < 0.3 else "trilinear"
        return functional.interpolate(image, size=(size,) * 3, mode=mode)[0, 0]
    noise = abs(rng.normal(0, 0.06)) * _white(rng, image.shape)
    if rng.random() < 0.4:
        noise = 2 * blur(noise, rng.uniform(0.4, 1.0))
    image = image + noise
    return blur(image, rng.uniform(0.3, 1.0)) if rng.random() < 0.25 else image


def _white(rng: np.random.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32))


def _field_of_view(rng: np.random.Generator, targets: list[tuple[np.ndarray, _Thing]], size: int) -> torch.Tensor:
    """(k, j, i) bool: sometimes a box smaller than the cube, as when a region reaches over the border of a scan."""
    view = torch.ones((size,) * 3, dtype=torch.bool)
    if rng.random() < 0.7:
        return view
    margin = size // 4
    for axis in range(3):
        if rng.random() < 0.4:
            continue
        first, last = int(rng.integers(0, margin)), size - int(rng.integers(0, margin))
        if rng.random() < 0.7:  # mostly the first target stays whole
            occupied = np.nonzero(targets[0][0].any(axis=tuple(a for a in range(3) if a != axis)))[0]
            first, last = min(first, int(occupied[0])), max(last, int(occupied[-1]) + 1)
        index = cube_grid(size)[axis].mul(0.5 * (size - 1)).add(0.5 * (size - 1)).round()
        view &= (index >= first) & (index < last)
    return view
