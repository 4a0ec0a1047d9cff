"""The table of cases: ranking, filter and search, going through it, skipping, removing; quick with 500 cases."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from small_study import make_images, make_project, open_project


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_images(tmp_path_factory.mktemp("images") / "images", 5)


@pytest.fixture
def session(widget: Any, host: Any, images: list[Path], tmp_path: Path) -> Any:
    """case0 is annotated, case1 to case3 are proposed with growing confidence, case4 is new."""
    return open_project(widget, host, make_project(tmp_path / "project", images, annotated=1, proposed=3).path)


def rows(widget: Any, column: int = 0) -> list[str]:
    """What stands in a column, as the table is sorted and filtered."""
    model = widget.ui.casesTable.model()
    return [model.index(row, column).data() for row in range(model.rowCount())]


def opened(widget: Any) -> str | None:
    name: str | None = widget.controller.current_case()
    return name


def select(widget: Any, *names: str) -> None:
    widget.ui.casesTable.clearSelection()
    widget.controller.cases_panel.table._select(names)


def test_it_says_state_confidence_and_whom_to_look_at_next(widget: Any, session: Any) -> None:
    assert rows(widget) == ["case0", "case1", "case2", "case3", "case4"]
    assert rows(widget, 1) == ["Annotated", "Proposed", "Proposed", "Proposed", "New"]
    assert rows(widget, 2) == ["", "0.84", "0.88", "0.92", ""]
    assert rows(widget, 3) == ["5", "1", "2", "3", "4"]
    widget.ui.casesTable.sortByColumn(3, 0)
    assert rows(widget) == ["case1", "case2", "case3", "case4", "case0"]
    widget.ui.casesTable.sortByColumn(0, 0)


def test_search_and_filter_work_together(widget: Any, session: Any) -> None:
    ui = widget.ui
    ui.caseSearchBox.text = "ASE1"
    assert rows(widget) == ["case1"]
    ui.caseSearchBox.text = "case"
    ui.stateFilterBox.currentIndex = ui.stateFilterBox.findText("Proposed")
    assert rows(widget) == ["case1", "case2", "case3"]
    ui.caseSearchBox.text = "3"
    assert rows(widget) == ["case3"]
    ui.stateFilterBox.currentIndex = ui.stateFilterBox.findText("New")
    assert rows(widget) == []


def test_what_was_searched_for_in_one_project_does_not_hide_the_cases_of_the_next(
    widget: Any, session: Any, host: Any, images: list[Path], tmp_path: Path
) -> None:
    ui = widget.ui
    ui.caseSearchBox.text = "no such case"
    ui.stateFilterBox.currentIndex = ui.stateFilterBox.findText("New")
    assert rows(widget) == []
    open_project(widget, host, make_project(tmp_path / "next", images[:2]).path)
    assert rows(widget) == ["case0", "case1"]
    assert ui.caseSearchBox.text == "" and ui.stateFilterBox.currentIndex == 0


def test_next_and_previous_follow_the_table(widget: Any, session: Any, click: Callable[[Any], None]) -> None:
    ui = widget.ui
    click(ui.nextButton)
    assert opened(widget) == "case0"
    ui.stateFilterBox.currentIndex = ui.stateFilterBox.findText("Proposed")
    for expected in ("case1", "case2", "case3", "case3"):
        click(ui.nextButton)
        assert opened(widget) == expected
    click(ui.previousButton)
    assert opened(widget) == "case2" and widget.controller.cases_panel.table.selected() == ["case2"]


def test_a_double_click_opens_a_case(widget: Any, session: Any) -> None:
    table = widget.ui.casesTable
    table.doubleClicked(table.model().index(2, 1))
    assert opened(widget) == "case2"


def test_skipped_cases_come_up_again_after_the_others(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None]
) -> None:
    ui = widget.ui
    click(ui.suggestedButton)
    seen = [opened(widget)]
    for _number in range(4):
        click(ui.skipButton)
        seen.append(opened(widget))
    assert seen == ["case1", "case2", "case3", "case4", "case1"]
    click(ui.suggestedButton)
    assert opened(widget) == "case2"


def test_at_the_end_of_the_work_the_buttons_say_so(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None]
) -> None:
    ui = widget.ui
    for name in ("case1", "case2", "case3"):
        session.accept(name)
    select(widget, "case4")
    host.dialogs.answers.append(True)
    click(ui.removeCaseButton)
    assert host.process_events(until=lambda: len(session.cases) == session.cases.annotated == 4, timeout=30)
    assert not ui.suggestedButton.enabled and "Every case is finished" in ui.suggestedButton.toolTip
    assert not ui.skipButton.enabled


def test_several_cases_are_removed_after_a_question_and_their_images_stay(
    widget: Any, session: Any, host: Any, images: list[Path], click: Callable[[Any], None]
) -> None:
    ui = widget.ui
    assert not ui.removeCaseButton.enabled
    widget.controller.open_case("case2")
    select(widget, "case2", "case4")
    host.dialogs.clear()
    host.dialogs.answers.append(False)
    click(ui.removeCaseButton)
    assert host.dialogs.texts("confirmOkCancelDisplay") == [
        "Remove case2, case4 from the project? The image files stay where they are."
    ]
    assert len(session.cases) == 5
    host.dialogs.answers[:] = [False, True]
    select(widget, "case4")
    click(ui.removeCaseButton)
    assert host.dialogs.texts("confirmOkCancelDisplay")[1] == (
        "Remove case4 from the project? The image file stays where it is."
    )
    select(widget, "case2", "case4")
    click(ui.removeCaseButton)
    assert host.process_events(until=lambda: len(session.cases) == 3, timeout=30)
    assert opened(widget) is None and rows(widget) == ["case0", "case1", "case3"]
    assert all(path.exists() for path in images)


def test_what_the_user_selected_stays_selected_while_proposals_arrive(widget: Any, session: Any) -> None:
    import dataclasses

    widget.controller.open_case("case0")
    select(widget, "case1", "case4")
    session.cases.put(dataclasses.replace(session.cases.get("case4"), state="proposed", confidence=0.5))
    session.cases_changed.emit(["case4"])
    assert rows(widget, 3)[4] == "1"
    assert widget.controller.cases_panel.table.selected() == ["case1", "case4"]


def test_500_cases_are_shown_and_filtered_at_once(widget: Any, session: Any, host: Any) -> None:
    import dataclasses

    from SemiSAMPlusLib.cases import CaseInfo

    states = ("new", "proposed", "annotated", "rejected")
    cases = [
        CaseInfo(f"patient {n:03d}", Path(f"/{n}.nii.gz"), states[n % 4], (n % 100) / 100 if n % 4 == 1 else None)
        for n in range(500)
    ]
    session.cases.replace_all(cases)

    def took(action: Callable[[], None]) -> float:
        before = time.process_time()
        action()
        host.process_events()
        return time.process_time() - before

    opening = took(lambda: session.cases_changed.emit([]))
    assert len(rows(widget)) == 500
    searching = took(lambda: setattr(widget.ui.caseSearchBox, "text", "patient 12"))
    assert len(rows(widget)) == 10
    widget.ui.caseSearchBox.text = ""
    filtering = took(lambda: setattr(widget.ui.stateFilterBox, "currentIndex", 1))
    assert len(rows(widget)) == 125
    widget.ui.stateFilterBox.currentIndex = 0

    def arrive() -> None:
        session.cases.put(dataclasses.replace(cases[0], state="proposed", confidence=0.4))
        session.cases_changed.emit([cases[0].name])

    arriving = took(arrive)
    print(
        f"500 cases: open {1000 * opening:.0f} ms, search {1000 * searching:.0f} ms, "
        f"filter {1000 * filtering:.0f} ms, a proposal arrives {1000 * arriving:.0f} ms"
    )
    assert max(opening, searching, filtering, arriving) < 0.3
