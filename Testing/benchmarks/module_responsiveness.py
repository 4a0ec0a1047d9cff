"""Is the window fluid? Opening the module, and a heartbeat while a real training runs and its events arrive.

    xvfb-run -a python Testing/benchmarks/module_responsiveness.py [--minutes 1] [--busy] [--write]

Needs the packages of the engine and of the test host (``pip install -e '.[host]'``). Bars: the module opens within
0.5 s and without torch; while it trains, no handler of an event takes over 50 ms, and 99 of 100 turns of the event loop
take less than 20. A turn serves all that has come since the last one and draws: its longest, and what VTK takes for a
view here without a graphics card, are told without a bar. Most turns have nothing to do; the last row leaves them out.
``--busy`` is for machines on which other programs run: the bars then hold for the processor time of the thread,
which leaves out what the window waits for. Exit code 1 when a bar is missed. ``--write`` puts the table into
module_responsiveness.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from module_host import Stopwatch, start_host, wait

OPENING, LONGEST, NEARLY_ALL = 0.5, 0.050, 0.020
NOTHING = 0.0005  # seconds of a turn in which nothing was to be done
RESULT = Path(__file__).with_suffix(".md")


class Watched:
    """The longest call of a function, calls within calls not counted: seconds on the clock and of the thread."""

    def __init__(self, owner: Any, name: str) -> None:
        function = getattr(owner, name)
        self.longest = np.zeros(2)
        self._inside = False

        def timed(*arguments: Any) -> Any:
            if self._inside:
                return function(*arguments)
            self._inside = True
            try:
                with Stopwatch() as watch:
                    return function(*arguments)
            finally:
                self._inside = False
                self.longest = np.maximum(self.longest, (watch.seconds, watch.processor))

        setattr(owner, name, timed)


class Heartbeat:
    """Turns of the event loop, one every few milliseconds: seconds on the clock and of the window's thread."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self.clock: list[float] = []
        self.processor: list[float] = []

    def until(self, condition: Any, seconds: float) -> None:
        """Serve events until ``condition`` holds."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise SystemExit("What was waited for did not happen.")
            with Stopwatch() as watch:
                self._host.application.processEvents()
            self.clock.append(watch.seconds)
            self.processor.append(watch.processor)
            time.sleep(0.002)


def open_module(host: Any) -> tuple[Any, Stopwatch]:
    """Imports, ``setup`` and ``enter``, and the first drawing."""
    with Stopwatch() as watch:
        widget = host.open_module("SemiSAMPlus")
    assert not {"torch", "monai", "semisam"} & set(sys.modules)
    return widget, watch


def learn(host: Any, widget: Any, handlers: Watched, folder: Path, minutes: float) -> tuple[Heartbeat, int, int]:
    """Train with a case open, whose proposals appear in the views; turns, events, and proposals on screen."""
    from small_study import make_images, make_project, open_project

    wait(host, lambda: widget.controller.setup_panel.ready)
    project = make_project(folder / "project", make_images(folder / "images", 12, shape=(48, 56, 52)), annotated=2)
    session, ui = open_project(widget, host, project.path), widget.ui
    widget.controller.open_case("case5")
    wait(host, lambda: widget.controller.case_scene.volume is not None)
    widget._parameterNode.minutes = minutes
    count = {"events": 0, "proposals": 0}
    session.jobs.training.changed.connect(lambda: count.update(events=count["events"] + 1))
    session.proposal_ready.connect(lambda name: count.update(proposals=count["proposals"] + 1))
    host.process_events()
    beat = Heartbeat(host)
    handlers.longest = np.zeros(2)
    ui.learnButton.click()
    beat.until(lambda: not session.jobs.training.active, 60 * minutes + 300)
    problem = session.jobs.training.problem
    if problem is not None or widget.controller.case_scene.proposal is None:
        raise SystemExit(f"Training did not end well: {problem}")
    widget.controller.close_project()
    return beat, count["events"], count["proposals"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--busy", action="store_true", help="judge by processor time")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    from Testing.host import failures
    from Testing.host.widgets.render_view import RenderView

    # Whatever Qt calls in Python goes through ``guarded``; views are drawn by VTK on a timer of their own.
    handlers, drawing = Watched(failures, "guarded"), Watched(RenderView, "forceRender")
    host = start_host()
    widget, opening = open_module(host)
    with tempfile.TemporaryDirectory() as name:
        beat, events, proposals = learn(host, widget, handlers, Path(name), options.minutes)
        host.unload_modules()
    assert not {"torch", "monai"} & set(sys.modules)
    rows = [("opening the module (bar 500)", opening.seconds, opening.processor)]
    clock, processor = np.array(beat.clock), np.array(beat.processor)
    at_work = processor > NOTHING
    rows.append(("longest handler of an event (bar 50)", *handlers.longest))
    rows.append(("99 of 100 turns of the event loop (bar 20)", np.percentile(clock, 99), np.percentile(processor, 99)))
    rows.append(("95 of 100 turns at work", np.percentile(clock[at_work], 95), np.percentile(processor[at_work], 95)))
    rows.append(("longest turn, with what is drawn in it", clock.max(), processor.max()))
    rows.append(("longest drawing of a view by VTK", *drawing.longest))
    lines = ["| milliseconds | on the clock | of the processor |", "|---|---|---|"]
    lines += [f"| {what} | {1000 * clock:.1f} | {1000 * processor:.1f} |" for what, clock, processor in rows]
    lines += ["", f"{len(clock)} turns, {at_work.sum()} at work, {events} events of training, {proposals} proposals."]
    lines += ["Other programs were running: only the second column means anything."] if options.busy else []
    print("\n".join(lines))
    if options.write:
        RESULT.write_text("\n".join(lines) + "\n")
    judged = [row[2] if options.busy else row[1] for row in rows]
    return int(any(took > bar for took, bar in zip(judged, (OPENING, LONGEST, NEARLY_ALL), strict=False)))


if __name__ == "__main__":
    raise SystemExit(main())
