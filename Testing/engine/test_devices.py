"""The devices are told in words, at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from semisam.specialists.devices import built_for_cuda, devices_in_words
from semisam.specialists.hardware import detect

CODE = """
import sys
from semisam.specialists.devices import devices_in_words
print("cpu" in devices_in_words(), "torch" in sys.modules)
"""


def test_the_first_device_is_the_one_that_training_takes() -> None:
    found = devices_in_words()
    hardware = detect("auto")
    assert next(iter(found)) == hardware.device
    assert re.fullmatch(rf"this computer's processor \({hardware.cores} cores?\)", found["cpu"])


def test_torch_is_not_loaded_for_it() -> None:
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True", "False"]


@pytest.mark.parametrize(
    ("text", "cuda"),
    [
        ("cuda: Optional[str] = None\nhip = None\n", False),
        ("cuda: Optional[str] = '12.8'\n", True),
        ('__version__ = "2.5.1+cu121"\ncuda = "12.1"\n', True),
        ("debug = False\n", False),
    ],
)
def test_a_torch_without_cuda_is_known_by_its_version_file(text: str, cuda: bool, tmp_path: Path) -> None:
    assert not built_for_cuda(tmp_path)
    (tmp_path / "version.py").write_text(text)
    assert built_for_cuda(tmp_path) is cuda


@pytest.mark.parametrize(
    ("capability", "rocm", "bfloat16"), [(7, None, False), (8, None, True), (12, None, True), (7, "6.2", True)]
)
def test_a_gpu_that_only_emulates_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, capability: int, rocm: str | None, bfloat16: bool
) -> None:
    asked: list[torch.device] = []

    def properties(device: torch.device) -> SimpleNamespace:
        asked.append(device)
        return SimpleNamespace(name="GPU", major=capability, total_memory=8 << 30)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *arguments: True)  # emulated, or on another GPU
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.setattr(torch.version, "hip", rocm)
    assert detect("cuda:1").bfloat16 == bfloat16
    assert asked == [torch.device("cuda:1")]
