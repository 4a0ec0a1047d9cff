"""The devices of this machine in words, told without loading torch, which would take seconds."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import platform
import re
import sys
from pathlib import Path

from semisam.specialists.hardware import cores

_NAME_BYTES = 256


@functools.cache
def devices_in_words() -> dict[str, str]:
    """Device -> words, such as {"cuda": "NVIDIA H100, 80 GB", "cpu": "this computer's processor (2 cores)"}.

    The first one is what "auto" takes. Asking the driver of a GPU may take a second.
    """
    found: dict[str, str] = {}
    spec = importlib.util.find_spec("torch")  # looks for the folder only
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    if folder is not None and built_for_cuda(folder):
        found = {f"cuda:{index}" if index else "cuda": words for index, words in enumerate(_nvidia_gpus())}
    if folder is not None and sys.platform == "darwin" and platform.machine() == "arm64":
        found["mps"] = "the GPU of this Mac"
    count = cores()
    found["cpu"] = f"this computer's processor ({count} {'core' if count == 1 else 'cores'})"
    return found


def built_for_cuda(torch: Path) -> bool:
    """Whether the torch in this folder can use an NVIDIA GPU."""
    try:
        text = (torch / "version.py").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return re.search(r"^cuda\b[^=\n]*=\s*['\"]\d", text, re.MULTILINE) is not None


def _nvidia_gpus() -> list[str]:
    """Name and memory of each GPU that the driver lets this process see."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int()
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return []
        found = []
        for index in range(count.value):
            device, memory = ctypes.c_int(), ctypes.c_size_t()
            name = ctypes.create_string_buffer(_NAME_BYTES)
            driver.cuDeviceGet(ctypes.byref(device), index)
            driver.cuDeviceGetName(name, _NAME_BYTES, device)
            driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
            found.append(f"{name.value.decode('utf-8', 'replace')}, {memory.value / 2**30:.0f} GB")
        return found
    except (OSError, AttributeError):  # no driver, or one of long ago
        return []
