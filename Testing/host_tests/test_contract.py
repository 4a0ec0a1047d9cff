"""The host offers nothing that a real Slicer lacks, and everything in the same kind."""

from __future__ import annotations

import inspect
from typing import Any

import pytest


def test_proxies_have_exactly_the_names_of_the_contract(host: Any) -> None:
    from Testing.host import members
    from Testing.host.contract import contract
    from Testing.host.wrapping import proxy_class, pyside_class

    for full_name in contract().class_names:
        if pyside_class(full_name) is None:
            continue
        made = proxy_class(full_name)
        reachable = {name for name in dir(made) if not name.startswith("_") and not is_masked(made, name)}
        assert reachable <= set(contract().members(full_name)), full_name
        assert members.kinds(made) == contract().members(full_name)


def is_masked(proxy_class: Any, name: str) -> bool:
    """Whether a name only stands there to be refused."""
    from Testing.host.members import Masked

    return isinstance(inspect.getattr_static(proxy_class, name), Masked)


def test_widgets_of_the_host_declare_members_in_the_kinds_of_the_contract(host: Any) -> None:
    from PySide6.QtCore import Property, QObject, Signal

    from Testing.host.contract import contract
    from Testing.host.widgets import WIDGET_CLASSES

    wrong = []
    for full_name, native_class in WIDGET_CLASSES.items():
        if not contract().knows(full_name):
            assert full_name.split(".")[1] in contract().names[full_name.split(".")[0]]
            continue
        for owner in native_class.__mro__:
            if not owner.__module__.startswith("Testing.host") or not issubclass(owner, QObject):
                continue
            for name, member in vars(owner).items():
                if "_" in name or name.isupper():
                    continue
                kind = contract().kind(full_name, name)
                if isinstance(member, Property):
                    fits = kind == "property"
                elif isinstance(member, Signal):
                    fits = kind == "signal"
                elif inspect.isfunction(member):
                    # A function that Slicer does not list cannot be reached through the proxy.
                    fits = kind in ("method", None) or hasattr(owner.__mro__[1], name)
                else:
                    fits = True
                if not fits:
                    wrong.append(f"{full_name}.{name} is a {type(member).__name__} here and {kind} in Slicer")
    assert not wrong, "\n".join(wrong)


def test_slicer_has_no_names_of_its_own(slicer: Any) -> None:
    from Testing.host.contract import contract

    allowed = contract().names["slicer"] | {"util", "slicer_core", "packaging"}
    extra = [name for name in vars(slicer) if not name.startswith(("_", "vtk")) and name not in allowed]
    assert extra == []


@pytest.mark.parametrize("name", ["i18n", "packaging", "parameterNodeWrapper", "ScriptedLoadableModule"])
def test_python_modules_offer_only_what_slicer_has(host: Any, name: str) -> None:
    import importlib

    from Testing.host.contract import contract

    module = importlib.import_module(f"slicer.{name}")
    known = contract().python[f"slicer.{name}"]
    offered = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
    assert set(offered) <= set(known)
    for class_name in offered:
        member = getattr(module, class_name)
        if inspect.isclass(member) and isinstance(known.get(class_name), list):
            methods = [n for n, m in vars(member).items() if inspect.isfunction(m) and not n.startswith("_")]
            assert set(methods) <= set(known[class_name]), class_name


def test_utilities_are_those_of_slicer(slicer: Any) -> None:
    from Testing.host.contract import contract

    functions = [n for n, m in vars(slicer.util).items() if inspect.isfunction(m) and not n.startswith("_")]
    assert set(functions) <= set(contract().python["slicer.util"])


def test_application_has_the_kinds_of_slicer(slicer: Any, violations: list[str]) -> None:
    assert isinstance(slicer.app.applicationName, str) and isinstance(slicer.app.temporaryPath, str)
    assert slicer.app.testingEnabled() is True and slicer.app.mrmlScene() is slicer.mrmlScene
    assert slicer.app.majorVersion >= 5
    assert not hasattr(slicer.app, "extensionsManagerModel"), "the Slicer that was read was built without it"
    violations.clear()


def test_names_that_slicer_lacks_are_recorded(slicer: Any, violations: list[str]) -> None:
    with pytest.raises(AttributeError):
        _ = slicer.qMRMLMagicWidget
    assert violations == ["module 'slicer' has no attribute 'qMRMLMagicWidget'"]
    violations.clear()


def test_what_the_host_does_not_emulate_says_so(qt: Any, slicer: Any, violations: list[str]) -> None:
    from Testing.host.contract import NotInHost

    with pytest.raises(NotInHost):
        slicer.qMRMLVolumePropertyNodeWidget()
    with pytest.raises(NotInHost):
        slicer.qMRMLNodeComboBox().sortFilterProxyModel()
    violations.clear()


def test_extract_agrees_with_the_whole_api() -> None:
    import json
    from pathlib import Path

    from Testing.host.contract import Contract
    from Testing.host.make_api import extract

    whole_file = Path(__file__).parents[3] / "shared" / "reference" / "pythonqt_api.json"
    if not whole_file.exists():
        pytest.skip("The whole API of Slicer is not beside this repository")
    whole = json.loads(whole_file.read_text(encoding="utf-8"))
    stored = Contract()
    again = Contract(extract(whole, set(stored.class_names)))
    assert again.class_names == stored.class_names
    assert all(again.members(name) == stored.members(name) for name in stored.class_names)
    for name in ("qt.QPushButton", "slicer.qMRMLNodeComboBox"):
        for property_name in whole["classes"][name]["properties"]:
            assert stored.kind(name, property_name) in ("property", "constant", "method")
