"""Mean Dice on held-out cases after training with few annotated cases: the project's main quality benchmark.

    python Testing/benchmarks/few_labels.py hippocampus --labels 1 2 4 8 --choices 3 --minutes 10
    python Testing/benchmarks/few_labels.py left_atrium --labels 1 4 --minutes 20 --generalist none
    python Testing/benchmarks/few_labels.py hippocampus --table
    python Testing/benchmarks/few_labels.py hippocampus --confidence

The cases are split by a fixed seed into a pool and a test set; in the pool, N cases drawn by another seed are
annotated. Test cases never enter the project: they are segmented as new volumes and compared on their original grid.
Every run is one line of ``results/few_labels.jsonl``; runs that are there already, of the same kind of processor, are
not repeated.
``--processor-time`` counts the budget in processor seconds of this process, which on a shared machine compares variants
fairly; together with ``taskset -c 0`` they are seconds of one thread. ``--set key=value`` changes entries of the plan,
for comparing variants (name them with ``--variant``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from semisam.files.volume_files import read_image, read_mask
from semisam.learning import loop, supervision, teaching
from semisam.learning.loop import TrainOptions, train
from semisam.learning.working import to_working
from semisam.measure import rank_correlation, worst_found
from semisam.predict import Specialist
from semisam.project import Project
from semisam.project.masks import read_given
from semisam.segments import Segment, parse_segments
from semisam.specialists.fingerprint import take_fingerprint
from semisam.specialists.hardware import detect
from semisam.specialists.plan import make_plan
from semisam.typical import coverage_order, similarities, thumbnail
from semisam.volumes import Geometry, Volume

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RESULTS = Path(__file__).resolve().parent / "results" / "few_labels.jsonl"
SETS = {
    "hippocampus": ("1=anterior,2=posterior", 90),
    "left_atrium": ("1=left atrium", 60),
    "acdc": ("1=right ventricle,2=myocardium,3=left ventricle", 60),
}
SEED = 2026


def split(data: str) -> tuple[list[str], list[str]]:
    """Names of the pool and of the test cases. ACDC is split by patient, of whom each has two volumes."""
    names = sorted(path.name.removesuffix(".nii.gz") for path in (DATA / data / "images").glob("*.nii.gz"))
    groups = sorted({patient(name) for name in names})
    order = [groups[index] for index in np.random.default_rng(SEED).permutation(len(groups))]
    pool = set(order[: SETS[data][1]])
    return [name for name in names if patient(name) in pool], [name for name in names if patient(name) not in pool]


def patient(name: str) -> str:
    """Whose volume this is: those of ACDC are "patient001_frame01" and the like, two of each; others are one each."""
    return name.partition("_frame")[0]


def annotated_cases(pool: list[str], labels: int, choice: int) -> list[str]:
    """All volumes of the first ``labels`` patients of a random order, so that the 2 of a choice contain its 1."""
    patients = sorted({patient(name) for name in pool})
    order = np.random.default_rng([SEED, choice]).permutation(len(patients))
    chosen = {patients[index] for index in order[:labels]}
    return [name for name in pool if patient(name) in chosen]


def typical_cases(data: str, pool: list[str], labels: int, choice: int) -> list[str]:
    """All volumes of the ``labels`` patients of a random half of the pool that semisam.typical would annotate first."""
    patients = sorted({patient(name) for name in pool})
    half = np.random.default_rng([SEED, choice]).permutation(len(patients))[: len(patients) // 2]
    names = [name for name in pool if patient(name) in {patients[index] for index in half}]
    images = [read_image(DATA / data / "images" / f"{name}.nii.gz") for name in names]
    order = coverage_order(similarities(np.stack([thumbnail(image) for image in images])))
    chosen = list(dict.fromkeys(patient(names[index]) for index in order))[:labels]
    return [name for name in pool if patient(name) in chosen]


def make_project(folder: Path, data: str, annotated: list[str], pool: list[str], part: str = "") -> Project:
    """``part``: "scribbles" for those of the data set, "4" for every fourth slice only, "" for whole annotations."""
    segments = parse_segments(SETS[data][0])
    project = Project.create(folder, segments)
    for name in pool:
        project.add_case(name, DATA / data / "images" / f"{name}.nii.gz")
    for name in annotated:
        geometry = project.image(name).geometry
        if part == "scribbles":
            mask, known = read_given(DATA / data / "scribbles" / f"{name}.nii.gz", segments, geometry, "4")
        else:
            mask, known = reference(data, name, segments, geometry), None
        if part.isdigit():
            axis = int(np.argmax(geometry.spacing))  # the slices that one draws on; k where all are alike
            drawn = np.arange(geometry.shape[axis]) % int(part) == int(part) // 2
            known = np.broadcast_to(np.expand_dims(drawn, [a for a in range(3) if a != axis]), geometry.shape)
        project.set_annotation(name, mask, author="benchmark", source="reference", known=known)
    return project


def reference(data: str, name: str, segments: tuple[Segment, ...], geometry: Geometry) -> Volume:
    """The data set's own mask of a case."""
    return read_mask(DATA / data / "labels" / f"{name}.nii.gz", segments, geometry)


def dice(predicted: np.ndarray, truth: np.ndarray, segments: tuple[Segment, ...]) -> list[float]:
    values = []
    for segment in segments:
        one, two = predicted == segment.value, truth == segment.value
        total = int(one.sum() + two.sum())
        values.append(2 * int((one & two).sum()) / total if total else 1.0)
    return values


def proposal_scores(project: Project, data: str) -> dict[str, list[float]]:
    """The Dice of each segment, for every case with a proposal."""
    scores = {}
    for name, case in project.cases.items():
        if case.proposal:
            mask = project.proposal(name)
            truth = reference(data, name, project.segments, mask.geometry)
            scores[name] = dice(mask.voxels, truth.voxels, project.segments)
    return scores


def processor() -> str:
    """The vector instructions that torch uses here, "AVX2" for example: with others a step takes another time."""
    return str(torch.backends.cpu.get_cpu_capability())


def run(data: str, labels: int, choice: int, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    pool, test = split(data)
    test = test[:: arguments.every]
    if arguments.first == "typical":
        annotated = typical_cases(data, pool, labels, choice)
    else:
        annotated = annotated_cases(pool, labels, choice)
    project = make_project(folder, data, annotated, pool, arguments.part)
    if arguments.set:
        names = tuple(segment.name for segment in project.segments)
        plan = make_plan(take_fingerprint(project), detect(), names)
        changes = {key: json.loads(value) for key, _, value in (item.partition("=") for item in arguments.set)}
        replace(plan, **{k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}).save(
            project.models_dir / "plan.json"
        )
    first: list[float] = []
    start, cpu = time.monotonic(), time.process_time()

    def watch(event: dict[str, Any]) -> None:
        if event["event"] == "proposal-ready":
            first.append(time.monotonic() - start)
        if event["event"] == "log":
            print("   ", event["text"], flush=True)

    options = TrainOptions(
        minutes=None if arguments.steps else arguments.minutes,
        steps=arguments.steps,
        framework=arguments.framework,
        generalist=arguments.generalist,
        seed=choice,
    )
    summary = train(project, options, watch, lambda: False)
    seconds = time.monotonic() - start
    cpu = time.process_time() - cpu
    specialist, _ = Specialist.load(project)
    scores, confidences = [], []
    for name in test:
        image = read_image(DATA / data / "images" / f"{name}.nii.gz")
        working = to_working(image, specialist.plan)
        prediction = specialist.predict(working.voxels, working.geometry, image.geometry)
        truth = reference(data, name, project.segments, image.geometry)
        scores.append(dice(prediction.mask.voxels, truth.voxels, project.segments))
        confidences.append(prediction.confidence)
    table = np.array(scores)
    unannotated = len(pool) - len(annotated)
    project.reload()
    proposals = [
        [round(float(np.mean(values)), 4), project.cases[name].confidence]
        for name, values in proposal_scores(project, data).items()
    ]
    return {
        "data": data,
        "labels": labels,
        "choice": choice,
        "minutes": arguments.minutes,
        "steps": summary["steps"],
        "generalist": arguments.generalist,
        "framework": arguments.framework,
        "variant": arguments.variant,
        "clock": "processor" if arguments.processor_time else "wall",
        "dice": round(float(table.mean()), 4),
        "per_segment": [round(float(value), 4) for value in table.mean(0)],
        "worst_tenth": round(float(np.percentile(table.mean(1), 10)), 4),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "first_proposals_seconds": round(first[unannotated - 1], 1) if len(first) >= unannotated > 0 else None,
        "trust": summary["trust"],
        "generalist_share": summary["generalist_share"],
        "encoding_seconds": summary["encoding_seconds"],
        "annotated": annotated,
        "per_case": [round(float(value), 4) for value in table.mean(1)],
        "confidence": [round(float(value), 4) for value in confidences],
        "proposals": proposals,
        "revision": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True, check=False
        ).stdout.strip(),
    }


def confidence_table() -> str:
    """Markdown: is the confidence worth something? Over the runs whose revision is known, proposals and test cases.

    "worst fifth found" is the share of the worst fifth by Dice that the fifth with the lowest confidence holds.
    """
    rows: dict[tuple[str, int, str, str], list[tuple[float, ...]]] = defaultdict(list)
    for line in RESULTS.read_text().splitlines():
        result = json.loads(line)
        if not result.get("revision") or result["variant"]:
            continue
        test = list(zip(result["per_case"], result["confidence"], strict=True))
        for kind, pairs in (("proposals", result["proposals"]), ("test cases", test)):
            true, promised = np.array(pairs, float).T
            found, correlation = worst_found(promised, true), rank_correlation(promised, true)
            if found is None or correlation is None:
                continue
            rows[result["data"], result["labels"], result["generalist"], kind].append(
                (found, correlation, true.mean(), promised.mean(), np.abs(true - promised).mean())
            )
    lines = [
        "| data | annotated | generalist | of | runs | worst fifth found | rank correlation | Dice | confidence "
        "| off by |",
        "|" + "---|" * 10,
    ]
    for row, runs in sorted(rows.items()):
        numbers = " | ".join(f"{value:.2f}" for value in np.mean(runs, axis=0))
        lines.append(f"| {' | '.join(str(item) for item in row)} | {len(runs)} | {numbers} |")
    return "\n".join(lines)


ROW = ("data", "minutes", "clock", "cores", "processor", "framework", "generalist", "variant")


def table() -> str:
    """Markdown: mean Dice over the choices, each choice in brackets."""
    cells: dict[tuple[Any, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    counts = set()
    for line in RESULTS.read_text().splitlines():
        result = json.loads(line)
        row = tuple(str(result.get(key, "")) for key in ROW)
        cells[row][result["labels"]].append(result["dice"])
        counts.add(result["labels"])
    columns = sorted(counts)
    lines = [
        f"| {' | '.join(ROW)} | {' | '.join(f'{count} annotated' for count in columns)} |",
        "|" + "---|" * (len(ROW) + len(columns)),
    ]
    for row, values in sorted(cells.items()):
        texts = []
        for count in columns:
            scores = values.get(count, [])
            each = ", ".join(f"{score:.3f}" for score in scores)
            texts.append(f"**{np.mean(scores):.3f}** ({each})" if scores else "")
        lines.append(f"| {' | '.join([*row, *texts])} |")
    return "\n".join(lines)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=sorted(SETS))
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--choices", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--generalist", default="auto")
    parser.add_argument("--framework", default="auto")
    parser.add_argument("--variant", default="")
    parser.add_argument("--part", default="", help='annotate a part: "scribbles", or "4" for every fourth slice')
    parser.add_argument(
        "--first", choices=["random", "typical"], default="random", help="which cases are annotated (see --variant)"
    )
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--every", type=int, default=1, help="evaluate every n-th test case only")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--keep", type=Path, default=None, help="keep the project in this folder")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--confidence", action="store_true")
    return parser


def count_processor_seconds() -> None:
    """Let the budget of training count processor seconds of this process instead of those of the clock."""
    for module in (loop, supervision, teaching):
        module.time = SimpleNamespace(monotonic=time.process_time)  # type: ignore[attr-defined]


def main() -> None:
    arguments = options().parse_args()
    if arguments.table or arguments.confidence:
        print(table() if arguments.table else confidence_table())
        return
    if arguments.processor_time:
        count_processor_seconds()
    if not DATA.is_dir():
        sys.exit(f"The data of this benchmark is not at {DATA}.")
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    keys = ("data", "labels", "choice", "minutes", "generalist", "framework", "variant", "processor")
    done = set()
    if arguments.results.exists():
        lines = [json.loads(line) for line in arguments.results.read_text().splitlines()]
        done = {tuple(line.get(key) for key in keys) for line in lines}
    for choice in arguments.choices:
        for labels in arguments.labels:
            values = vars(arguments) | {"labels": labels, "choice": choice, "processor": processor()}
            if tuple(values[key] for key in keys) in done:
                continue
            with tempfile.TemporaryDirectory() as temporary:
                folder = arguments.keep or Path(temporary)
                result = run(arguments.data, labels, choice, arguments, folder / f"{arguments.data}-{labels}-{choice}")
            with arguments.results.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print({key: result[key] for key in (*keys, "dice", "per_segment", "steps", "cpu_seconds")}, flush=True)


if __name__ == "__main__":
    main()
