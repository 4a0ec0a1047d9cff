"""Keyboard shortcuts: they press their buttons, live only while the module is open, and are told to the user."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtTest, QtWidgets

# What Slicer's window, its views and the Segment Editor listen to (user guide of Slicer, "Keyboard shortcuts").
TAKEN = [
    *(f"Ctrl+{key}" for key in "FOSWHBAQXCVG0123456789"),
    *(f"{shift}{key}" for shift in ("", "Shift+") for key in "0123456789"),
    *"ZYQWIVRGTBF/*,.<>[]{}",
    *("Esc", "Space", "Ctrl+Z", "Ctrl+Y", "Ctrl+Shift+Z", "Left", "Right", "Home", "End", "PgDown", "+", "-"),
]


def keys_in_use() -> list[str]:
    """What the windows listen to."""
    windows = QtWidgets.QApplication.topLevelWidgets()
    found = [shortcut for window in windows for shortcut in window.findChildren(QtGui.QShortcut)]
    return [shortcut.key().toString() for shortcut in found if shortcut.isEnabled()]


def test_they_live_only_while_the_module_is_open(widget: Any, host: Any) -> None:
    from SemiSAMPlusLib.shortcuts import SHORTCUTS

    assert set(SHORTCUTS) <= set(keys_in_use())
    widget.exit()
    assert not set(SHORTCUTS) & set(keys_in_use())
    widget.enter()
    widget.enter()  # as after the scene was closed
    assert all(keys_in_use().count(keys) == 1 for keys in SHORTCUTS)
    widget.controller.shortcuts.remove()  # as when the widget goes
    assert not set(SHORTCUTS) & set(keys_in_use())
    widget.exit()
    widget.enter()
    assert set(SHORTCUTS) <= set(keys_in_use())


def test_they_collide_with_nothing_of_slicer(widget: Any) -> None:
    from SemiSAMPlusLib.shortcuts import SHORTCUTS

    taken = {QtGui.QKeySequence(keys).toString() for keys in TAKEN}
    assert not taken & {QtGui.QKeySequence(keys).toString() for keys in SHORTCUTS}


def test_the_user_is_told_of_them(widget: Any) -> None:
    import slicer

    from SemiSAMPlusLib.shortcuts import SHORTCUTS, native

    for keys, name in SHORTCUTS.items():
        assert f"({native(keys)})" in getattr(widget.ui, name).toolTip, name
        assert f"<td>{native(keys)}</td>" in slicer.modules.semisamplus.helpText


def test_a_key_presses_its_button_and_does_nothing_while_that_is_disabled(widget: Any, host: Any) -> None:
    window = next(item for item in QtWidgets.QApplication.topLevelWidgets() if item.findChildren(QtGui.QShortcut))
    window.show()
    window.activateWindow()
    assert host.process_events(until=lambda: QtWidgets.QApplication.activeWindow() is window, timeout=10)
    modifiers = QtCore.Qt.KeyboardModifier.ControlModifier | QtCore.Qt.KeyboardModifier.ShiftModifier
    pressed: list[bool] = []
    button = widget.ui.nextButton
    button.connect("clicked(bool)", pressed.append)
    for enabled in (False, True):
        button.enabled = enabled
        QtTest.QTest.keyClick(window, QtCore.Qt.Key.Key_N, modifiers)
        host.process_events()
        assert pressed == [False] * enabled
