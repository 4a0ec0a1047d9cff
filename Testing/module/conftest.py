"""Fixtures for the module's own tests in the host."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from Testing.host.fixtures import *  # noqa: F403

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "SemiSAMPlus" / "SemiSAMPlus.py"


@pytest.fixture(scope="session", autouse=True)
def engine_python() -> None:
    """The engine runs in the Python of the tests, unless another one is named."""
    os.environ.setdefault("SEMISAMPLUS_PYTHON", sys.executable)


@pytest.fixture(scope="session", autouse=True)
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the engine keeps weights. Tests neither see nor change what this computer's user has imported; set before
    the module's widget is made, which reads its environment only then."""
    folder = tmp_path_factory.mktemp("data") / "weights"
    os.environ["SEMISAMPLUS_WEIGHTS"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def module(host_session: Any, engine_python: None, weights_folder: Path) -> Any:
    """The module, loaded once."""
    return host_session.load_module(MODULE)


@pytest.fixture
def widget(host: Any, module: Any) -> Any:
    """The module's widget, opened in a fresh scene; the engine's Python has been found."""
    opened = host.open_module("SemiSAMPlus")
    assert host.process_events(until=lambda: opened.controller.setup_panel.ready, timeout=60)
    yield opened
    opened.controller.close_project()
    host.process_events(until=lambda: False, timeout=0.2)
    host.close_module("SemiSAMPlus")
