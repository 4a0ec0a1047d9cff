"""Drawing on some slices only, and having the rest proposed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semisam.project import Project
from small_study import make_images, make_project, open_project, paint, painted


def test_a_few_drawn_slices_are_learned_from_and_the_case_goes_on(widget: Any, host: Any, tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", 2)
    session = open_project(widget, host, make_project(tmp_path / "project", images).path)
    assert not widget.ui.learnButton.enabled
    widget.controller.open_case("case0")
    paint(widget, slices=slice(6, 14, 4))
    drawn = painted(widget)
    assert drawn
    widget.ui.finishSlicesButton.click()
    assert host.process_events(until=lambda: session.cases.get("case0").partial, timeout=30)
    host.process_events()

    assert widget.ui.learnButton.enabled
    assert widget.ui.learnSummaryLabel.text.startswith("1 annotated and 1 other case")
    table = widget.ui.casesTable.model()
    states = {table.index(row, 0).data(): table.index(row, 1).data() for row in range(table.rowCount())}
    assert states == {"case0": "Annotated in part", "case1": "New"}
    project = Project.open(session.project)
    mask, known = project.annotation_and_known("case0")
    assert known is not None and known.any(axis=(1, 2)).sum() == 2 and known.sum() == 2 * known[0].size
    assert (mask.voxels == 1).sum() == drawn

    # Gone on with later, it stays what it is; in full, it is an annotation like any other.
    paint(widget, slices=slice(6, 15, 4))
    paint(widget, slices=slice(6, 14, 2))
    widget.controller.open_case("case1")
    assert host.process_events(until=lambda: session.cases.get("case0").annotation.revision == 2, timeout=30)
    project.reload()
    assert project.case("case0").partial
    assert project.annotation_and_known("case0")[1].any(axis=(1, 2)).sum() == 4
    widget.controller.open_case("case0")
    assert painted(widget) > drawn
    paint(widget)
    widget.ui.finishAnnotationButton.click()
    assert host.process_events(until=lambda: session.cases.get("case0").state == "annotated", timeout=30)


def test_when_nothing_is_drawn_the_person_is_told(widget: Any, host: Any, tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", 2)
    session = open_project(widget, host, make_project(tmp_path / "project", images).path)
    widget.controller.open_case("case0")
    told: list[Any] = []
    session.failed.connect(told.append)
    widget.ui.finishSlicesButton.click()
    assert host.process_events(until=lambda: bool(told), timeout=30)
    assert "case0" in told[0].text
    assert not session.cases.get("case0").teaches and not widget.ui.learnButton.enabled
