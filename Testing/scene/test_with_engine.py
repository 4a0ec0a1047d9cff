"""The whole way with the real engine: a project, cases in the scene, prompts, accept, crash. Training is left out.

Needs a Python with the engine's packages: set SEMISAMPLUS_PYTHON to it.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: pip install slicer-core")
pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: the tests write their files with it")

import numpy as np
import SimpleITK as sitk

import images
from event_loop import ChildProcess, EventLoop
from SemiSAMPlusLib.case_editor import CaseEditor
from SemiSAMPlusLib.cases import SegmentInfo
from SemiSAMPlusLib.project_session import ProjectSession, SessionState
from SemiSAMPlusLib.prompt_session import PromptSession
from SemiSAMPlusLib.python_finder import VARIABLE, PythonProbe, engine_environment, engine_launch
from SemiSAMPlusLib.scene.case_scene import CaseScene
from SemiSAMPlusLib.scene.grids import Grid, Patch
from SemiSAMPlusLib.scene.preview import PromptPreview
from SemiSAMPlusLib.scene.segments import find_segment, read_segment, write_segment
from SemiSAMPlusLib.worker_client import WorkerClient

BLOCK = (slice(3, 8), slice(4, 11), slice(5, 14))
SEGMENTS = (SegmentInfo(1, "Würfel", (200, 10, 20)), SegmentInfo(2, "rest", (20, 200, 30)))
pytestmark = pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"{VARIABLE} names no Python with the engine")


class Desk:
    """A project with two cases on left-handed oblique grids, its engine, and a scene."""

    def __init__(self, loop: EventLoop, scene: Any, folder: Path) -> None:
        self.loop, self.folder = loop, folder
        probe = PythonProbe(os.environ[VARIABLE], VARIABLE)
        environment = {**engine_environment(probe.source, os.environ), "OMP_NUM_THREADS": "1"}
        self.launch = engine_launch(probe, ("worker", str(folder / "Projekt 名")), environment)
        self.session = self.window()
        self.client = self.session.client
        self.editor = CaseEditor(self.session, CaseScene(scene))
        self.failures: list[Any] = []
        self.session.state_changed.connect(
            lambda state: self.session.problem and self.failures.append(self.session.problem)
        )
        self.session.failed.connect(self.failures.append)
        self.editor.failed.connect(self.failures.append)
        self.session.create(SEGMENTS)
        self.wait(lambda: self.session.state is SessionState.OPEN)
        rng = np.random.default_rng(0)
        for name in ("a", "b"):
            voxels = rng.normal(0, 0.05, images.SHAPE).astype(np.float32)
            voxels[BLOCK] += 1
            sitk.WriteImage(images.image(voxels, "oblique flipped"), str(folder / f"{name}.nii.gz"))
            self.session.add_case(name, folder / f"{name}.nii.gz")
        self.wait(lambda: len(self.session.cases) == 2)

    def window(self) -> ProjectSession:
        """A session on the project with an engine of its own, as another Slicer has."""
        client = WorkerClient(self.launch, lambda: ChildProcess(self.loop), self.loop)
        return ProjectSession(self.folder / "Projekt 名", client, author="tester")

    def wait(self, condition: Any) -> None:
        self.loop.run_until(lambda: condition() or self.failures, 60)
        assert not self.failures, self.failures[0].text

    def state(self, name: str) -> str:
        case = self.session.cases.get(name)
        assert case is not None
        return case.state

    def found(self, name: str = "Würfel") -> np.ndarray:
        """(k, j, i) bool of the annotation in the scene, on the volume's grid."""
        node, grid = self.editor.scene.annotation, self.editor.scene.grid
        return read_segment(node, find_segment(node, name), grid).whole()


@pytest.fixture
def desk(loop: EventLoop, scene: Any, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(loop, scene, tmp_path)
    yield made
    made.session.close_at_exit()


def test_a_case_from_click_to_annotation_and_back(desk: Desk, tmp_path: Path) -> None:
    desk.editor.open("a")
    scene = desk.editor.scene
    assert scene.grid is not None
    desk.editor.finish()  # nothing to be seen in this image is an annotation, too
    desk.wait(lambda: desk.state("a") == "annotated")
    prompts = PromptSession(desk.session, {"case": "a"}, scene.grid, tmp_path, generalist="random-walker")
    preview = PromptPreview(scene.logics, scene.undo_history)
    prompts.answered.connect(lambda patch, answer: preview.show(patch, scene.volume))
    prompts.failed.connect(desk.failures.append)
    file = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    prompts.add_point(images.point_ras(file, 5, 7, 9), positive=True)
    prompts.add_point(images.point_ras(file, 1, 1, 1), positive=False)
    desk.wait(lambda: preview.patch is not None)
    assert preview.patch.count > 100
    key = find_segment(scene.annotation, "Würfel")
    assert preview.commit(scene.annotation, key)

    # Half-done work is kept when the case is closed, and is there when it is opened again.
    drawn = desk.found()
    desk.editor.close()
    desk.wait(lambda: desk.session.cases.get("a").annotation.revision == 2)
    desk.editor.open("a")
    assert np.array_equal(desk.found(), drawn)
    truth = np.zeros(images.SHAPE, bool)
    truth[BLOCK] = True
    path = desk.session.cases.get("a").annotation.path
    stored = images.read_segment(path, "Würfel", file)
    assert (stored & truth).sum() > 0.9 * stored.sum() and stored.sum() == drawn.sum()
    desk.editor.finish()
    desk.wait(lambda: desk.session.cases.get("a").annotation.revision == 3)
    desk.loop.settle()
    assert not desk.session.pending.path("a", "annotated").exists()


def test_who_saves_over_what_another_window_annotated_is_told(desk: Desk) -> None:
    desk.editor.open("a")
    desk.editor.finish()
    desk.wait(lambda: desk.state("a") == "annotated")
    other = desk.window()
    other.open()
    desk.wait(lambda: other.state is SessionState.OPEN)
    mine = desk.session.cases.get("a").annotation.path
    shutil.copyfile(mine, other.pending.path("a", "annotated"))
    other.annotate("a", "annotated", seen=1)
    desk.wait(lambda: other.cases.get("a").annotation.revision == 2)
    other.close_at_exit()
    saved: list[Any] = []
    desk.editor.finish(saved.append)
    desk.loop.run_until(lambda: saved, 60)
    assert ["from elsewhere" in error.text for error in desk.failures] == [True]
    desk.failures.clear()
    desk.editor.finish(saved.append)
    desk.wait(lambda: len(saved) == 2)  # told once


def test_the_engine_keeps_weights_in_a_folder_of_the_tests(desk: Desk, weights_folder: Path) -> None:
    folders: list[str] = []
    desk.client.request("generalists", on_done=lambda answer: folders.append(answer["folder"]))
    desk.wait(lambda: folders)
    assert folders == [str(weights_folder)]


def test_accept_reject_and_undo_reach_the_project(desk: Desk, tmp_path: Path) -> None:
    mask = tmp_path / "b.seg.nrrd"
    labels = np.zeros(images.SHAPE, np.uint8)
    labels[BLOCK] = 1
    images.write_mask(mask, labels, {1: "Würfel", 2: "rest"}, "oblique flipped")
    # The engine alone writes proposals, so a small program of the engine's own makes one.
    code = (
        "import sys; from semisam.project import Project; from semisam.files.volume_files import read_mask; "
        "p = Project.open(sys.argv[1]); "
        "p.set_proposal('b', read_mask(sys.argv[2], p.segments), model='m', confidence=0.8)"
    )
    ended: list[int] = []

    class Listener:
        def on_output(self, data: bytes) -> None: ...

        def on_error_output(self, data: bytes) -> None: ...

        def on_start_failed(self, reason: str) -> None: ...

        def on_finished(self, exit_code: int, crashed: bool) -> None:
            ended.append(exit_code)

    launch = desk.client.launch
    arguments = ("-c", code, str(desk.session.project), str(mask))
    ChildProcess(desk.loop).start(type(launch)(launch.program, arguments, launch.environment), Listener())
    desk.wait(lambda: ended)
    assert ended == [0]
    desk.session.refresh()
    desk.wait(lambda: desk.state("b") == "proposed")

    desk.editor.open("b")
    assert desk.editor.reject()
    desk.wait(lambda: desk.state("b") == "rejected")
    assert desk.editor.undo()
    desk.wait(lambda: desk.state("b") == "proposed")
    assert desk.editor.accept()
    desk.wait(lambda: desk.state("b") == "accepted")
    assert desk.found().sum() == labels.sum() and not desk.editor.scene.annotation_changed
    assert desk.editor.undo() and not desk.editor.can_undo
    desk.wait(lambda: desk.state("b") == "proposed")
    assert not desk.found().any()

    # An edited proposal is accepted as it was edited.
    proposal, grid = desk.editor.scene.proposal, desk.editor.scene.grid
    write_segment(proposal, find_segment(proposal, "rest"), Patch(grid, (0, 0, 0), np.ones((1, 2, 3), bool)))
    assert desk.editor.accept()
    desk.wait(lambda: desk.state("b") == "annotated")
    file = sitk.ReadImage(str(tmp_path / "b.nii.gz"))
    assert images.read_segment(desk.session.cases.get("b").annotation.path, "rest", file).sum() == 6


def test_a_killed_engine_loses_nothing_and_goes_on(desk: Desk) -> None:
    desk.editor.open("a")
    annotation, grid = desk.editor.scene.annotation, desk.editor.scene.grid
    assert isinstance(grid, Grid)
    write_segment(annotation, find_segment(annotation, "rest"), Patch(grid, (2, 3, 4), np.ones((2, 2, 2), bool)))
    assert desk.client.hello is not None
    os.kill(desk.client.hello.pid, signal.SIGKILL)
    desk.loop.run_until(lambda: desk.session.state is SessionState.FAILED)
    desk.failures.clear()
    assert "crashed" in desk.session.problem.text
    desk.editor.close()  # no engine to send it to
    desk.loop.run_until(lambda: desk.failures)
    desk.failures.clear()
    desk.editor.open("a")
    assert desk.found("rest").sum() == 8
    desk.session.restart()
    desk.wait(lambda: desk.session.state is SessionState.OPEN and desk.state("a") == "in work")
