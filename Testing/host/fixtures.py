"""Fixtures for tests of a scripted module in the host.

Use them with `from Testing.host.fixtures import *` in a conftest.py. A test that asks for `host` gets a fresh scene,
and fails at its end if a slot raised or if the module asked for something that a real Slicer does not have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["click", "exceptions", "host", "host_session", "process_events", "screenshot", "violations"]

SCREENSHOT_FOLDER = "SEMISAMPLUS_SCREENSHOTS"


@pytest.fixture(scope="session")
def host_session() -> Iterator[Any]:
    """The host, started once; tests that need it are skipped where its packages are missing."""
    pytest.importorskip("PySide6.QtWidgets", reason="The test host needs PySide6-Essentials", exc_type=ImportError)
    pytest.importorskip("slicer", reason="The test host needs slicer-core")
    from Testing.host.session import start

    running = start()
    yield running
    running.unload_modules()
    running.application.layoutManager().shutdown()


@pytest.fixture
def exceptions(host_session: Any) -> list[Any]:
    """Exceptions that slots, virtual methods and observers raised; a test that expects one clears the list."""
    from Testing.host import failures

    return failures.swallowed


@pytest.fixture
def violations(host_session: Any) -> list[str]:
    """What was asked for beyond a real Slicer; a test that expects one clears the list."""
    from Testing.host.contract import contract

    return contract().violations


@pytest.fixture
def host(host_session: Any, exceptions: list[Any], violations: list[str]) -> Iterator[Any]:
    """The host with a fresh scene."""
    host_session.fresh_scene()
    yield host_session
    host_session.process_events()
    assert not exceptions, "\n".join(map(str, exceptions))
    assert not violations, "\n".join(violations)


@pytest.fixture
def process_events(host_session: Any) -> Callable[..., bool]:
    """`process_events(until=..., timeout=...)`: lets Qt work; False if the condition never held."""
    method: Callable[..., bool] = host_session.process_events
    return method


@pytest.fixture
def click(host_session: Any) -> Callable[[Any], None]:
    """`click(button)`: what the user does; a button that is disabled or hidden cannot be clicked."""

    def click_as_user(button: Any) -> None:
        assert button.isEnabled(), f"{button} is disabled: {button.toolTip}"
        assert not button.isHidden(), f"{button} is hidden"
        button.click()
        host_session.process_events()

    return click_as_user


@pytest.fixture
def screenshot(host_session: Any, tmp_path: Path) -> Callable[..., Path]:
    """`screenshot(name, widget)`: writes a picture, into the folder SEMISAMPLUS_SCREENSHOTS if that is set."""

    def take(name: str, widget: Any = None) -> Path:
        folder = Path(os.environ.get(SCREENSHOT_FOLDER, tmp_path))
        folder.mkdir(parents=True, exist_ok=True)
        path: Path = host_session.screenshot(folder / f"{name}.png", widget)
        return path

    return take
