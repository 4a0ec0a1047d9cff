"""What the tests of the Slicer side share. They need slicer-core only where they touch the scene."""

from __future__ import annotations

from typing import Any

import pytest

from event_loop import EventLoop


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
