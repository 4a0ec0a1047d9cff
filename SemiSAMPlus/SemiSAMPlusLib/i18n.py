"""``_`` for texts that a person reads. Outside of Slicer, where there is no ``slicer.i18n``, texts stay as they are."""

from __future__ import annotations

try:
    # The function itself, not a wrapper: it looks at its caller's file to find the translation.
    from slicer.i18n import tr as _
except ImportError:

    def _(text: str) -> str:
        """The text itself."""
        return text


__all__ = ["_"]
