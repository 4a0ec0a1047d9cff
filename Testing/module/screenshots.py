"""Takes the pictures of the documentation anew: the tutorial, clicked through in the host with the real engine.

    xvfb-run -a -s "-screen 0 1600x1200x24" python Testing/module/screenshots.py [FOLDER] [--minutes 3]

They go into Resources/figures unless another folder is named. Everything on them is made up: the project is the one
of "Try it". It takes about five minutes; how good the masks on the pictures are depends on the machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "SemiSAMPlus", ROOT / "Testing" / "module"):
    sys.path.insert(0, str(folder))
WINDOW = (1280, 860)
COLORS = 256


class Photographer:
    """A user who goes through the module and takes a picture at each step.

    target         the folder of the pictures
    python_slicer  stands for Slicer's Python, which lacks packages at first
    """

    def __init__(self, target: Path, python_slicer: PythonSlicer) -> None:
        from Testing.host.session import start

        self.target = target
        target.mkdir(parents=True, exist_ok=True)
        self.host = start()
        window = self.host.application.window
        window.resize(*WINDOW)
        window.show()
        self.host.load_module(ROOT / "SemiSAMPlus" / "SemiSAMPlus.py")
        self.widget = self.host.open_module("SemiSAMPlus")
        self.ui, self.controller = self.widget.ui, self.widget.controller
        self.wait(lambda: not self.controller.setup_panel.looking)
        self.shoot("00-first-use", self.ui.setupFrame)
        python_slicer.complete()
        self.click(self.ui.setupCheckButton)
        self.wait(lambda: self.controller.setup_panel.ready)

    # What a user does -------------------------------------------------------------------------------------------------

    def wait(self, condition: Callable[[], Any], seconds: float = 180.0) -> None:
        """Let Qt work until ``condition`` holds; the tour ends when it does not."""
        if not self.host.process_events(until=lambda: bool(condition()), timeout=seconds):
            self.shoot("stuck")
            raise SystemExit("What was waited for did not happen; see stuck.png.")

    def rest(self, seconds: float = 0.4) -> None:
        """Let everything come to rest."""
        self.host.process_events(until=lambda: False, timeout=seconds)

    def click(self, button: Any) -> None:
        """Press a button that can be pressed."""
        if not button.isEnabled():
            raise SystemExit(f"{button.text} is disabled: {button.toolTip}")
        button.click()
        self.host.process_events()

    def open_sections(self, *names: str) -> None:
        """Open these sections of the panel and close the others."""
        for name in ("project", "cases", "annotate", "learn", "review", "segment", "advanced"):
            getattr(self.ui, f"{name}Section").collapsed = name not in names
        self.rest()

    # Pictures ---------------------------------------------------------------------------------------------------------

    def shoot(self, name: str, widget: Any = None) -> None:
        """A picture of the window, or of one widget."""
        self.rest()
        path = self.host.screenshot(self.target / f"{name}.png", widget)
        make_small(path)

    def shoot_dialog(self, name: str, button: Any) -> None:
        """Press a button that opens a dialog, take a picture of that, and press its OK."""
        from PySide6 import QtCore, QtWidgets

        def look() -> None:
            dialog = QtWidgets.QApplication.activeModalWidget()
            if dialog is None:
                QtCore.QTimer.singleShot(200, look)
                return
            path = self.target / f"{name}.png"
            dialog.grab().save(str(path))
            make_small(path)
            dialog.accept()

        QtCore.QTimer.singleShot(500, look)
        self.click(button)


class PythonSlicer:
    """A program of that name on the search path: this Python, at first with no packages but those that Slicer has."""

    def __init__(self, folder: Path) -> None:
        self._program, packages = folder / "PythonSlicer", folder / "packages"
        packages.mkdir(parents=True)
        for name in ("numpy", "scipy", "SimpleITK"):
            place = Path(importlib.util.find_spec(name).origin).parent
            for path in (place, *place.parent.glob(f"{name.lower()}*.libs"), *place.parent.glob(f"{name.lower()}-*")):
                (packages / path.name).symlink_to(path)
        self._write(f"PYTHONPATH='{packages}' exec '{sys.executable}' -S")
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        os.environ.pop("SEMISAMPLUS_PYTHON", None)

    def complete(self) -> None:
        """Now it has all packages."""
        self._write(f"exec '{sys.executable}'")

    def _write(self, command: str) -> None:
        self._program.write_text(f'#!/bin/sh\n{command} "$@"\n', "utf-8")
        self._program.chmod(0o755)


def make_small(path: Path) -> None:
    """Write a picture again with a palette."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLORS, kmeans=3, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)


class Tour:
    """The tutorial, step by step.

    folder   where the project and the exported files go
    minutes  the training time that is chosen
    """

    def __init__(self, me: Photographer, folder: Path, minutes: float) -> None:
        self.me, self.folder, self.minutes = me, folder, minutes
        self.ui, self.controller = me.ui, me.controller

    def take(self) -> None:
        """All steps."""
        self.first_look()
        self.annotate()
        self.learn("07-learn")
        self.review()
        self.segment()

    def first_look(self) -> None:
        """The empty panel, "Try it", the project's cases and structures."""
        import SemiSAMPlusLib.panels.project_panel as project_panel

        me, ui = self.me, self.ui
        me.shoot("01-first-look")
        project_panel.default_folder = lambda: self.folder / "SemiSAM+ example"
        me.shoot_dialog("02-try-it", ui.tryButton)
        me.wait(lambda: self.controller.session is not None and self.controller.session.state.value == "open")
        me.rest(1)
        self.controller.open_case("case01")
        self.show_middle("case01")
        me.open_sections("project", "cases")
        me.shoot("03-project")
        me.shoot_dialog("04-structures", ui.segmentsButton)
        me.rest(1)

    def annotate(self) -> None:
        """Case 3: a click and a preview, then a box; what is wrong is painted, as with the editor's effects."""
        from mouse import Mouse

        me, ui = self.me, self.ui
        self.controller.open_case("case03")
        me.open_sections("annotate")
        mouse, (head, tail) = Mouse(me.host), self.show_middle("case03")
        me.click(ui.positivePointButton)
        mouse.click(head)
        self.previewed()
        me.shoot("05-points")
        me.click(ui.acceptPreviewButton)
        self.select("tail")
        me.click(ui.boxButton)
        mouse.click([tail[0] - 9, tail[1] - 9, tail[2]])
        mouse.click([tail[0] + 9, tail[1] + 9, tail[2]])
        self.previewed()
        me.shoot("06-box")
        me.click(ui.acceptPreviewButton)
        self.paint()
        me.click(ui.finishAnnotationButton)
        me.wait(lambda: self.controller.session.cases.annotated == 3)

    def learn(self, picture: str | None = None) -> None:
        """Press Learn and wait for the end; a picture in the middle."""
        import slicer

        me, ui, training = self.me, self.ui, self.controller.session.jobs.training
        manager = slicer.app.layoutManager()
        layout = manager.layout
        me.open_sections("cases", "learn")
        me.widget._parameterNode.minutes = self.minutes
        me.click(ui.learnButton)
        me.wait(lambda: training.fraction > 0.8 and training.trust, 60 * self.minutes + 300)
        if picture:
            me.click(ui.showCurvesButton)
            me.rest(2)
            me.shoot(picture)
        me.wait(lambda: not training.active, 60 * self.minutes + 600)
        manager.setLayout(layout)
        me.rest(1)

    def review(self) -> None:
        """The case that needs it most: overlays, edit; then the others at once."""
        me, ui = self.me, self.ui
        me.open_sections("cases", "review")
        me.click(ui.suggestedButton)
        me.rest(1)
        name = self.controller.current_case()
        self.show_middle(name)
        me.shoot("08-review")
        me.click(ui.uncertaintyCheckBox)
        me.click(ui.showProposalCheckBox)
        me.shoot("09-uncertainty")
        me.click(ui.uncertaintyCheckBox)
        me.click(ui.editProposalButton)
        me.open_sections("cases", "review")
        self.paint()
        me.click(ui.differenceCheckBox)
        me.rest(1)
        me.shoot("10-difference")
        me.click(ui.differenceCheckBox)
        me.click(ui.finishAnnotationButton)
        me.wait(lambda: self.controller.session.cases.get(name).state == "annotated")
        confidences = [case.confidence for case in self.controller.session.cases if case.state == "proposed"]
        ui.confidenceBox.value = min(0.9, sorted(confidences)[1])
        me.rest()
        me.shoot_dialog("11-confident", ui.acceptConfidentButton)
        me.wait(lambda: ui.undoConfidentButton.enabled)

    def segment(self) -> None:
        """A volume that is no case, a model for a colleague, and the choices under Advanced."""
        import qt
        import slicer

        me, ui = self.me, self.ui
        me.open_sections("segment")
        volume = slicer.util.loadVolume(str(self.controller.session.project / "new" / "case09.nii.gz"))
        me.widget._parameterNode.inputVolume = volume
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        self.show_middle("case09")
        me.click(ui.segmentButton)
        me.wait(lambda: ui.exportMaskButton.enabled)
        me.shoot("12-segment")
        qt.QFileDialog.getSaveFileName = lambda *arguments: str(self.folder / "head and tail.semisam")
        me.shoot_dialog("13-export-model", ui.exportModelButton)
        me.wait(lambda: (self.folder / "head and tail.semisam").exists())
        me.open_sections("advanced")
        me.shoot("14-advanced", ui.advancedSection)

    # Parts of the above -----------------------------------------------------------------------------------------------

    def previewed(self) -> None:
        """Wait for a preview."""
        self.me.wait(lambda: self.ui.promptStateLabel.text.startswith("Preview"))

    def select(self, name: str) -> None:
        """Select a segment in the editor."""
        from SemiSAMPlusLib.scene.segments import find_segment

        self.ui.segmentEditor.setCurrentSegmentID(find_segment(self.controller.case_scene.annotation, name))
        self.me.host.process_events()

    def paint(self) -> None:
        """Put the true mask into the annotation, as a person would have painted it."""
        from semisam.demo.volumes import SEGMENTS
        from semisam.files.volume_files import write_mask
        from SemiSAMPlusLib.scene.mask_files import read_into

        scene = self.controller.case_scene
        path = self.folder / "truth.seg.nrrd"
        write_mask(path, truth(scene.case.name), SEGMENTS)
        read_into(path, scene.annotation, scene.segments, scene.grid)
        self.me.host.process_events()

    def show_middle(self, name: str) -> list[list[float]]:
        """Turn to the middle of the head; RAS of the middles of head and tail."""
        import numpy as np
        import slicer

        mask, middles = truth(name), []
        for value in (1, 2):
            voxels = np.argwhere(mask.voxels == value)
            middle = voxels[np.argmin(np.linalg.norm(voxels - voxels.mean(0), axis=1))]
            x, y, z = (float(value) for value in mask.geometry.index_to_world(middle))
            middles.append([-x, -y, z])
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            node.JumpSliceByOffsetting(*middles[0])
        self.me.rest()
        return middles


def truth(name: str) -> Any:
    """The true mask of a case of "Try it"."""
    from semisam.demo.volumes import make_cases

    return next(case.truth for case in make_cases(9) if case.name == name)


def main(arguments: list[str]) -> int:
    """Takes all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "Resources" / "figures")
    parser.add_argument("--minutes", type=float, default=3.0, help="training time (3)")
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # The pictures show what everybody has: no generalists with weights that somebody imported here.
        os.environ["SEMISAMPLUS_WEIGHTS"] = str(Path(folder) / "weights")
        me = Photographer(options.folder, PythonSlicer(Path(folder) / "Slicer" / "bin"))
        Tour(me, Path(folder), options.minutes).take()
        me.controller.close_project()
        me.rest(1)
        me.host.unload_modules()
    print(f"{time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
