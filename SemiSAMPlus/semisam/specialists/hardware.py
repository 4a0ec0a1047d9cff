"""What this machine offers: cores, memory, device, and whether bfloat16 pays on its CPU."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from semisam.errors import PlanError


@dataclass(frozen=True)
class Hardware:
    """The part of the machine that a plan depends on. ``memory_mb`` is that of the device that trains."""

    device: str
    device_name: str
    cores: int
    memory_mb: int
    bfloat16: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def in_words(self) -> str:
        """For example "NVIDIA H100, 80 GB" or "CPU, 2 cores, 23 GB"."""
        gigabytes = f"{self.memory_mb / 1024:.0f} GB"
        return f"{self.device_name}, {gigabytes}" if self.device != "cpu" else f"CPU, {self.cores} cores, {gigabytes}"


def detect(device: str = "auto") -> Hardware:
    """Look at the machine. ``device`` is "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises PlanError when a device is asked for that torch does not find.
    """
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if cuda else "mps" if mps else "cpu"
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise PlanError(f'Unknown device "{device}": use auto, cpu, cuda or mps.')
    if (kind == "cuda" and not cuda) or (kind == "mps" and not mps):
        raise PlanError(f'The device "{device}" is not available to torch on this machine: use --device cpu.')
    if kind == "cuda":
        properties = torch.cuda.get_device_properties(torch.device(device))
        memory = properties.total_memory // 2**20
        # Not torch.cuda.is_bf16_supported: it counts emulation, and looks at the current device. All GPUs of ROCm can.
        bfloat16 = torch.version.hip is not None or properties.major >= 8
        return Hardware(device, properties.name, cores(), int(memory), bfloat16)
    if kind == "mps":
        return Hardware(device, "Apple GPU", cores(), _memory_mb(), False)
    return Hardware(device, "CPU", cores(), _memory_mb(), _bfloat16_pays())


def cores() -> int:
    """The cores that this process may use, at least 1."""
    # The cores this process may use, which in a container or under a scheduler are fewer than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def _memory_mb() -> int:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = 8 * 2**30  # Windows has no sysconf: a modest machine is assumed
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(limit) as file:
                total = min(total, int(file.read()))
        except (OSError, ValueError):
            continue
    return int(total // 2**20)


def _bfloat16_pays() -> bool:
    """Whether the CPU computes in bfloat16 rather than emulating it, which is many times slower than float32."""
    import torch

    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
