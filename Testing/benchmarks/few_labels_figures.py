"""The figures of few_labels.md.

    python Testing/benchmarks/few_labels_figures.py curves
    python Testing/benchmarks/few_labels.py hippocampus --labels 4 --choices 0 --minutes 4 --keep /tmp/kept
    python Testing/benchmarks/few_labels_figures.py cases hippocampus /tmp/kept/hippocampus-4-0 --output cases.png

``curves`` draws every run of ``results/few_labels.jsonl``: steps of training and Dice of the test cases. ``cases``
draws the best, the median and the worst proposal of a kept project with the reference. Its pictures show patients'
images of data sets that may not be passed on, so they stay out of the repository.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from few_labels import RESULTS, SETS, proposal_scores, reference
from matplotlib.ticker import NullFormatter

from semisam.project import Project
from semisam.volumes import bounding_box, canonical

CURVES = RESULTS.with_name("few_labels_curves.svg")
# Bars of the whole budget: number of annotated cases or patients -> Dice.
BARS = {
    "hippocampus": {1: 0.84, 2: 0.86, 4: 0.875, 8: 0.885},
    "left_atrium": {1: 0.85, 2: 0.875, 4: 0.895, 8: 0.91},
    "acdc": {1: 0.75, 3: 0.82, 7: 0.87},
}
MARKERS = {"supervised": "o", "copy-paste": "s", "mean-teacher": "^", "auto": "D"}
TICKS = (300, 1000, 3000, 10000)
PLANES = ("axial", "coronal", "sagittal")


def draw_curves() -> None:
    """All runs on whole annotations, a panel a data set; lines join the best run up to each number of steps."""
    runs = [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()]
    figure, axes = plt.subplots(1, len(BARS), figsize=(15, 5.2))
    for axis, (data, bars) in zip(axes, BARS.items(), strict=True):
        chosen = [run for run in runs if run["data"] == data and _whole(run)]
        counts = sorted({run["labels"] for run in chosen})
        for color, count in zip(plt.cm.viridis(np.linspace(0, 0.9, len(counts))), counts, strict=True):
            of_count = [run for run in chosen if run["labels"] == count]
            for framework, marker in MARKERS.items():
                points = [(run["steps"], run["dice"]) for run in of_count if run["framework"] == framework]
                if points:
                    axis.scatter(*zip(*points, strict=True), s=22, marker=marker, color=color, alpha=0.6, lw=0)
            axis.plot(*_best_so_far(of_count), color=color, label=f"{count} annotated", drawstyle="steps-post")
            if count in bars:
                axis.axhline(bars[count], color=color, linestyle=":", linewidth=1)
        axis.set(title=data.replace("_", " "), xscale="log", xlabel="steps of training")
        axis.set_xticks(TICKS, [f"{tick:,}" for tick in TICKS])
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.legend(loc="lower right", fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mean Dice of the test cases")
    figure.suptitle(
        "Every run: supervised circle, copy-paste square, Mean Teacher triangle, auto diamond. "
        "Lines: the best one so far. Dotted: asked for at the whole budget.",
        fontsize=10,
    )
    figure.tight_layout()
    with plt.rc_context({"svg.hashsalt": "few labels"}):  # the same file for the same runs
        figure.savefig(CURVES, metadata={"Date": None})


def _whole(run: dict[str, Any]) -> bool:
    """Whether whole masks were annotated: scribbles and single slices have tables of their own."""
    return not any(word in run["variant"] for word in ("scribbles", "slice"))


def _best_so_far(runs: list[dict[str, Any]]) -> tuple[list[int], list[float]]:
    steps = sorted({run["steps"] for run in runs})
    return steps, [max(run["dice"] for run in runs if run["steps"] <= limit) for limit in steps]


def draw_cases(data: str, folder: Path, output: Path) -> None:
    """Best, median and worst proposal by the mean Dice of the segments: axial, coronal and sagittal slices."""
    project = Project.open(folder)
    scores = proposal_scores(project, data)
    ranked = sorted(scores, key=lambda name: float(np.mean(scores[name])))
    chosen = {"best": ranked[-1], "median": ranked[len(ranked) // 2], "worst": ranked[0]}
    figure, axes = plt.subplots(len(chosen), len(PLANES), figsize=(10, 10))
    for row, (rank, name) in zip(axes, chosen.items(), strict=True):
        each = ", ".join(f"{value:.2f}" for value in scores[name])
        print(f"{rank}: {name}, Dice {np.mean(scores[name]):.3f} ({each})")
        _draw_case(row, data, project, name)
        row[0].set_title(f"{rank} of {len(ranked)}, Dice {np.mean(scores[name]):.2f}", fontsize=10)
    figure.tight_layout()
    figure.savefig(output, dpi=90)


def _draw_case(row: np.ndarray, data: str, project: Project, name: str) -> None:
    volume = canonical(project.image(name))
    proposal, truth = (
        canonical(mask).voxels
        for mask in (project.proposal(name), reference(data, name, project.segments, project.image_geometry(name)))
    )
    image, spacing = volume.voxels, volume.spacing
    box = bounding_box((proposal > 0) | (truth > 0)) or (slice(0, size) for size in image.shape)
    window = tuple(slice(max(0, part.start - 8), part.stop + 8) for part in box)
    low, high = np.percentile(image[window], (0.5, 99.5))
    for plane, axis in enumerate(row):
        # The slice with most of the reference.
        others = tuple(other for other in range(3) if other != plane)
        index = int((truth > 0).sum(others).argmax())
        place = tuple(index if other == plane else window[other] for other in range(3))
        aspect = spacing[others[0]] / spacing[others[1]]
        axis.imshow(image[place], cmap="gray", vmin=low, vmax=high, aspect=aspect, origin="lower")
        for segment in project.segments:
            for mask, color in ((truth, "lime"), (proposal, "red")):
                shown = mask[place] == segment.value
                if shown.any() and not shown.all():
                    axis.contour(shown, levels=[0.5], colors=color, linewidths=1)
        axis.set_xlabel(f"{PLANES[plane]}; reference green, proposal red", fontsize=7)
        axis.set(xticks=[], yticks=[])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    figures = parser.add_subparsers(dest="figure", required=True)
    figures.add_parser("curves")
    cases = figures.add_parser("cases")
    cases.add_argument("data", choices=sorted(SETS))
    cases.add_argument("project", type=Path)
    cases.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.figure == "curves":
        draw_curves()
    else:
        draw_cases(arguments.data, arguments.project, arguments.output)


if __name__ == "__main__":
    main()
