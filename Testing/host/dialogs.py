"""Message boxes of `slicer.util`: recorded, and answered by tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer


@dataclass
class Dialog:
    """One message box that would have been shown: the function of `slicer.util` and the text."""

    kind: str
    text: str


KINDS = (
    "errorDisplay",
    "warningDisplay",
    "infoDisplay",
    "confirmOkCancelDisplay",
    "confirmYesNoDisplay",
    "confirmRetryCloseDisplay",
    "messageBox",
    "delayDisplay",
)


class Dialogs:
    """The message boxes so far; `answers` are given to the next questions, first one first."""

    def __init__(self) -> None:
        self.shown: list[Dialog] = []
        self.answers: list[bool] = []

    def texts(self, kind: str) -> list[str]:
        """Texts of the message boxes of one kind."""
        return [dialog.text for dialog in self.shown if dialog.kind == kind]

    def clear(self) -> None:
        """Forgets everything."""
        self.shown.clear()
        self.answers.clear()

    def watch(self) -> None:
        """Puts itself before the functions of `slicer.util`."""
        for kind in KINDS:
            setattr(slicer.util, kind, self._watched(kind, getattr(slicer.util, kind)))

    def _watched(self, kind: str, original: Any) -> Any:
        def display(text: str, *arguments: Any, **keywords: Any) -> Any:
            self.shown.append(Dialog(kind, text))
            if kind.startswith("confirm") and self.answers:
                return self.answers.pop(0)
            if kind == "delayDisplay" and slicer.app.testingEnabled():
                slicer.app.processEvents()
                return None
            return original(text, *arguments, **keywords)

        display.__name__ = kind
        display.__doc__ = original.__doc__
        return display


dialogs = Dialogs()
