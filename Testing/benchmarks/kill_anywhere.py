"""SIGKILL at random moments of init, train and propose: is the project whole afterwards, and does training go on?

    python Testing/benchmarks/kill_anywhere.py [--kills 50] [--seed 0] [--generalist none] [--keep DIR]

A small project of made-up volumes is worked on by ``python -m semisam`` in child processes, which are killed. After
each kill the project must open, its check must find nothing, every annotation must be the same byte for byte, and no
temporary file may be left; the steps of training that were saved may never go back, and training must go on from them.
When a round of training is through, the next kills are for a new project; at the end each command must run through.
The table is written to ``results/kill_anywhere.md``; the exit code is 1 if anything of this failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from semisam.errors import ProjectError
from semisam.files.volume_files import write_image, write_mask
from semisam.project import Project
from semisam.segments import parse_segments
from semisam.volumes import Geometry, Volume

SEGMENTS = "1=shell,2=core"
SHARES = {"init": 0.2, "train": 0.6, "propose": 0.2}
STEPS = 12
RESULTS = Path(__file__).resolve().parent / "results" / "kill_anywhere.md"
ENGINE = Path(__file__).resolve().parents[2] / "SemiSAMPlus"


@dataclass
class Tally:
    """What happened in one phase."""

    kills: int = 0
    moments: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    resumed: int = 0


def make_data(folder: Path, rng: np.random.Generator, count: int = 6) -> None:
    """Volumes of a bright core in a grey shell in noise, with their masks; the first two are annotated."""
    geometry = Geometry.simple((12, 16, 16), (2.0, 1.5, 1.5))
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in geometry.shape), indexing="ij"), -1)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for index in range(count):
        center = np.array(geometry.shape) / 2 + rng.uniform(-1, 1, 3)
        distance = np.linalg.norm((grid - center) / rng.uniform(4, 6, 3), axis=-1)
        mask = (distance < 1).astype(np.uint8) + (distance < 0.5)
        image = np.array([0.0, 80.0, 160.0])[mask] + rng.normal(0, 15, geometry.shape)
        write_image(folder / "images" / f"case{index}.nii.gz", Volume(image.astype(np.float32), geometry))
        write_mask(folder / "masks" / f"case{index}.nii.gz", Volume(mask, geometry), parse_segments(SEGMENTS))


class Commands:
    """The commands of one project."""

    def __init__(self, folder: Path, generalist: str) -> None:
        self.project = folder / "project"
        self.arguments = {
            "init": [
                *("--images", folder / "images", "--annotations", folder / "masks"),
                *("--cases", "case0,case1", "--segments", SEGMENTS),
            ],
            "train": ["--steps", STEPS, "--generalist", generalist],
            "propose": [],
        }

    def start(self, name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "semisam", name, self.project, *self.arguments[name], "--json"]
        paths = os.pathsep.join(filter(None, [str(ENGINE), os.environ.get("PYTHONPATH", "")]))
        return subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, name: str) -> float:
        """Run a command to its end; seconds since it was at work. Raises RuntimeError when it fails."""
        child = self.start(name)
        began, _ = wait_for_work(child, name)
        output = child.communicate()[0]
        if child.returncode != 0:
            raise RuntimeError(f"{name} ended with {child.returncode}: {output[-500:]}")
        return time.monotonic() - began

    def kill(self, name: str, after: float) -> tuple[bool, str]:
        """Start a command and kill it ``after`` seconds of work: whether it still ran then, and what it had said.

        Raises RuntimeError when it failed by itself before.
        """
        child = self.start(name)
        began, said = wait_for_work(child, name)
        time.sleep(max(0.0, began + after - time.monotonic()))
        alive = child.poll() is None
        child.kill()
        said += child.communicate()[0]
        if not alive and child.returncode != 0:
            raise RuntimeError(f"{name} ended with {child.returncode}: {said[-500:]}")
        return alive, said


def wait_for_work(child: subprocess.Popen[str], name: str) -> tuple[float, str]:
    """The moment the command is at work (``init`` at its start, the others when torch is loaded), and what it said."""
    said = "" if name == "init" or child.stdout is None else child.stdout.readline() + child.stdout.readline()
    return time.monotonic(), said


def fingerprints(project: Path) -> dict[str, str]:
    """Name -> hash of every annotation file."""
    files = sorted((project / "annotations").glob("*.seg.nrrd"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def saved(project: Path) -> tuple[int, int, bool]:
    """Round, step, and whether the round is finished, by the last checkpoint; zeros before the first."""
    try:
        state = json.loads((project / "models" / "training.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return (0, 0, False)
    return (int(state["round"]), int(state["steps"]), bool(state["finished"]))


def problems(project: Path, annotations: dict[str, str]) -> list[str]:
    """What is wrong with a project after a kill."""
    command = [sys.executable, "-m", "semisam", "status", str(project), "--json"]
    status = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ENGINE)}, capture_output=True, text=True)
    found = [] if status.returncode == 0 else [f"status: {status.stderr.strip()}"]
    try:
        found += Project.open(project).check()
    except ProjectError as error:
        found.append(str(error))
    if fingerprints(project) != annotations:
        found.append("an annotation has changed")
    found += [f"left over: {path}" for path in project.rglob(".*") if path.name.startswith((".tmp-", ".staged-"))]
    return found


def kill_init(commands: Commands, kills: int, rng: random.Random, wanted: dict[str, str], seconds: float) -> Tally:
    """Each time a new project: it is not there, or it is whole, and then it is deleted for the next time."""
    tally = Tally()
    while tally.kills < kills:
        after = rng.uniform(0, seconds)
        if commands.kill("init", after)[0]:
            tally.kills += 1
            tally.moments.append(after)
        if commands.project.exists():
            tally.failures += problems(commands.project, wanted)
            shutil.rmtree(commands.project)
    return tally


def kill_work(commands: Commands, name: str, kills: int, rng: random.Random, seconds: float) -> Tally:
    """Kill a command again and again on one project, which goes on where it was."""
    tally = Tally()
    annotations = fingerprints(commands.project)
    while tally.kills < kills:
        if name == "train" and saved(commands.project)[2]:
            shutil.rmtree(commands.project)
            commands.run("init")
            annotations = fingerprints(commands.project)
        before, after = saved(commands.project), rng.uniform(0, seconds)
        alive, said = commands.kill(name, after)
        if alive:
            tally.kills += 1
            tally.moments.append(after)
        tally.failures += problems(commands.project, annotations)
        now = saved(commands.project)
        if now < before:
            tally.failures.append(f"training went back from {before} to {now}")
        if name == "train" and before[1] > 0 and "Learning from" in said:
            tally.resumed += 1
            if "Going on with round" not in said:
                tally.failures.append(f"training did not go on from {before}")
        print(
            f"{name}: {tally.kills} of {kills}, after {after:.2f} s, step {now[1]}, went on {tally.resumed} times, "
            f"{len(tally.failures)} failures",
            flush=True,
        )
    commands.run(name)
    tally.failures += problems(commands.project, annotations)
    return tally


def run(folder: Path, kills: int, seed: int, generalist: str) -> dict[str, Tally]:
    make_data(folder, np.random.default_rng(seed))
    commands, rng = Commands(folder, generalist), random.Random(seed)
    counts = {name: round(kills * share) for name, share in SHARES.items()}
    seconds = commands.run("init")
    whole = fingerprints(commands.project)
    shutil.rmtree(commands.project)
    tallies = {"init": kill_init(commands, counts["init"], rng, whole, seconds)}
    commands.run("init")
    seconds = commands.run("train")
    tallies["train"] = kill_work(commands, "train", counts["train"], rng, seconds)
    seconds = commands.run("propose")
    tallies["propose"] = kill_work(commands, "propose", counts["propose"], rng, seconds)
    return tallies


def table(tallies: dict[str, Tally], seed: int) -> str:
    lines = [
        f"SIGKILL at random moments (`kill_anywhere.py --seed {seed}`). After each one the project opened, its check",
        "found nothing, all annotations were the same byte for byte, and the command went on or began anew.",
        "",
        "| command | kills | seconds of work when killed | went on from a checkpoint | failures |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, tally in tallies.items():
        span = f"{min(tally.moments):.2f} to {max(tally.moments):.2f}" if tally.moments else "-"
        resumed = str(tally.resumed) if name == "train" else "-"
        lines.append(f"| {name} | {tally.kills} | {span} | {resumed} | {len(tally.failures)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--generalist", default="none", help="for train; none is quickest")
    parser.add_argument("--keep", type=Path, help="work in this new folder and leave it there")
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True)
        tallies = run(options.keep, options.kills, options.seed, options.generalist)
    else:
        with tempfile.TemporaryDirectory() as folder:
            tallies = run(Path(folder), options.kills, options.seed, options.generalist)
    text = table(tallies, options.seed)
    print(text)
    failures = [f"{name}: {failure}" for name, tally in tallies.items() for failure in tally.failures]
    print("\n".join(failures))
    if not failures and options.kills >= 50:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
