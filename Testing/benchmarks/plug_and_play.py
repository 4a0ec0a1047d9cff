"""Every framework with every kind of generalist, two annotated cases, equal time: what brings what?

    taskset -c 0 python Testing/benchmarks/plug_and_play.py hippocampus [--choices 0 1 2] [--minutes 1]
    taskset -c 0 python Testing/benchmarks/plug_and_play.py acdc [--generalists none all] [--frameworks ...]
    python Testing/benchmarks/plug_and_play.py --segments
    python Testing/benchmarks/plug_and_play.py --write

Split, annotated cases and measurement are those of ``few_labels.py`` (ACDC: two annotated patients, four volumes), but
with 30 unannotated cases and every second test case, to have time for all pairs; the budget is in processor seconds, so
that two runs may share a machine. A minute of a processor with AVX-512 counts as two of one without it, which makes
half of the steps. Each run is one line of ``results/plug_and_play.jsonl``; what is there is not run again, and of a
cell that was run twice, with different minutes, the table has the later one. ``--segments`` compares the time of asking
about one and about eight segments. ``--write`` makes plug_and_play.md of what there is.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import few_labels
import numpy as np

from semisam.learning.frameworks.registry import FRAMEWORKS

HERE = Path(__file__).resolve().parent
RESULTS, TABLE = HERE / "results" / "plug_and_play.jsonl", HERE / "plug_and_play.md"
GENERALISTS = {
    "none": "none",
    "nano": "nano",
    "training-free": "registration,random-walker,grow-cut",
    "all": "nano,registration,random-walker,grow-cut",
}
ANNOTATED = 2  # patients
VOLUMES = {"hippocampus": 2, "left_atrium": 2, "acdc": 4}  # that these are
UNANNOTATED, EVERY = 30, 2
KEY = ("data", "framework", "generalists", "choice", "minutes")


def results() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def run_all(options: argparse.Namespace) -> None:
    few_labels.count_processor_seconds()
    whole = few_labels.split

    def fewer(data: str) -> tuple[list[str], list[str]]:
        pool, test = whole(data)
        return pool[: UNANNOTATED + VOLUMES[data]], test

    few_labels.split = fewer
    done = {tuple(result[key] for key in KEY) for result in results()}
    for choice in options.choices:
        for framework in options.frameworks:
            for generalists in options.generalists:
                if (options.data, framework, generalists, choice, options.minutes) in done:
                    continue
                words = f"{options.data} --every {EVERY} --minutes {options.minutes} --framework {framework}"
                words += f" --generalist {GENERALISTS[generalists]} --processor-time"
                arguments = few_labels.options().parse_args(words.split())
                with tempfile.TemporaryDirectory() as folder:
                    result = few_labels.run(options.data, ANNOTATED, choice, arguments, Path(folder))
                result = {"generalists": generalists} | result
                RESULTS.parent.mkdir(exist_ok=True)
                with RESULTS.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                print({key: result[key] for key in (*KEY, "dice", "steps", "trust")}, flush=True)


def cell(result: dict[str, Any]) -> tuple[str, str, int]:
    return result["framework"], result["generalists"], result["choice"]


def table(data: str) -> list[str]:
    """Markdown: mean Dice over the choices, each choice in brackets, and how many steps there were."""
    of_data = {cell(result): result for result in results() if result["data"] == data}.values()
    cells: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for result in of_data:
        cells[result["framework"]][result["generalists"]].append(result)
    columns = [name for name in GENERALISTS if any(result["generalists"] == name for result in of_data)]
    lines = ["| framework | " + " | ".join(columns) + " | steps, none |", "|---|" + "---|" * (len(columns) + 1)]
    for framework in FRAMEWORKS:
        texts = []
        for column in columns:
            found = cells[framework][column]
            each = ", ".join(f"{result['dice']:.3f}" for result in sorted(found, key=lambda item: item["choice"]))
            texts.append(f"**{np.mean([result['dice'] for result in found]):.3f}** ({each})" if found else "")
        steps = [result["steps"] for result in cells[framework]["none"]]
        if any(texts):
            lines.append(f"| {framework} | " + " | ".join(texts) + f" | {np.mean(steps):.0f} |")
    means = []
    for column in columns:
        pairs = [
            (cells[framework][column], cells[framework]["none"])
            for framework in FRAMEWORKS
            if cells[framework][column] and cells[framework]["none"]
        ]
        gains = [
            one["dice"] - other["dice"]
            for with_them, without in pairs
            for one in with_them
            for other in without
            if one["choice"] == other["choice"]
        ]
        means.append(f"{np.mean(gains):+.3f} ({len(gains)} runs)" if gains and column != "none" else "")
    return [*lines, "| *gain over none* | " + " | ".join(means) + " | |"]


def write() -> None:
    """Put the tables into plug_and_play.md, below the words that a person wrote."""
    words = TABLE.read_text().partition("<!-- tables -->")[0] if TABLE.exists() else "# Plug and play\n\n"
    parts = []
    for data, annotated in VOLUMES.items():
        of_data = [result for result in results() if result["data"] == data]
        if of_data:
            budgets = sorted({(result["minutes"], result.get("processor") or "AVX-512") for result in of_data})
            given = " or ".join(f"{minutes:g} min of one thread with {processor}" for minutes, processor in budgets)
            title = f"## {data}, {annotated} annotated volumes, {given}"
            parts.append("\n".join([title, "", *table(data)]))
    TABLE.write_text(words + "<!-- tables -->\n\n" + "\n\n".join(parts) + "\n")


def compare_segments() -> None:
    """Seconds that one visit to a case costs with one and with eight segments, each generalist for itself."""
    from semisam.generalists.base import Context, Example
    from semisam.generalists.cache import EmbeddingCache
    from semisam.generalists.registry import create
    from semisam.learning.supervision import GeneralistSupervision
    from semisam.learning.working import WorkingCase
    from semisam.specialists.plan import Plan
    from semisam.volumes import Geometry, Volume

    rng = np.random.default_rng(0)
    shape, geometry = (64, 80, 72), Geometry.simple((64, 80, 72))
    labels = np.zeros(shape, np.uint8)
    for value in range(1, 9):
        center = np.array([16 + 30 * (value % 2), 12 + 18 * ((value - 1) // 2), 36])
        axes = np.ogrid[tuple(slice(0, size) for size in shape)]
        labels[sum(((axis - c) / 8) ** 2 for axis, c in zip(axes, center, strict=True)) < 1] = value
    image = (labels > 0) * 2.0 + rng.normal(0, 0.4, shape)
    print("| generalist | 1 segment | 8 segments | ratio |\n|---|---|---|---|")
    for name in ("nano", "registration", "random-walker", "grow-cut"):
        seconds = []
        for count in (1, 8):
            mask = np.where(labels <= count, labels, 0).astype(np.uint8)
            example = Example("example", Volume(image.astype(np.float32), geometry), mask)
            generalist = create(name, Context([example]))
            plan = Plan(
                tuple(f"s{value}" for value in range(count)), "MR or other", (1.0, 1.0, 1.0), shape, (16,), (), {},
                "cpu", False, 2, 1000,
            )  # fmt: skip
            with tempfile.TemporaryDirectory() as folder:
                cache = EmbeddingCache(Path(folder))
                supervised = GeneralistSupervision([generalist], cache, plan, range(1, count + 1))
                case = WorkingCase("other", (image + 0.1).astype(np.float16), geometry, geometry, None)
                prediction = np.stack([mask == value for value in range(count + 1)]).astype(np.float32)
                supervised.pseudo_label(case, prediction, rng)  # encodes
                label, start = None, time.process_time()
                for _ in range(8):
                    answer = supervised.pseudo_label(case, prediction, rng, label)
                    label = answer[0] if answer else None
                seconds.append((time.process_time() - start) / 8)
        print(f"| {name} | {seconds[0]:.3f} s | {seconds[1]:.3f} s | {seconds[1] / seconds[0]:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", choices=sorted(VOLUMES))
    parser.add_argument("--frameworks", nargs="+", default=list(FRAMEWORKS), choices=list(FRAMEWORKS))
    parser.add_argument("--generalists", nargs="+", default=list(GENERALISTS), choices=list(GENERALISTS))
    parser.add_argument("--choices", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--segments", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.segments:
        compare_segments()
    if options.data:
        if not few_labels.DATA.is_dir():
            sys.exit(f"The data of this benchmark is not at {few_labels.DATA}.")
        run_all(options)
    if options.write:
        write()


if __name__ == "__main__":
    main()
