"""What the tests of the Slicer side share. They need slicer-core only where they touch the scene."""

from __future__ import annotations

from pathlib import Path

import pytest

from event_loop import EventLoop

ROOT = Path(__file__).resolve().parents[2]

VOLUMES = ROOT.parent / "shared" / "data" / "volumes"


@pytest.fixture
def loop() -> EventLoop:
    return EventLoop()
