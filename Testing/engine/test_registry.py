"""The registry: generalists by name, made when needed, left out when they cannot work."""

import sys
import types

import numpy as np
import pytest

from semisam.errors import GeneralistError
from semisam.generalists import registry
from semisam.generalists.base import Context, Example
from semisam.volumes import Geometry, Volume


class Silent:
    """The smallest generalist there can be."""

    name, fingerprint = "silent", "silent-1"

    def __init__(self, context):
        self.context = context


@pytest.fixture
def silent(monkeypatch):
    """One file and one line: a generalist of one's own."""
    module = types.ModuleType("somewhere.silent")
    module.Silent = Silent
    monkeypatch.setitem(sys.modules, "somewhere.silent", module)
    monkeypatch.setitem(registry.GENERALISTS, "silent", "somewhere.silent:Silent")


@pytest.fixture
def without_nano(monkeypatch):
    """Saves the seconds that loading torch takes."""
    others = {name: line for name, line in registry.GENERALISTS.items() if name != "nano"}
    monkeypatch.setattr(registry, "GENERALISTS", others)


def example():
    voxels = np.random.default_rng(0).random((12, 12, 12), np.float32)
    mask = np.zeros((12, 12, 12), np.uint8)
    mask[4:8, 4:8, 4:8] = 1
    return Example("one", Volume(voxels, Geometry.simple((12, 12, 12))), mask)


def test_one_file_and_one_line_add_a_generalist(without_nano, silent):
    context = Context()
    assert registry.create("silent", context).context is context
    assert "silent" in registry.names() and "silent" in registry.resolve("auto")
    assert "silent" in registry.create_all("auto", context)


def test_an_unknown_name_is_told_with_the_known_ones():
    for call in (lambda: registry.create("oracle", Context()), lambda: registry.resolve("nano,oracle")):
        with pytest.raises(GeneralistError, match='no generalist "oracle".*nano.*registration.*random-walker'):
            call()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("auto", list(registry.GENERALISTS)),
        ("none", []),
        ("", []),
        ("nano", ["nano"]),
        (" random-walker , Nano,nano ", ["random-walker", "nano"]),
    ],
)
def test_a_text_names_generalists(text, names):
    assert registry.resolve(text) == names


def test_auto_leaves_out_registration_until_there_is_an_annotated_case(without_nano):
    assert "registration" not in registry.create_all("auto", Context())
    assert "registration" in registry.create_all("auto", Context([example()]))


def test_a_generalist_asked_for_by_name_says_why_it_cannot_work():
    with pytest.raises(GeneralistError, match="needs at least one annotated case"):
        registry.create_all("registration", Context())


def test_what_is_not_on_this_computer_is_told_before_anything_is_made(without_nano):
    with pytest.raises(GeneralistError, match='weights of "sam-med3d" are not on this computer'):
        registry.check("random-walker, sam-med3d")
    with pytest.raises(GeneralistError, match='no generalist "oracle"'):
        registry.check("oracle")
    for text in (" Auto ", "none", "random-walker,registration"):
        registry.check(text)


def test_a_missing_package_is_named(without_nano, monkeypatch):
    monkeypatch.setitem(registry.GENERALISTS, "far", "package_that_is_not_there:Far")
    with pytest.raises(GeneralistError, match='"far" needs the Python package "package_that_is_not_there"'):
        registry.create("far", Context())
    assert "far" not in registry.create_all("auto", Context())


def test_the_log_tells_once_that_a_generalist_is_left_out(without_nano, monkeypatch):
    monkeypatch.setitem(registry.GENERALISTS, "away", "package_that_is_not_there:Away")
    told = []
    monkeypatch.setattr(registry._logger, "info", lambda text, *values: told.append(text % values))
    for _ in range(3):
        registry.create_all("auto", Context())
    assert sum('"away" is left out' in line for line in told) == 1


def test_every_entry_follows_the_protocol():
    for name in ("registration", "random-walker"):
        generalist = registry.create(name, Context([example()]))
        assert generalist.name == name and generalist.fingerprint
