"""From a prompt to its preview in the module, in the test host: a point is placed, or the box has changed, and the
preview's node shows the answer.

    xvfb-run -a python Testing/benchmarks/click_to_preview.py [--repeat 10] [--note "what else ran"] [--write]

Bars, after the first prompt: 0.5 s on a CT of 512 x 512 x 78 voxels, 0.2 s on a hippocampus. The window and the engine
also tell the processor time that they took, which other programs on the machine hardly change. A dragged box rests for
a moment before it is asked; that is in the wall-clock times only. ``--write`` puts the table into click_to_preview.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "SemiSAMPlus")]
os.environ.setdefault("SEMISAMPLUS_PYTHON", sys.executable)

DATA = ROOT.parent / "shared" / "data"
SUBJECTS = (
    ("CT", DATA / "volumes" / "chaos_ct" / "ct.nii.gz", DATA / "volumes" / "chaos_ct" / "liver_manual.nii.gz", 0.5),
    (
        "hippocampus",
        DATA / "hippocampus" / "images" / "hippocampus_332.nii.gz",
        DATA / "hippocampus" / "labels" / "hippocampus_332.nii.gz",
        0.2,
    ),
)


@dataclass
class Row:
    """Measurements of one kind of prompt on one image; seconds."""

    what: str
    bar: float | None
    walls: list[float] = field(default_factory=list)
    window: list[float] = field(default_factory=list)
    engine: list[float] = field(default_factory=list)

    def line(self) -> str:
        bar = "" if self.bar is None else f"{self.bar} s"
        middle, longest = f"{statistics.median(self.walls):.2f} s", f"{max(self.walls):.2f} s"
        window, engine = (f"{statistics.median(times):.2f} s" for times in (self.window, self.engine))
        return f"| {self.what} | {bar} | {middle} | {longest} | {window} | {engine} |"


class Bench:
    """The module with one case open, in the host."""

    def __init__(self, host: Any, widget: Any, folder: Path, image: Path, mask: Path) -> None:
        import slicer

        from SemiSAMPlusLib.cases import SegmentInfo

        self.host, self.ui, self.controller = host, widget.ui, widget.controller
        self.controller.open_project(folder, [SegmentInfo(1, "object", (200, 90, 60))])
        self._until(lambda: self.controller.session.state.value == "open")
        self.controller.session.add_case("a", image)
        self._until(lambda: "a" in self.controller.session.cases)
        self.controller.open_case("a")
        self.scene = self.controller.case_scene
        label = slicer.util.loadLabelVolume(str(mask), {"show": False})
        self.truth = slicer.util.arrayFromVolume(label) > 0  # (k, j, i) as the volume node has it
        slicer.mrmlScene.RemoveNode(label)
        self.panel = self.controller.annotate_panel._prompts
        self.answered: list[Any] = []

    def rows(self, name: str, bar: float, repeat: int) -> list[Row]:
        from SemiSAMPlusLib.scene.prompt_nodes import Tool

        rng = np.random.default_rng(0)
        inside = self.scene.grid.to_ras(rng.permutation(np.argwhere(self.truth))[: repeat + 1])
        first = Row(f"{name}: first point after the image was opened, with the start of the network", None)
        begun = time.perf_counter()
        self.ui.positivePointButton.click()
        self.panel._prompts.answered.connect(lambda patch, answer: self.answered.append(patch))
        nodes, volume = self.panel._nodes, self.scene.volume
        place = nodes.node(Tool.INSIDE).AddControlPoint
        self._measure(first, lambda: place(_vector(inside[0])))
        first.walls = [time.perf_counter() - begun]
        points = Row(f"{name}: further points", bar)
        for ras in inside[1:]:
            self._measure(points, lambda ras=ras: place(_vector(ras)))
        self.ui.clearPromptsButton.click()

        index = np.argwhere(self.truth)
        corners = self.scene.grid.to_ras([index.min(axis=0) - 1, index.max(axis=0) + 1])
        box = Row(f"{name}: a box that is dragged", bar)
        nodes.start(Tool.BOX, volume)
        for corner in corners:
            nodes.node(Tool.BOX).AddControlPoint(_vector(corner))
        nodes.stop()
        self._until(lambda: self.panel._preview.patch is not None and not self.panel._prompts.waiting)
        roi = nodes.node(Tool.BOX)
        center = np.array(roi.GetCenter())
        for step in range(1, repeat + 1):
            moved = center + self.scene.grid.ras[:3, 0] * step * 0.5
            self._measure(box, lambda moved=moved: roi.SetCenter(*moved))
        self.ui.acceptPreviewButton.click()

        improve = Row(f"{name}: 'Improve'", bar)
        for _ in range(repeat):
            self._measure(improve, self.ui.improveButton.click)
            self.ui.clearPromptsButton.click()
        both = Row(f"{name}: 'Improve' and a further point", bar)
        self.ui.improveButton.click()
        self._until(lambda: not self.panel._prompts.waiting)
        self.ui.positivePointButton.click()
        place = nodes.node(Tool.INSIDE).AddControlPoint
        for ras in inside[1:]:
            self._measure(both, lambda ras=ras: place(_vector(ras)))
        return [first, points, box, improve, both]

    def _measure(self, row: Row, prompt: Callable[[], Any]) -> None:
        self.host.process_events(until=lambda: False, timeout=0.3)  # the views have been drawn
        self.answered.clear()
        before, begun = self._processor(), time.perf_counter()
        prompt()
        self._until(lambda: self.answered)
        row.walls.append(time.perf_counter() - begun)
        window, engine = (now - then for now, then in zip(self._processor(), before, strict=True))
        row.window.append(window)
        row.engine.append(engine)

    def _processor(self) -> tuple[float, float]:
        """Seconds of processor time of this process, drawing included, and of the engine."""
        pid = self.controller.session.client.hello.pid
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return time.process_time(), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _until(self, condition: Callable[[], Any]) -> None:
        if not self.host.process_events(until=lambda: bool(condition()), timeout=120):
            raise SystemExit(f"No answer within two minutes. {self.ui.promptStateLabel.text}")


def _vector(ras: np.ndarray) -> Any:
    import vtk

    return vtk.vtkVector3d(*ras)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--note", default="", help="a sentence for the table, on what else ran on the machine")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    from Testing.host.session import start

    host = start()
    host.load_module(ROOT / "SemiSAMPlus" / "SemiSAMPlus.py")
    host.application.window.show()
    widget = host.open_module("SemiSAMPlus")
    host.process_events(until=lambda: widget.controller.setup_panel.ready, timeout=60)
    rows, sizes = [], []
    for name, image, mask, bar in SUBJECTS:
        if not image.exists():
            print(f'Skipped: "{image}" is not here.')
            continue
        with tempfile.TemporaryDirectory(prefix="semisam-preview-") as folder:
            bench = Bench(host, widget, Path(folder), image, mask)
            rows += bench.rows(name, bar, arguments.repeat)
            sizes.append(f"{name} {' x '.join(map(str, bench.truth.shape))} voxels")
            widget.controller.close_project()
            host.process_events(until=lambda: False, timeout=1)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    lines = [
        "# From a prompt to its preview",
        "",
        f"`python Testing/benchmarks/click_to_preview.py --write`, {date.today()}: {'; '.join(sizes)}.",
        f"Generalist nano, {arguments.repeat} of each, {os.cpu_count()} cores, no GPU, views drawn without one.",
        f"Load of the machine at the end (1, 5, 15 minutes): {load}. {arguments.note}".rstrip(),
        "",
        "| what | bar | median | longest | processor, window | processor, engine |",
        "|---|---|---|---|---|---|",
        *(row.line() for row in rows),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    host.unload_modules()
    return 0


if __name__ == "__main__":
    sys.exit(main())
