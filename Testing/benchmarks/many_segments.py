"""What many segments cost, and at which size a structure survives the working grid.

    taskset -c 0 python Testing/benchmarks/many_segments.py

First: processor seconds of one supervised step (two patches of 48 x 56 x 48 voxels, one thread, everything but the
optimizer) with 2, 13 and 41 segments. Then: the 41 organs of a CT of the trunk, carried to coarser grids and back as
probabilities, against themselves: no network can be better there. Prints the tables of few_labels.md, "Many segments".
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from semisam.files.volume_files import read_image
from semisam.learning.augmentation import Augmentation
from semisam.learning.losses import segmentation_loss
from semisam.learning.sampling import Sampler
from semisam.learning.working import WorkingCase
from semisam.predict import autocast
from semisam.specialists.fingerprint import Fingerprint
from semisam.specialists.hardware import detect
from semisam.specialists.network import make_network
from semisam.specialists.plan import make_plan
from semisam.volumes import Geometry, Volume, canonical, resample_image, resample_probabilities, working_geometry

ORGANS = Path(__file__).resolve().parents[3] / "shared/data/volumes/totalseg_example/example_seg.nii.gz"
SHAPE, PATCH = (100, 101, 122), (48, 56, 48)
REPEATS = 3


def step_seconds(count: int) -> float:
    """The fastest of some steps with ``count`` segments."""
    segments = tuple(f"organ {number}" for number in range(count))
    data = Fingerprint(1, 1, SHAPE, (3.0, 3.0, 3.0), SHAPE, {}, {}, "MR or other")
    plan = replace(make_plan(data, detect("cpu"), segments), patch=PATCH)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, count + 1, SHAPE).astype(np.uint8)
    geometry = Geometry.simple(SHAPE)
    case = WorkingCase("case", rng.normal(size=SHAPE).astype(np.float16), geometry, geometry, labels)
    sampler = Sampler(plan, Augmentation(plan.patch, plan.working_spacing, rng), rng, "cpu")
    network = make_network(plan)
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        patch = sampler.labelled([case], plan.labelled_batch)
        with autocast(plan):
            logits = network(patch.image.contiguous(memory_format=torch.channels_last_3d))
        segmentation_loss(logits.float(), patch.target).backward()
        seconds.append(time.process_time() - start)
    return min(seconds)


def best_dice(labels: Volume, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """For each organ, how many voxels across it is at ``spacing``, and the Dice that is left of it."""
    grid = working_geometry(labels.geometry, [max(spacing, step) for step in labels.geometry.spacing])
    values = np.unique(labels.voxels)[1:]
    masks = [labels.voxels == value for value in values]
    shares = [resample_image(Volume(mask.astype(np.float32), labels.geometry), grid) for mask in masks]
    back = resample_probabilities(np.stack(shares), grid, labels.geometry)
    winner = np.where(back.max(0) > 1 - back.sum(0), back.argmax(0), -1)
    dice = [
        2 * (mask & (winner == index)).sum() / (mask.sum() + (winner == index).sum())
        for index, mask in enumerate(masks)
    ]
    volumes = np.array([mask.sum() for mask in masks]) * labels.geometry.voxel_volume
    return (6 / np.pi * volumes) ** (1 / 3) / spacing, np.array(dice)


def main() -> None:
    torch.set_num_threads(1)
    print("| segments | seconds a step | against 2 |\n|---|---|---|")
    seconds = {count: step_seconds(count) for count in (2, 13, 41)}
    for count, taken in seconds.items():
        print(f"| {count} | {taken:.2f} | {taken / seconds[2]:.1f} |", flush=True)
    if not ORGANS.is_file():
        print(f"The organs are not at {ORGANS}.")
        return
    image = canonical(read_image(ORGANS))
    labels = Volume(np.rint(image.voxels).astype(np.uint8), image.geometry)
    results = {spacing: best_dice(labels, spacing) for spacing in (5.02, 4.0, 3.5)}
    print("\n| mm | best mean Dice | lowest |\n|---|---|---|")
    for spacing, (_, dice) in results.items():
        print(f"| {spacing} | {dice.mean():.2f} | {dice.min():.2f} |")
    across, dice = (np.concatenate(parts) for parts in zip(*results.values(), strict=True))
    print("\n| voxels across | organs | best mean Dice |\n|---|---|---|")
    for low, high in ((0, 4), (4, 5), (5, 6), (6, 8), (8, 10), (10, 20), (20, 40)):
        chosen = (across >= low) & (across < high)
        print(f"| {low} to {high} | {chosen.sum()} | {dice[chosen].mean():.2f} |")


if __name__ == "__main__":
    main()
