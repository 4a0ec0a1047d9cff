"""Image files and folders that are dropped on the table of cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from small_study import make_images, make_project, open_project

Drop = Callable[..., tuple[bool, bool]]


@pytest.fixture
def drop(widget: Any, host: Any) -> Drop:
    """Drag files over the table and drop them: whether it takes them, and whether the other program keeps its own."""
    from PySide6 import QtCore, QtGui, QtWidgets

    from Testing.host.conversion import to_qt

    def drag(*urls: Path | str) -> tuple[bool, bool]:
        viewport, data, qt = to_qt(widget.ui.casesTable.viewport()), QtCore.QMimeData(), QtCore.Qt
        data.setUrls([QtCore.QUrl(url) if isinstance(url, str) else QtCore.QUrl.fromLocalFile(url) for url in urls])
        actions = qt.DropAction.MoveAction | qt.DropAction.CopyAction
        shared = actions, data, qt.MouseButton.LeftButton, qt.KeyboardModifier.ShiftModifier  # shift proposes a move
        point = QtCore.QPoint(20, 30)
        for event in (
            QtGui.QDragEnterEvent(point, *shared),
            QtGui.QDragMoveEvent(point, *shared),
            QtGui.QDropEvent(QtCore.QPointF(point), *shared),
        ):
            event.setDropAction(qt.DropAction.MoveAction)
            event.ignore()
            QtWidgets.QApplication.sendEvent(viewport, event)
            if not event.isAccepted():
                return False, True
        host.process_events()
        return True, event.dropAction() == qt.DropAction.CopyAction

    return drag


@pytest.fixture
def project(widget: Any, host: Any, tmp_path: Path) -> Any:
    """An empty open project."""
    return open_project(widget, host, make_project(tmp_path / "project", []).path)


def test_files_and_folders_become_cases_as_with_the_button(
    widget: Any, host: Any, project: Any, drop: Drop, tmp_path: Path
) -> None:
    one, two, three = make_images(tmp_path / "images", 3)
    (tmp_path / "folder").mkdir()
    for path in (two, three):
        path.rename(tmp_path / "folder" / path.name)
    (tmp_path / "folder" / "letter.txt").write_text("no image")
    (tmp_path / "nothing").mkdir()
    assert drop(one, tmp_path / "folder", tmp_path / "nothing") == (True, True)
    assert host.process_events(until=lambda: len(project.cases) == 3, timeout=60)
    assert {case.name for case in project.cases} == {"case0", "case1", "case2"} and one.exists()
    (told,) = host.dialogs.texts("warningDisplay")
    assert told.startswith(f"{tmp_path / 'nothing'} holds no NIfTI")


def test_a_dropped_file_that_is_no_image_is_told(host: Any, project: Any, drop: Drop, tmp_path: Path) -> None:
    letter = tmp_path / "letter.nii.gz"
    letter.write_text("no image")
    assert drop(letter)[0]
    assert host.process_events(until=lambda: host.dialogs.texts("warningDisplay"), timeout=60)
    assert str(letter) in host.dialogs.texts("warningDisplay")[0] and len(project.cases) == 0


def test_what_cannot_be_added_is_left_to_slicer(widget: Any, project: Any, drop: Drop, tmp_path: Path) -> None:
    (image,) = make_images(tmp_path / "images", 1)
    assert not drop("https://example.org/ct.nii.gz")[0] and not drop()[0]
    project.writable = False
    assert not drop(image)[0]
    widget.controller.close_project()
    assert not drop(image)[0]
