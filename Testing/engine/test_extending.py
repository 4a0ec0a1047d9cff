"""Documentation/extending.md does what it says: its files and lines are written, and a round trained with them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import semisam.generalists
import semisam.learning.frameworks
import semisam.learning.loop
from conftest import Study
from frameworks_kit import tiny_plan
from semisam.cli import main
from semisam.generalists.registry import GENERALISTS
from semisam.learning.frameworks.registry import FRAMEWORKS
from semisam.specialists.fingerprint import take_fingerprint
from semisam.specialists.hardware import detect
from semisam.specialists.network import make_network
from semisam.specialists.plan import make_plan

DOCUMENT = Path(__file__).resolve().parents[2] / "Documentation" / "extending.md"
PACKAGES = {"frameworks": semisam.learning.frameworks, "generalists": semisam.generalists}
REGISTRIES = {"FRAMEWORKS": FRAMEWORKS, "GENERALISTS": GENERALISTS}


def parts() -> list[tuple[str, str]]:
    """("python", block) and ("registry", name of the table that the text is about), in their order."""
    found = re.finditer(r"```python\n(.*?)```|Its line in `(\w+)`", DOCUMENT.read_text("utf-8"), re.DOTALL)
    return [("registry", match[2]) if match[2] else ("python", match[1]) for match in found]


def blocks() -> list[str]:
    return [block for kind, block in parts() if kind == "python"]


@pytest.fixture
def extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the document, as if they lay in their packages, and its lines in the registries."""
    registry = None
    for kind, block in parts():
        if kind == "registry":
            registry = REGISTRIES[block]
        elif found := re.match(r"# SemiSAMPlus/semisam/(\S+)\n", block):
            path = tmp_path / "written" / found[1]
            path.parent.mkdir(parents=True)
            path.write_text(block, "utf-8")
            package = PACKAGES[path.parent.name]
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(path.parent)])
        else:
            assert registry is not None
            name, target = re.findall(r'"([^"]+)"', block)
            monkeypatch.setitem(registry, name, target)
    # Threads that wait for one another cost tiny networks more than they bring.
    monkeypatch.setattr(semisam.learning.loop, "detect", lambda device: replace(detect(device), cores=1))


def test_each_example_is_one_short_file_and_one_line() -> None:
    files = [block for block in blocks() if block.startswith("# SemiSAMPlus/")]
    lines = [block for block in blocks() if not block.startswith("# SemiSAMPlus/")]
    assert len(files) == len(lines) == 2
    assert all(block.count("\n") == 1 for block in lines)
    assert sum(len([line for line in block.splitlines() if line.strip()]) for block in blocks()) <= 40


def test_a_round_is_trained_with_the_framework_and_the_generalist_of_the_document(
    extended: None, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    project = study.make_project()
    plan = make_plan(take_fingerprint(project), detect("cpu"), tuple(segment.name for segment in project.segments))
    tiny = {"channels": (4, 8), "strides": ((2, 2, 2),), "patch": (16, 16, 16), "bfloat16": False, "refresh_every": 2}
    replace(plan, **tiny).save(project.models_dir / "plan.json")  # type: ignore[arg-type]
    command = ["train", str(project.path), "--steps", "10", "--framework", "entropy", "--generalist", "brightness"]
    assert main([*command, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[-1]["finished"] and told[-1]["generalists"] == ["brightness"]
    assert set(told[-1]["trust"]["brightness"]) == {"head", "tail"}
    (metrics,) = [event for event in told if event["event"] == "metrics"]
    assert metrics["loss_consistency"] > 0
    facts = json.loads((project.models_dir / "specialist.json").read_text("utf-8"))
    assert facts["framework"] == "entropy"


def test_the_sizes_in_the_document_are_those_of_the_networks() -> None:
    rows = re.findall(r"\| `(\S+)` \|.*\| ([\d.]+) million(?: \(([\d.]+)\))? \|", DOCUMENT.read_text("utf-8"))
    channels = {"unet": [(16, 32, 64, 128), (32, 64, 128, 256)], "vnet": [(16, 32, 64, 128, 256)]}
    channels["unet-3d"] = [(64, 128, 256, 512)]
    for name, *numbers in rows:
        for levels, told in zip(channels[name], filter(None, numbers), strict=True):
            plan = tiny_plan(network=name, channels=levels, strides=((2, 2, 2),) * (len(levels) - 1))
            millions = sum(value.numel() for value in make_network(plan).parameters()) / 1e6
            assert round(millions, len(told.partition(".")[2])) == float(told), name
    assert [row[0] for row in rows] == ["unet", "vnet", "unet-3d"]
