"""Interactive bars: clicks on a full-size CT through the worker, alone and while training runs.

    python Testing/benchmarks/interactive.py [--image CT --mask REFERENCE] [--generalist nano] [--training]

Bars (2 cores, no GPU): encode under 3 s, each further prompt under 0.3 s, mask file included. Times are what the
client sees from sending the request to reading its answer; "processor" is the worker's own processor time, which
other programs on the machine hardly change. Writes the table to interactive.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "SemiSAMPlus"), str(ROOT / "Testing" / "engine")]

from semisam.files.volume_files import read_image, read_mask, write_image  # noqa: E402
from semisam.project import Project  # noqa: E402
from semisam.segments import parse_segments  # noqa: E402
from semisam.volumes import Volume, bounding_box  # noqa: E402
from worker_client import WorkerClient  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "volumes" / "chaos_ct"
SEGMENTS = parse_segments("1=liver")
Row = tuple[str, str, list[float], list[float], str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", type=Path, default=DATA / "ct.nii.gz")
    parser.add_argument("--mask", type=Path, default=DATA / "liver_manual.nii.gz")
    parser.add_argument("--generalist", default="nano")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--training", action="store_true", help="measure also while training runs")
    parser.add_argument("--note", default="", help="a sentence for the table, on what else ran on the machine")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    if not arguments.image.exists():
        print(f'Skipped: "{arguments.image}" is not here.')
        return 0
    folder = Path(tempfile.mkdtemp(prefix="semisam-interactive-"))
    try:
        bench = Bench(arguments, folder)
        rows = [bench.hello(), *bench.encoding(), *bench.prompts("")]
        if arguments.training:
            rows += bench.while_training()
        bench.client.end()
        text = table(rows, arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(text)
    arguments.output.write_text(text, encoding="utf-8")
    return 0


class Bench:
    """A worker on a project with the image (annotated) and a slightly different copy of it."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.image: Path = arguments.image
        self.generalist: str = arguments.generalist
        self.repeats: int = arguments.repeats
        self.folder = folder
        image = read_image(self.image)
        mask = read_mask(arguments.mask, SEGMENTS, reference=image.geometry)
        self.truth = mask.voxels > 0
        self.copy = folder / "copy.nii.gz"
        write_image(self.copy, Volume(image.voxels + 1, image.geometry))
        project = Project.create(folder / "project", SEGMENTS)
        project.add_cases({"image": self.image, "copy": self.copy})
        project.set_annotation("image", mask, author="benchmark", source=str(arguments.mask))
        rng = np.random.default_rng(0)
        self.inside = rng.permutation(np.argwhere(self.truth))[:20].tolist()
        box = bounding_box(self.truth)
        assert box is not None
        self.box = [*(part.start for part in box), *(part.stop for part in box)]
        margin = tuple(slice(max(0, part.start - 10), part.stop + 10) for part in box)
        around = np.argwhere(~self.truth[margin]) + [part.start for part in margin]
        self.outside = rng.permutation(around)[:20].tolist()
        self.client = WorkerClient(project.path, threads=None)

    def hello(self) -> Row:
        self.client.event(None, "hello")
        return ("hello after the start of the process", "0.5 s", [time.monotonic() - self.client.begun], [], "")

    def encoding(self) -> list[Row]:
        rows = []
        for text, image, bar in (
            ("first encode, with the load of torch and the network", self.image, ""),
            ("encode of another volume (read, reduce, encode, keep on disk)", self.copy, "3 s"),
        ):
            answer, wall, processor = self._ask("encode", image=image)
            parts = ", ".join(f"{name} {value:.2f}" for name, value in answer["seconds"].items() if value)
            rows.append((text, bar, [wall], [processor], parts))
        return rows

    def prompts(self, suffix: str) -> list[Row]:
        last = self.folder / "last.nrrd"
        n = self.repeats
        clicks = [{"points": self.inside[: k + 1], "labels": [1] * (k + 1)} for k in range(n)]
        mixed = [
            {"points": self.inside[: k + 1] + self.outside[: k + 1], "labels": [1] * (k + 1) + [0] * (k + 1)}
            for k in range(n)
        ]
        boxes = [{"box": (np.array(self.box) + [k, k, k, -k, -k, -k]).tolist()} for k in range(n)]
        corrections = [{**prompt, "mask": last} for prompt in mixed]
        rows = []
        for text, prompts in (
            ("clicks in the object", clicks),
            ("clicks in and around it", mixed),
            ("a box", boxes),
            ("clicks and the last answer as mask", corrections),
        ):
            for extent in ("region", "image"):
                rows.append(self._row(f"{text}, file of the {extent}{suffix}", prompts, extent))
                if "box" in prompts[0] and extent == "region":
                    shutil.copyfile(self.folder / "answer.nrrd", last)
        return rows

    def while_training(self) -> list[Row]:
        training = self.client.send("train", minutes=30, generalist="none")
        self.client.event(training, "metrics", seconds=240)
        rows = self.prompts(", while training runs")
        begun = time.monotonic()
        self.client.ask("stop", seconds=60)
        rows.append(("stop of training, until its process is gone", "", [time.monotonic() - begun], [], ""))
        return rows

    def _row(self, text: str, prompts: list[dict[str, Any]], extent: str) -> Row:
        walls, processors = [], []
        output = self.folder / "answer.nrrd"
        for prompt in prompts:
            answer, wall, processor = self._ask("prompt", image=self.image, output=output, extent=extent, **prompt)
            walls.append(wall)
            processors.append(processor)
        found = np.zeros(self.truth.shape, bool)
        lower, upper = answer["region"][:3], answer["region"][3:]
        found[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] = read_image(output).voxels > 0
        dice = 2 * np.count_nonzero(found & self.truth) / (np.count_nonzero(found) + np.count_nonzero(self.truth))
        return (text, "0.3 s", walls, processors, f"last answer: Dice {dice:.2f}, {output.stat().st_size / 1e6:.1f} MB")

    def _ask(self, request: str, **fields: Any) -> tuple[dict[str, Any], float, float]:
        fields = {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}
        before, begun = self._processor(), time.monotonic()
        answer = self.client.ask(request, generalist=self.generalist, seconds=120, **fields)
        wall = time.monotonic() - begun
        if answer["event"] != "done":
            raise SystemExit(str(answer))
        return answer, wall, self._processor() - before

    def _processor(self) -> float:
        """Seconds of processor time that the worker has used."""
        try:
            fields = Path(f"/proc/{self.client.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def table(rows: list[Row], arguments: argparse.Namespace) -> str:
    size = " x ".join(str(n) for n in read_image(arguments.image).shape)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    lines = [
        "# Interactive: clicks on a full-size CT through the worker",
        "",
        f"`python Testing/benchmarks/interactive.py{' --training' if arguments.training else ''}`, {date.today()}: "
        f"{arguments.image.parent.name} ({size} voxels), generalist {arguments.generalist}, {os.cpu_count()} cores, "
        f"no GPU. Load of the machine at the end (1, 5, 15 minutes): {load}. {arguments.note}".rstrip(),
        "",
        "| what | bar | median | longest | processor (median) | |",
        "|---|---|---|---|---|---|",
    ]
    for text, bar, walls, processors, note in rows:
        processor = f"{statistics.median(processors):.2f} s" if processors else ""
        middle, longest = f"{statistics.median(walls):.2f} s", f"{max(walls):.2f} s"
        lines.append(f"| {text} | {bar} | {middle} | {longest} | {processor} | {note} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
