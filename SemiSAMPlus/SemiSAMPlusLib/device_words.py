"""The device that training will run on, in words, before anything of torch is loaded."""

from __future__ import annotations

import os
import platform
import shutil
from functools import cache

from .i18n import _


def device_words(chosen: str) -> str:
    """``chosen`` is "auto", "cpu", "cuda" or "mps"; for "auto" it is what the engine will most likely find."""
    device = _expected() if chosen == "auto" else chosen
    if device.startswith("cuda"):
        return _("the NVIDIA GPU")
    if device == "mps":
        return _("the Apple GPU")
    words = _("the CPU ({cores} cores)").format(cores=_cores())
    return words if chosen == "cpu" else _("{cpu}, as no GPU was found").format(cpu=words)


@cache
def _expected() -> str:
    # torch itself would be asked in a second process that takes seconds; the driver's tool is there with the driver.
    if shutil.which("nvidia-smi"):
        return "cuda"
    return "mps" if platform.system() == "Darwin" and platform.machine() == "arm64" else "cpu"


def _cores() -> int:
    # Those that this process may use, as in the engine.
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)
