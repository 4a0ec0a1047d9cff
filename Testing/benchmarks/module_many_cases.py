"""A project of 500 cases in the module (bar: 0.3 s to fill the table, 0.3 s for each filter; no image is opened).

    xvfb-run -a python Testing/benchmarks/module_many_cases.py [--cases 500] [--busy] [--write]

Needs the packages of the test host (``pip install -e '.[host]'``). The images are files that cannot be read: whoever
opens one gets an error. Exit code 1 when a bar is missed; with ``--busy``, for machines on which other programs run,
the bar holds for the processor time of the window's thread. ``--write`` puts the table into module_many_cases.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from module_host import Stopwatch, start_host, wait

BAR = 0.3
RESULT = Path(__file__).with_suffix(".md")
REPEAT = 5


def make_project(folder: Path, cases: int) -> Path:
    """Half of the cases have a proposal, every tenth is annotated; then all images are made unreadable."""
    from semisam.files.volume_files import write_image
    from semisam.project import Project
    from semisam.segments import parse_segments
    from semisam.volumes import Geometry, Volume

    geometry = Geometry.simple((4, 4, 4))
    image = folder / "images" / "image.nii.gz"
    image.parent.mkdir()
    write_image(image, Volume(np.zeros(geometry.shape, np.float32), geometry))
    names = [f"case{number:03d}" for number in range(cases)]
    images = {name: image.with_name(f"{name}.nii.gz") for name in names}
    for path in images.values():
        path.write_bytes(image.read_bytes())
    project = Project.create(folder / "project", parse_segments("1=one,2=two"))
    project.add_cases(images)
    mask = Volume(np.ones(geometry.shape, np.uint8), geometry)
    for number, name in enumerate(names):
        if number % 10 == 0:
            project.set_annotation(name, mask, author="benchmark", source="made up")
        elif number % 2 == 0:
            project.set_proposal(name, mask, model="specialist-0001", confidence=0.5 + number / cases / 2)
    for path in images.values():
        path.write_bytes(b"whoever reads this gets an error")
    return project.path


def median(action: Callable[[], Any], back: Callable[[], Any]) -> tuple[float, float]:
    """Medians of the seconds that ``action`` takes, clock and processor; ``back`` undoes it in between."""
    watches = []
    for _ in range(REPEAT):
        with Stopwatch() as watch:
            action()
        watches.append(watch)
        back()
    return statistics.median(watch.seconds for watch in watches), statistics.median(w.processor for w in watches)


def measure(host: Any, project: Path, cases: int) -> list[tuple[str, tuple[float, float]]]:
    """What was done, and the seconds that it took on the clock and of the window's thread, drawing included."""
    widget = host.open_module("SemiSAMPlus")
    ui, controller = widget.ui, widget.controller
    wait(host, lambda: controller.setup_panel.ready)
    with Stopwatch() as opening:
        controller.open_project(project)
        wait(host, lambda: ui.casesTable.model().rowCount() == cases)
    session, table, view = controller.session, ui.casesTable.model(), controller.cases_panel.table

    def shown(change: Callable[[], Any]) -> Callable[[], None]:
        def change_and_draw() -> None:
            change()
            host.process_events()

        return change_and_draw

    def proposal_came() -> None:
        case = session.cases.get("case002")
        session.cases.put(dataclasses.replace(case, confidence=case.confidence * 0.99))
        session.cases_changed.emit([case.name])

    all_states = shown(lambda: setattr(ui.stateFilterBox, "currentIndex", 0))
    all_names = shown(lambda: setattr(ui.caseSearchBox, "text", ""))
    rows = [
        ("open the project, start of the engine included", (opening.seconds, opening.processor)),
        ("fill the table", median(shown(controller.cases_panel.show), lambda: view.show([], {}))),
        ("one new proposal", median(shown(proposal_came), lambda: None)),
        ("filter by name", median(shown(lambda: setattr(ui.caseSearchBox, "text", "case04")), all_names)),
        ("filter by state", median(shown(lambda: setattr(ui.stateFilterBox, "currentIndex", 4)), all_states)),
        ("show all again", median(all_states, shown(lambda: setattr(ui.stateFilterBox, "currentIndex", 4)))),
        ("sort by confidence", median(shown(lambda: ui.casesTable.sortByColumn(2, 0)), all_names)),
    ]
    all_states()
    if table.rowCount() != cases or widget.ui.messageLabel.text:
        raise SystemExit(f"{table.rowCount()} rows; {widget.ui.messageLabel.text}")
    controller.close_project()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--busy", action="store_true", help="judge by processor time")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        project = make_project(Path(name), options.cases)
        host = start_host()
        rows = measure(host, project, options.cases)
        host.unload_modules()
    lines = [f"| {options.cases} cases: seconds | on the clock | of the processor |", "|---|---|---|"]
    lines += [f"| {what} | {clock:.3f} | {processor:.3f} |" for what, (clock, processor) in rows]
    lines += ["", "Other programs were running: only the second column means anything."] if options.busy else []
    print("\n".join(lines))
    if options.write:
        RESULT.write_text("\n".join(lines) + "\n")
    return int(any(took[options.busy] > BAR for _, took in rows[1:]))


if __name__ == "__main__":
    raise SystemExit(main())
