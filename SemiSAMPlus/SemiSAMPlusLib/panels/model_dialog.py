"""The dialog that asks what a colleague should read on the card of a model."""

from __future__ import annotations

from typing import Any

import qt

from ..i18n import _


def ask_for_card(parent: Any = None) -> dict[str, str] | None:
    """Title, description and licence in the user's words, any of them may be empty; None when cancelled."""
    dialog = ModelDialog(parent)
    return dialog.card() if dialog.window.exec() else None


class ModelDialog:
    """Three lines of text; counts, dates and the rest of the card are the engine's business."""

    def __init__(self, parent: Any = None) -> None:
        self.window = qt.QDialog(parent)
        self.window.setWindowTitle(_("Export the model"))
        self.window.minimumWidth = 480
        layout = qt.QFormLayout(self.window)
        hint = qt.QLabel(
            _(
                "The file holds the network, the segments, and how many cases it learned from. It holds no image, no "
                "mask and no name of a case: do not write any here, either."
            )
        )
        hint.setWordWrap(True)
        layout.addRow(hint)
        self.lines: dict[str, Any] = {}
        for key, label, example in (
            ("title", _("Title"), _("What it segments")),
            ("description", _("Description"), _("For which images it is meant, and what it cannot do")),
            ("licence", _("Licence"), _("On which terms others may use it")),
        ):
            line = qt.QLineEdit()
            line.placeholderText = example
            line.maxLength = 900
            line.accessibleName = label
            self.lines[key] = line
            layout.addRow(label, line)
        buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        buttons.connect("accepted()", self.window.accept)
        buttons.connect("rejected()", self.window.reject)
        layout.addRow(buttons)

    def card(self) -> dict[str, str]:
        """What was typed."""
        return {key: str(line.text) for key, line in self.lines.items()}
