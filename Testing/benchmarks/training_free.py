"""How good are the generalists that need no training: registration, random walker, grow-cut?

    python Testing/benchmarks/training_free.py [--cases 12,6,12] [--choices 3] [--write]

Registration: 1, 2 or 4 annotated cases are registered to each of the evaluated cases; Dice is the mean over segments,
evaluated cases and choices of the annotated ones. Random walker and grow-cut: the expert's masks are corrupted to a
Dice of 0.7, 0.8 and 0.9 (their borders moved in and out along a smooth random field), then refined; or a box round the
expert's mask, two voxels wider, is all they are given. Working resolution: hippocampus
1 mm, left atrium 1.875 mm, ACDC as it is. Times are CPU seconds of one thread, which a busy machine changes less than
seconds of the clock. ``--write`` puts the tables into training_free.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Before numpy is loaded: one thread, so that CPU seconds mean something.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "SemiSAMPlus"))

from semisam.files.volume_files import read_image, read_mask  # noqa: E402
from semisam.generalists.base import Context, Example, Generalist  # noqa: E402
from semisam.generalists.growing.grow_cut import GrowCut  # noqa: E402
from semisam.generalists.growing.random_walker import RandomWalker  # noqa: E402
from semisam.generalists.growing.seeds import Grower  # noqa: E402
from semisam.generalists.registration.generalist import Registration  # noqa: E402
from semisam.prompts import Prompts  # noqa: E402
from semisam.segments import Segment, default_color  # noqa: E402
from semisam.volumes import Volume, resample_image, resample_mask, working_geometry  # noqa: E402

DATA = REPOSITORY.parent / "shared" / "data"
EXAMPLES = (1, 2, 4)
CORRUPTED = (0.7, 0.8, 0.9)


@dataclass(frozen=True)
class DataSet:
    """``spacing``: (k, j, i) mm of the working grid, None for the image's own."""

    folder: str
    segments: int
    spacing: tuple[float, float, float] | None


DATA_SETS = (
    DataSet("hippocampus", 2, (1.0, 1.0, 1.0)),
    DataSet("left_atrium", 1, (1.875, 1.875, 1.875)),
    DataSet("acdc", 3, None),
)


def load(data: DataSet, path: Path) -> Example:
    segments = [Segment(value, str(value), default_color(value)) for value in range(1, data.segments + 1)]
    image = read_image(path)
    label = next(path.parent.with_name("labels").glob(path.name.split(".")[0] + ".*"))
    mask = read_mask(label, segments, image.geometry)
    grid = working_geometry(image.geometry, data.spacing or image.geometry.canonical().spacing)
    voxels = resample_mask(mask, grid, range(1, data.segments + 1))
    return Example(path.name, Volume(resample_image(image, grid), grid), voxels)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.count_nonzero(first & second) / max(1, np.count_nonzero(first) + np.count_nonzero(second))


def label_dice(generalist: Generalist, case: Example, segments: int) -> float:
    """Mean Dice over the segments, each voxel going to its most likely one."""
    box = (0.0, 0.0, 0.0, *(float(size) for size in case.volume.shape))
    asked = [Prompts(box=box, segment=value) for value in range(1, segments + 1)]
    answers = generalist.predict(generalist.encode(case.volume), asked)
    labels = np.where(answers.max(0) >= 0.5, answers.argmax(0) + 1, 0)
    return float(np.mean([dice(labels == value, case.mask == value) for value in range(1, segments + 1)]))


def corrupted(mask: np.ndarray, wanted: float, rng: np.random.Generator) -> np.ndarray:
    """The mask with its border moved along a smooth random field, just as far as to have the wanted Dice."""
    depth = distance_transform_edt(mask) - distance_transform_edt(~mask)
    field = gaussian_filter(rng.normal(size=mask.shape), 3)
    field = field / field.std() + 0.5 * rng.normal()
    low, high = 0.0, 30.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if dice(depth + middle * field > 0, mask) > wanted else (low, middle)
    return depth + low * field > 0


def registration_rows(data: DataSet, paths: list[Path], count: int, choices: int) -> list[str]:
    cases = [load(data, path) for path in paths[:: max(1, len(paths) // count)][:count]]
    others = [path for path in paths if path.name not in {case.name for case in cases}]
    rng = np.random.default_rng(0)
    chosen = [
        [load(data, others[index]) for index in rng.choice(len(others), 4, replace=False)] for _ in range(choices)
    ]
    rows = []
    for number in EXAMPLES:
        scores, start = [], time.process_time()
        for examples in chosen:
            registration = Registration(Context(examples[:number]))
            scores.append([label_dice(registration, case, data.segments) for case in cases])
        seconds = (time.process_time() - start) / (choices * len(cases))
        by_choice = ", ".join(f"{np.mean(row):.3f}" for row in scores)
        rows.append(
            f"| {data.folder} | {number} | **{np.mean(scores):.3f}** | {np.quantile(scores, 0.1):.3f} | {by_choice} "
            f"| {seconds:.2f} |"
        )
        print(rows[-1], flush=True)
    return rows


def box_round(mask: np.ndarray) -> tuple[float, ...]:
    """(k0, j0, i0, k1, j1, i1), two voxels wider than the mask on every side."""
    found = np.argwhere(mask)
    lower, upper = np.maximum(found.min(0) - 2, 0), np.minimum(found.max(0) + 3, mask.shape)
    return tuple(float(value) for value in (*lower, *upper))


def grower_row(grower: Grower, data: DataSet, paths: list[Path], count: int) -> str:
    rng = np.random.default_rng(0)
    before: dict[float, list[float]] = {wanted: [] for wanted in CORRUPTED}
    after: dict[float, list[float]] = {wanted: [] for wanted in CORRUPTED}
    seconds, boxed = [], []
    for path in paths[:: max(1, len(paths) // count)][:count]:
        case = load(data, path)
        embedding = grower.encode(case.volume)
        for value in range(1, data.segments + 1):
            truth = case.mask == value
            if not truth.any():
                continue
            for wanted in CORRUPTED:
                poor = corrupted(truth, wanted, rng)
                start = time.process_time()
                answer = grower.predict(embedding, [Prompts(mask=poor.astype(np.float32))])[0]
                seconds.append(time.process_time() - start)
                before[wanted].append(dice(poor, truth))
                after[wanted].append(dice(answer >= 0.5, truth))
            boxed.append(dice(grower.predict(embedding, [Prompts(box=box_round(truth))])[0] >= 0.5, truth))
    cells = " | ".join(f"{np.mean(before[w]):.3f} -> **{np.mean(after[w]):.3f}**" for w in CORRUPTED)
    row = f"| {data.folder} | {grower.name} | {cells} | {np.mean(boxed):.3f} | {np.mean(seconds):.3f} |"
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", default="12,6,12", help="evaluated cases of hippocampus, left_atrium, acdc")
    parser.add_argument("--choices", type=int, default=3, help="choices of annotated cases")
    parser.add_argument("--write", action="store_true", help="write training_free.md")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"The real data are not at {DATA}.")
    carried, refined = [], []
    for data, count in zip(DATA_SETS, (int(text) for text in options.cases.split(",")), strict=True):
        paths = sorted((DATA / data.folder / "images").iterdir())
        refined += [grower_row(grower(Context()), data, paths, count) for grower in (RandomWalker, GrowCut)]
        carried += registration_rows(data, paths, count, options.choices)
    if options.write:
        text = (
            "# Generalists that need no training\n\n"
            f"Made by `training_free.py --cases {options.cases} --choices {options.choices}`; what is measured is said "
            "in its first lines.\nCPU seconds of one thread, on a busy machine.\n\n"
            "## Registration of annotated cases\n\n"
            "| data | annotated | Dice | 10th percentile | by choice | CPU s a case |\n|---|---|---|---|---|---|\n"
            + "\n".join(carried)
            + "\n\n## Growing from seeds: corrupted masks, Dice before -> after, and Dice of a box alone\n\n"
            "| data | generalist | from 0.7 | from 0.8 | from 0.9 | box | CPU s a prompt |\n"
            "|---|---|---|---|---|---|---|\n" + "\n".join(refined) + "\n"
        )
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
