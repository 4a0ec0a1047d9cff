"""Buttons that say why they are disabled, and which keys press them."""

from __future__ import annotations

from typing import Any

from .i18n import _

# Where a button remembers its own tooltip, while the shown one says also why it is disabled.
_PURPOSE = "purpose"


def allow(button: Any, why_not: str | None) -> None:
    """Enable a button, or disable it: ``why_not`` then stands below the tooltip that says what it is for."""
    button.enabled = not why_not
    text = _purpose(button)
    button.toolTip = f"{text}\n{why_not}" if why_not else text


def describe(button: Any, text: str) -> None:
    """Change what a button is for; to be followed by ``allow``."""
    button.setProperty(_PURPOSE, text)


def add_keys(button: Any, keys: str) -> None:
    """Name the keys that press the button in its tooltip."""
    text = _("{purpose} ({keys})").format(purpose=_purpose(button), keys=keys)
    button.setProperty(_PURPOSE, text)
    button.toolTip = text


def _purpose(button: Any) -> str:
    text = button.property(_PURPOSE)
    if text is None:
        text = button.toolTip
        button.setProperty(_PURPOSE, text)
    return str(text)
