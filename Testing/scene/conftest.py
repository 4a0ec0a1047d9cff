"""What the tests of the Slicer side share. They need slicer-core only where they touch the scene."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from event_loop import EventLoop


@pytest.fixture(scope="session", autouse=True)
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the engine keeps weights: not where this computer's user has imported some, which tests would find."""
    folder = tmp_path_factory.mktemp("data") / "weights"
    os.environ["SEMISAMPLUS_WEIGHTS"] = str(folder)
    return folder


@pytest.fixture
def loop() -> EventLoop:
    return EventLoop()


@pytest.fixture
def scene() -> Any:
    """An empty MRML scene with slice views and a subject hierarchy."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: pip install slicer-core")
    scene = slicer.vtkMRMLScene()
    for name in ("Red", "Green"):
        scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", name)
    return scene
