"""How long the command line takes to answer: help, status, and errors in what it was given (bar: 0.5 s each).

    python Testing/benchmarks/start_up.py [--cases 90] [--repeat 5] [--write]

Each command runs in a fresh process; the median of the repetitions is shown. Exit code 1 when a command misses the
bar. ``--write`` puts the table into results/start_up.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

from semisam.console import table
from semisam.files.volume_files import write_image
from semisam.project import Project
from semisam.segments import parse_segments
from semisam.volumes import Geometry, Volume

BAR = 0.5
RESULT = Path(__file__).with_name("results") / "start_up.md"


def make_project(folder: Path, cases: int) -> Project:
    """A project with many cases, half of them with a proposal."""
    project = Project.create(folder / "project", parse_segments("1=one,2=two"))
    geometry = Geometry.simple((4, 4, 4))
    images = {}
    for number in range(cases):
        path = folder / "images" / f"case{number:03d}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        write_image(path, Volume(np.random.default_rng(number).normal(size=geometry.shape), geometry))
        images[path.name.removesuffix(".nii.gz")] = path
    project.add_cases(images)
    for name in list(images)[: cases // 2]:
        mask = Volume(np.ones(geometry.shape, np.uint8), geometry)
        project.set_proposal(name, mask, model="specialist-0001", confidence=0.5)
    return project


def seconds(arguments: list[str], repeat: int) -> tuple[float, int]:
    """Median wall-clock time of a command and its exit code."""
    times, code = [], 0
    for _ in range(repeat):
        start = time.perf_counter()
        process = subprocess.run([sys.executable, "-m", "semisam", *arguments], capture_output=True)
        times.append(time.perf_counter() - start)
        code = process.returncode
    return statistics.median(times), code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=90)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = str(make_project(Path(folder), options.cases).path)
        nowhere = str(Path(folder) / "nowhere")
        commands = {
            "--help": ["--help"],
            "train --help": ["train", "--help"],
            f"status ({options.cases} cases)": ["status", project],
            f"status --json ({options.cases} cases)": ["status", project, "--json"],
            "status: no project": ["status", nowhere],
            "train: wrong option": ["train", project, "--minutes", "soon"],
            "train: nothing annotated": ["train", project],
            "train: unknown generalist": ["train", project, "--generalist", "oracle"],
            "segment: no such image": ["segment", project, nowhere, "-o", folder],
            "prompt: no such image": ["prompt", nowhere, "--point", "1,1,1", "-o", "out.nii.gz"],
            "evaluate: no such folder": ["evaluate", nowhere, nowhere],
        }
        rows = []
        for name, arguments in commands.items():
            taken, code = seconds(arguments, options.repeat)
            rows.append([name, code, taken])
    text = table(["command", "exit code", "seconds"], rows)
    print(text)
    if options.write:
        RESULT.parent.mkdir(exist_ok=True)
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
        RESULT.write_text(f"# Start-up ({machine}, {date.today()})\n\n```\n{text}\n```\n", "utf-8")
    return int(any(row[2] > BAR for row in rows))


if __name__ == "__main__":
    sys.exit(main())
