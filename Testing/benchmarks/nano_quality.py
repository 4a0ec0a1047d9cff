"""How good is nano, and does it use the image?

    python Testing/benchmarks/nano_quality.py [--cases 10,3,3] [--weights FILE] [--no-baseline] [--write]

Real data are only evaluated on, never trained or tuned on. For every structure the same prompts go to nano with the
real image, to nano with the same image after all its voxels were shuffled (what is then left is knowledge of shapes
and prompts alone; the gap is the first figure), and to the training-free random walker. Prompts are simulated from the
expert's mask: clicks in the middle of the object and then in the middle of the largest error (with the previous answer
as mask), a box with each face moved by up to 10 % of the extent, and masks corrupted to a given Dice by bending,
shifting, thickening or thinning. ``--write`` puts the table into nano_quality.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from scipy import ndimage

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "SemiSAMPlus"))

from semisam.files.volume_files import read_image  # noqa: E402
from semisam.generalists.base import Context, Generalist  # noqa: E402
from semisam.generalists.growing.random_walker import RandomWalker  # noqa: E402
from semisam.generalists.nano.generalist import Nano, weights_path  # noqa: E402
from semisam.prompts import Prompts  # noqa: E402
from semisam.volumes import Volume  # noqa: E402

DATA = REPOSITORY.parent / "shared" / "data"
CLICKS = (1, 3, 5)
MASKS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class DataSet:
    """``structures``: column title -> label values that make up the object."""

    folder: str
    structures: dict[str, tuple[int, ...]]


DATA_SETS = (
    DataSet("hippocampus", {"hippocampus": (1, 2)}),
    DataSet("left_atrium", {"left atrium": (1,)}),
    DataSet("acdc", {"left ventricle": (3,), "right ventricle": (1,)}),
)


def cases(folder: str, count: int) -> Iterator[tuple[str, Volume, np.ndarray]]:
    """Name, image and label values (k, j, i) of ``count`` cases spread evenly over the sorted names."""
    files = sorted((DATA / folder / "images").glob("*.nii.gz"))
    for index in np.linspace(0, len(files) - 1, count).round().astype(int):
        labels = read_image(DATA / folder / "labels" / files[index].name)
        yield files[index].name, read_image(files[index]), np.rint(labels.voxels).astype(int)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * np.count_nonzero(first & second) / max(1, first.sum() + second.sum()))


def middle(mask: np.ndarray, spacing: tuple[float, ...]) -> tuple[int, ...]:
    """The voxel deepest inside ``mask``."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    depth = ndimage.distance_transform_edt(np.pad(mask[box], 1), spacing)
    place = np.unravel_index(depth.argmax(), depth.shape)
    return tuple(int(p) - 1 + part.start for p, part in zip(place, box, strict=True))


def largest_error(answer: np.ndarray, truth: np.ndarray) -> np.ndarray:
    pieces, count = ndimage.label(answer != truth)
    if count == 0:
        return np.zeros_like(truth)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax()


def jittered_box(truth: np.ndarray, rng: np.random.Generator) -> tuple[float, ...]:
    found = np.argwhere(truth)
    lower, upper = found.min(0), found.max(0) + 1
    jitter = rng.uniform(-0.1, 0.1, (2, 3)) * (upper - lower)
    return (*np.round(lower + jitter[0]).tolist(), *np.round(upper + jitter[1]).tolist())


def corrupted(truth: np.ndarray, spacing: tuple[float, ...], goal: float, rng: np.random.Generator) -> np.ndarray:
    """A bent, shifted and thickened or thinned copy of ``truth`` whose Dice with it is about ``goal``."""
    box = ndimage.find_objects(truth.astype(np.uint8))[0]
    region = tuple(
        slice(max(0, part.start - (part.stop - part.start) // 3 - 2), part.stop + (part.stop - part.start) // 3 + 2)
        for part in box
    )
    inside = truth[region]
    depth = ndimage.distance_transform_edt(inside, spacing) - ndimage.distance_transform_edt(~inside, spacing)
    size = np.array(inside.shape)
    radius = (inside.sum() * np.prod(spacing) * 0.24) ** (1 / 3)

    def smooth(count: int, knots: int) -> torch.Tensor:
        values = torch.from_numpy(rng.standard_normal((1, count, knots, knots, knots)).astype(np.float32))
        field = functional.interpolate(values, size=tuple(inside.shape), mode="trilinear", align_corners=True)
        return field / field.std()

    shift = rng.standard_normal(3)
    move = 0.6 * smooth(3, 4) + 0.5 * torch.from_numpy((shift / np.linalg.norm(shift)).astype(np.float32)).view(
        1, 3, 1, 1, 1
    )
    uneven, thickness = smooth(1, 5)[0, 0], float(rng.choice([-1, 1]) * rng.uniform(0.3, 1))
    axes = [torch.linspace(-1, 1, int(n)) for n in size]
    base = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
    to_unit = torch.from_numpy((2 / (np.maximum(size - 1, 1) * np.asarray(spacing))).astype(np.float32))
    depth_image = torch.from_numpy(depth.astype(np.float32))[None, None]
    low, high, best = 0.0, 1.5, (1.0, inside)
    for _ in range(10):
        amount = 0.5 * (low + high) * radius
        position = base + amount * move * to_unit.view(1, 3, 1, 1, 1)
        moved = functional.grid_sample(
            depth_image, position.flip(1).movedim(1, -1), padding_mode="border", align_corners=True
        )[0, 0]
        mask = (moved + amount * (0.35 * uneven + 0.4 * thickness) > 0).numpy()
        value = dice(mask, inside)
        if abs(value - goal) < abs(best[0] - goal):
            best = (value, mask)
        low, high = (low, 0.5 * (low + high)) if value < goal else (0.5 * (low + high), high)
    result = np.zeros_like(truth)
    result[region] = best[1]
    return result


def evaluate(generalist: Generalist, volume: Volume, truth: np.ndarray, seed: int) -> dict[str, float]:
    """Dice by prompt, and seconds to encode and (mean) to predict."""
    rng = np.random.default_rng(seed)
    spacing = volume.spacing
    start = time.perf_counter()
    embedding = generalist.encode(volume)
    result = {"seconds to encode": time.perf_counter() - start}
    seconds = []

    def ask(prompts: Prompts) -> np.ndarray:
        start = time.perf_counter()
        answer = generalist.predict(embedding, [prompts])[0]
        seconds.append(time.perf_counter() - start)
        return answer

    points, labels, previous = [middle(truth, spacing)], [1], None
    for number in range(1, max(CLICKS) + 1):
        answer = ask(Prompts(points=np.array(points, np.float32), labels=np.array(labels, np.uint8), mask=previous))
        if number in CLICKS:
            result[f"{number} click" + "s" * (number > 1)] = dice(answer > 0.5, truth)
        error = largest_error(answer > 0.5, truth)
        if error.any():
            points.append(middle(error, spacing))
            labels.append(int(truth[points[-1]]))
        previous = answer if (answer > 0.5).any() else None
    result["box ±10 %"] = dice(ask(Prompts(box=jittered_box(truth, rng))) > 0.5, truth)
    for goal in MASKS:
        mask = corrupted(truth, spacing, goal, rng)
        result[f"mask of {goal}"] = dice(ask(Prompts(mask=mask.astype(np.float32))) > 0.5, truth)
    result["true mask"] = dice(ask(Prompts(mask=truth.astype(np.float32))) > 0.5, truth)
    result["seconds to predict"] = float(np.mean(seconds))
    return result


def shuffled(volume: Volume, seed: int) -> Volume:
    voxels = np.random.default_rng(seed).permutation(volume.voxels.ravel()).reshape(volume.shape)
    return Volume(voxels, volume.geometry)


def table(scores: dict[str, dict[str, list[dict[str, float]]]], ways: list[str]) -> str:
    """Markdown: one row a prompt, one column a structure with the mean of each way."""
    rows = list(next(iter(next(iter(scores.values())).values()))[0])
    titles = [f"{structure} ({len(results[ways[0]])})" for structure, results in scores.items()]
    lines = ["| prompt | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for row in rows:
        cells = []
        for results in scores.values():
            means = [float(np.mean([item[row] for item in results[way]])) for way in ways]
            numbers = [f"{mean:.2f}" if "seconds" in row else f"{mean:.3f}".lstrip("0") for mean in means]
            cells.append(f"**{numbers[0]}** / " + " / ".join(numbers[1:]))
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="10,3,3", help="cases of hippocampus, left_atrium, acdc (10,3,3)")
    parser.add_argument("--weights", type=Path, default=None, help="a file of semisam pretrain (the shipped one)")
    parser.add_argument("--no-baseline", action="store_true", help="leave the random walker out")
    parser.add_argument("--results", type=Path, default=None, help="JSON file that keeps what was measured already")
    parser.add_argument("--write", action="store_true", help="write nano_quality.md")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f'The benchmark data are not at "{DATA}".')
    torch.set_num_threads(1)
    nano = Nano(Context(), options.weights)
    ways = ["real", "shuffled"] + ([] if options.no_baseline else ["random walker"])
    walker = RandomWalker(Context())
    known: dict[str, dict[str, float]] = {}
    if options.results is not None and options.results.exists():
        known = json.loads(options.results.read_text(encoding="utf-8"))
    scores: dict[str, dict[str, list[dict[str, float]]]] = {}
    for data_set, count in zip(DATA_SETS, map(int, options.cases.split(",")), strict=True):
        for number, (name, volume, labels) in enumerate(cases(data_set.folder, count)):
            for title, values in data_set.structures.items():
                truth = np.isin(labels, values)
                if truth.sum() < 30:
                    continue
                for way in ways:
                    generalist: Generalist = walker if way == "random walker" else nano
                    key = f"{generalist.fingerprint} {way} {title} {name}"
                    if key not in known:
                        image = shuffled(volume, number) if way == "shuffled" else volume
                        known[key] = evaluate(generalist, image, truth, number)
                    scores.setdefault(title, defaultdict(list))[way].append(known[key])
            if options.results is not None:
                options.results.write_text(json.dumps(known, indent=1), encoding="utf-8")
            print(f"{data_set.folder} {number + 1}/{count}", file=sys.stderr)
    text = table(scores, ways)
    print(f"nano {nano.fingerprint}; Dice, mean: " + " / ".join(ways) + f"\n\n{text}")
    if options.write:
        write(text, ways, nano.fingerprint, options.cases)


def write(text: str, ways: list[str], fingerprint: str, counts: str) -> None:
    head = f"""# nano: quality and use of the image

`python Testing/benchmarks/nano_quality.py --cases {counts} --write`, one thread of a two-core machine;
`{fingerprint}` ({weights_path().stat().st_size / 2**20:.1f} MB). In brackets: cases, spread evenly over the data set.
Each cell is the mean Dice with {", ".join(f"**{way}**" if way == "real" else way for way in ways)}
{"(same prompts)" if "random walker" in ways else ""}: the gap between the first two is what comes from the image.
"""
    path = Path(__file__).with_suffix(".md")
    kept = path.read_text(encoding="utf-8").partition("\n## ")[1:] if path.exists() else ("", "")
    path.write_text(head + "\n" + text + "\n" + "".join(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
