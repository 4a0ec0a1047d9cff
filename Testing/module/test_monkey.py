"""Random sequences of what a user can do: nothing is lost, nothing is left behind, and nothing raises.

Some sequences are part of the tests; all 200 run with SEMISAMPLUS_MONKEYS=0:200, and number 17 alone with 17:18.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from small_study import make_images, make_project

ACTIONS = 30
FIRST, END = (int(number) for number in os.environ.get("SEMISAMPLUS_MONKEYS", "0:6").split(":"))


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """What the module writes to the log as an error: exceptions of callbacks."""
    found: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: found.append(handler.format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("SemiSAMPlusLib")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_images(tmp_path_factory.mktemp("monkey") / "images", 8, shape=(8, 10, 12))


@pytest.mark.parametrize("number", range(FIRST, END))
def test_whatever_a_user_does_nothing_is_lost(
    widget: Any, host: Any, errors: list[str], exceptions: list[Any], images: list[Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, number: int,
) -> None:  # fmt: skip
    from monkey import Monkey, nodes_in_scene
    from SemiSAMPlusLib.confident_dialog import ConfidentDialog

    monkeypatch.setattr(ConfidentDialog, "run", lambda dialog: True)
    project = make_project(tmp_path / "project", images[:6], annotated=2, proposed=3)
    before = nodes_in_scene()
    monkey = Monkey(widget, host, project.path, images, seed=number)
    try:
        for _ in range(ACTIONS):
            monkey.act()
            assert not errors and not exceptions
        monkey.end()
        monkey.check_project()
        left = nodes_in_scene() - before
        assert not left, f"left behind: {left}"
        assert not errors
    except BaseException:
        print("\n".join(monkey.log))
        raise
