"""Keyboard shortcuts that live only while the module is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer

from .buttons import add_keys
from .i18n import _

# Keys -> the button that they press. Slicer's views and the Segment Editor use single keys, Slicer's menus Ctrl with a
# key, and Ctrl+Shift+Z is Redo; on macOS Qt takes the Command key for Ctrl.
SHORTCUTS = {
    "Ctrl+Shift+N": "nextButton",
    "Ctrl+Shift+B": "previousButton",
    "Ctrl+Shift+L": "suggestedButton",
    "Ctrl+Shift+K": "skipButton",
    "Ctrl+Shift+P": "positivePointButton",
    "Ctrl+Shift+M": "negativePointButton",
    "Ctrl+Shift+X": "boxButton",
    "Ctrl+Shift+I": "improveButton",
    "Ctrl+Shift+Return": "acceptPreviewButton",
    "Ctrl+Shift+G": "undoPromptButton",
    "Ctrl+Shift+V": "showPreviewCheckBox",
    "Ctrl+Shift+H": "showProposalCheckBox",
    "Ctrl+Shift+D": "differenceCheckBox",
    "Ctrl+Shift+U": "uncertaintyCheckBox",
    "Ctrl+Return": "acceptButton",
    "Ctrl+Shift+E": "editProposalButton",
    "Ctrl+Shift+Backspace": "rejectButton",
}


class Keys:
    """Keys of the main window that do something between ``install`` and ``remove``; without a main window none do.

    actions  key sequence, such as "Ctrl+Return", -> what it does
    """

    def __init__(self, actions: Mapping[str, Callable[[], Any]]) -> None:
        self._actions = dict(actions)
        self._shortcuts: list[Any] = []

    def install(self) -> None:
        """Listen to the keyboard; nothing happens when that is so already."""
        window = slicer.util.mainWindow()
        if window is None or self._shortcuts:
            return
        for keys, action in self._actions.items():
            shortcut = qt.QShortcut(qt.QKeySequence(keys), window)
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)

    def remove(self) -> None:
        """Listen no more."""
        for shortcut in self._shortcuts:
            # Parentless and disabled at once: the object itself goes with the next turn of the event loop.
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts.clear()


class Shortcuts(Keys):
    """Installed in ``enter`` and removed in ``exit``.

    A shortcut presses its button: it does nothing while that is disabled, and the button's tooltip names it.
    """

    def __init__(self, ui: Any) -> None:
        buttons = {keys: getattr(ui, name) for keys, name in SHORTCUTS.items()}
        super().__init__({keys: lambda button=button: button.click() for keys, button in buttons.items()})
        for keys, button in buttons.items():
            add_keys(button, native(keys))


def shortcuts_help() -> str:
    """All shortcuts with what they do, as HTML for the module's help."""
    words = {
        "nextButton": _("next case"),
        "previousButton": _("case before"),
        "suggestedButton": _("case to look at next"),
        "skipButton": _("skip this case"),
        "positivePointButton": _("place points inside the structure"),
        "negativePointButton": _("place points outside"),
        "boxButton": _("draw a box"),
        "improveButton": _("improve the segment"),
        "acceptPreviewButton": _("accept the preview"),
        "undoPromptButton": _("take back the last prompt"),
        "showPreviewCheckBox": _("show or hide the preview"),
        "showProposalCheckBox": _("show or hide the proposal"),
        "differenceCheckBox": _("show or hide the difference"),
        "uncertaintyCheckBox": _("show or hide the uncertainty"),
        "acceptButton": _("accept the proposal"),
        "editProposalButton": _("edit the proposal"),
        "rejectButton": _("reject the proposal"),
    }
    rows = "".join(f"<tr><td>{native(keys)}</td><td>{words[name]}</td></tr>" for keys, name in SHORTCUTS.items())
    return _("Keyboard, while the module is open:") + f"<table cellpadding='2'>{rows}</table>"


def native(keys: str) -> str:
    """Keys as this computer's users know them."""
    return str(qt.QKeySequence(keys).toString(qt.QKeySequence.NativeText))
