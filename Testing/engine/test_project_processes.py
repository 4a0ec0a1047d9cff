"""Several processes on one project, and processes that are killed at any moment."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from semisam.project import Project, State
from semisam.project.schema import Case
from small_project import leftovers, make_image, make_mask, make_project, start_python

HAMMER = """
import sys
from semisam.project import Project
from small_project import make_mask
project, name, rounds = Project.open(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sys.stdin.readline() if False else None
for number in range(1, rounds + 1):
    project.set_annotation(name, make_mask(number), author=name, source=str(number))
    project.set_proposal("shared", make_mask(number), model=name, confidence=0.5)
    project.set_proposal(name, make_mask(number), model=name, confidence=None)
"""

WRITE_FOREVER = """
import itertools, sys
from pathlib import Path
import numpy as np
from semisam.project import Project
from semisam.files.volume_files import read_image
from semisam.volumes import Volume
from small_project import GEOMETRY, SEGMENTS, make_mask
folder = Path(sys.argv[1])
read_image(folder / "d.nii.gz")  # everything is loaded now
print("ready", flush=True)
start = int(sys.argv[2])
for number in itertools.count(start):
    project = Project.open(folder / "project")
    uncertainty = Volume(np.full(GEOMETRY.shape, number, np.float32), GEOMETRY)
    match number % 5:  # every process begins with another one
        case 0:
            project.set_proposal("b", make_mask(number), model=str(number), confidence=0.5, uncertainty=uncertainty)
        case 1:
            project.set_annotation("b", make_mask(number), author="Ada", source=str(number))
        case 2:
            project.set_proposal("c", make_mask(number), model=str(number), confidence=None)
            project.accept("c", author="Ada")
            project.remove_annotation("c")
        case 3:
            project.add_case("d", folder / "d.nii.gz", copy=True)
            project.remove_case("d")
        case 4:
            fresh = Project.create(folder / f"fresh{number}", SEGMENTS)
            fresh.add_cases({"d": folder / "d.nii.gz"}, copy=True)
    print(number, flush=True)
"""

# Forks once for each file-system operation of an action that writes, and kills the fork just before that operation.
KILL_AT_EVERY_STEP = """
import os, shutil, signal, sys
from pathlib import Path
from semisam.project import Project
from small_project import SEGMENTS, make_mask
import semisam.files.volume_files, SimpleITK
folder = Path(sys.argv[1])
action = compile(sys.argv[2], "action", "exec")
def writes(event, arguments):
    if event == "open":
        return arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) != 0
    return event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
for step in range(1000):
    work = folder / f"step{step}"
    shutil.copytree(folder / "template", work)
    pid = os.fork()
    if pid == 0:
        left = step
        def hook(event, arguments):
            global left
            if writes(event, arguments) and str(work) in " ".join(map(str, arguments)):
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
        sys.addaudithook(hook)
        project = Project.open(work / "project")
        exec(action)
        os._exit(0)
    if os.waitpid(pid, 0)[1] == 0:
        break
print(step)
"""

ACTIONS = {
    "annotate": 'project.set_annotation("b", make_mask(20), author="Eve", source="drawn")',
    "propose": 'project.set_proposal("b", make_mask(21), model="new", confidence=0.9)',
    "accept": 'project.accept("b", author="Eve")',
    "remove annotation": 'project.remove_annotation("b")',
    "remove case": 'project.remove_case("b")',
    "add case": 'project.add_case("d", work / "d.nii.gz", copy=True)',
}


def finish(child: subprocess.Popen[str]) -> str:
    output, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    return output


def test_two_processes_lose_no_update_of_each_other(tmp_path: Path) -> None:
    project = make_project(tmp_path, "ab")
    project.add_case("shared", make_image(tmp_path / "images" / "shared.nii.gz"))
    rounds, before = 12, project.revision
    children = [start_python(HAMMER, project.path, name, str(rounds)) for name in "ab"]
    for child in children:
        finish(child)
    opened = Project.open(project.path)
    assert opened.revision == before + 2 * 3 * rounds
    for name in "ab":
        case = opened.case(name)
        assert case.state is State.ANNOTATED and case.annotation_count == case.proposal_count == rounds
        assert np.array_equal(opened.annotation(name).voxels, make_mask(rounds).voxels)
    assert opened.case("shared").proposal_count == 2 * rounds
    assert opened.check() == [] and leftovers(opened.path) == []


def whole(project: Project, case: Case) -> None:
    """Masks are those of the write that their provenance tells of."""
    if case.annotation is not None and case.annotation.provenance["source"].isdigit():
        number = int(case.annotation.provenance["source"])
        assert np.array_equal(project.annotation(case.name).voxels, make_mask(number).voxels)
    if case.proposal is not None and case.proposal.provenance["model"].isdigit():
        number = int(case.proposal.provenance["model"])
        assert np.array_equal(project.proposal(case.name).voxels, make_mask(number).voxels)


def test_a_process_killed_at_random_moments_leaves_a_whole_project(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    make_image(tmp_path / "d.nii.gz")
    project.set_annotation("a", make_mask(33), author="Ada", source="drawn")
    untouched = project.annotation_path("a").read_bytes()
    before, moments = project.revision, random.Random(7)
    for round_ in range(15):
        child = start_python(WRITE_FOREVER, tmp_path, str(1001 * round_))
        assert child.stdout is not None and child.stdout.readline().strip() == "ready", child.communicate()[1]
        for _ in range(moments.randrange(5)):
            assert child.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.06))
        child.kill()
        errors = child.communicate()[1]
        assert "Error" not in errors, errors
        opened = Project.open(project.path)
        assert opened.annotation_path("a").read_bytes() == untouched
        for case in opened.cases.values():
            whole(opened, case)
        assert opened.check() == [] and leftovers(opened.path) == []
        for fresh in tmp_path.glob("fresh*"):
            if (fresh / "project.json").exists():
                assert Project.open(fresh).check() == []
            else:
                shutil.rmtree(fresh)
        if "d" in opened.cases:
            opened.remove_case("d")
    project.reload()
    assert project.revision > before + 10, "the children were killed before they did anything"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the process at each step, which Windows cannot")
@pytest.mark.parametrize("action", ACTIONS)
def test_a_process_killed_before_any_file_operation_leaves_the_state_before_or_after(
    tmp_path: Path, action: str
) -> None:
    project = make_project(tmp_path / "template")
    make_image(tmp_path / "template" / "d.nii.gz")
    project.set_annotation("a", make_mask(33), author="Ada", source="drawn")
    project.set_annotation("b", make_mask(10), author="Ada", source="drawn")
    project.set_proposal("b", make_mask(11), model="old", confidence=0.5)
    untouched = project.annotation_path("a").read_bytes()
    steps = int(finish(start_python(KILL_AT_EVERY_STEP, tmp_path, ACTIONS[action])))
    assert steps > 5
    before, after = summary(project), summary(Project.open(tmp_path / f"step{steps}" / "project"))
    assert before != after
    seen = []
    for step in range(steps):
        work = tmp_path / f"step{step}"
        opened = Project.open(work / "project")
        assert opened.annotation_path("a").read_bytes() == untouched
        assert opened.check() == [] and leftovers(opened.path) == []
        seen.append(summary(opened))
        if seen[-1] == before and step % 3 == 0:  # and the action can be done again, in spite of the lock that was left
            exec(ACTIONS[action], {"project": opened, "make_mask": make_mask, "work": work})
            assert summary(Project.open(opened.path)) == after
    changes = [state != before for state in seen]
    assert all(state in (before, after) for state in seen)
    assert changes == sorted(changes) and True in changes and False in changes


def summary(project: Project) -> list[object]:
    """States and masks of all cases, and the annotations that were kept when they went out of use."""
    cases: list[object] = []
    for case in project.cases.values():
        annotation = project.annotation(case.name).voxels.tobytes() if case.annotation else None
        proposal = project.proposal(case.name).voxels.tobytes() if case.proposal else None
        assert case.image.exists()
        cases.append((case.name, case.state, annotation, proposal, case.annotation_count, case.proposal_count))
    return cases
