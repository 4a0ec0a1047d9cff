"""Fixtures of the host, for the tests of the host itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from Testing.host.fixtures import *  # noqa: F403

EXAMPLE = Path(__file__).parent / "example" / "HostExample.py"


@pytest.fixture(scope="session")
def example_module(host_session: Any) -> Any:
    """The example module, loaded once."""
    return host_session.load_module(EXAMPLE)


@pytest.fixture
def example(host: Any, example_module: Any) -> Any:
    """The widget of the example module, opened in a fresh scene."""
    widget = host.open_module("HostExample")
    yield widget
    host.close_module("HostExample")


@pytest.fixture
def qt(host: Any) -> Any:
    """The module `qt`."""
    import qt as module

    return module


@pytest.fixture
def slicer(host: Any) -> Any:
    """The module `slicer`."""
    return host.slicer
