"""A guard against a fault of PySide on Python 3.11.

PySide 6.12 releases True and False once too often (reading a bool from QSettings is one way); after some hundred times
Python 3.11 aborts. From Python 3.12 on these objects have no reference count that could run out.
"""

from __future__ import annotations

import ctypes
import sys

ENOUGH_REFERENCES = 1 << 40


def protect_constants() -> None:
    """Gives True, False and None references enough for any process."""
    if sys.version_info < (3, 12):
        for constant in (True, False, None):
            ctypes.c_ssize_t.from_address(id(constant)).value += ENOUGH_REFERENCES
