"""The wrapper of QProcess against the names that a real Slicer has."""

from __future__ import annotations

import importlib
import json
import sys
import types
from typing import Any

import pytest

from places import API
from SemiSAMPlusLib.process import Launch


def fake_class(api: dict[str, Any], name: str) -> type:
    """A class with the methods and signals of ``name``, and nothing else; it records calls."""
    known = set(api["classes"][f"qt.{name}"]["methods"]) | {"connect"}
    signals = set(api["classes"][f"qt.{name}"]["signals"])

    class Fake:
        made: list[Any] = []

        def __init__(self) -> None:
            self.calls: list[tuple[Any, ...]] = []
            self.slots: dict[str, Any] = {}
            self.answers: dict[str, Any] = {}
            Fake.made.append(self)

        def __getattr__(self, method: str) -> Any:
            if method not in known:
                raise AttributeError(f"qt.{name} has no {method}")
            return lambda *arguments: self.call(method, *arguments)

        def call(self, method: str, *arguments: Any) -> Any:
            if method == "connect":
                assert arguments[0].split("(")[0] in signals, arguments[0]
                self.slots[arguments[0].split("(")[0]] = arguments[1]
            self.calls.append((method, *arguments))
            return self.answers.get(method)

    return Fake


class ByteArray:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def data(self) -> bytes:
        return self._data


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.heard.append((name, *arguments))


@pytest.fixture
def qt(monkeypatch: pytest.MonkeyPatch) -> Any:
    if not API.exists():
        pytest.skip(f"the API of a real Slicer is not at {API}")
    api = json.loads(API.read_text())
    module = types.ModuleType("qt")
    for name in ("QProcess", "QProcessEnvironment", "QTimer"):
        setattr(module, name, fake_class(api, name))
    monkeypatch.setitem(sys.modules, "qt", module)
    monkeypatch.delitem(sys.modules, "SemiSAMPlusLib.qprocess", raising=False)
    return module


def started(qt: Any) -> tuple[Any, Any, Listener]:
    qprocess = importlib.import_module("SemiSAMPlusLib.qprocess")
    process, listener = qprocess.QtProcess(), Listener()
    inner = qt.QProcess.made[-1]
    inner.answers = {"readAllStandardOutput": ByteArray(b""), "readAllStandardError": ByteArray(b"")}
    process.start(Launch("python", ("-m", "semisam"), {"A": "b"}), listener)
    return process, inner, listener


def test_a_process_passes_on_what_it_hears_and_ends_once(qt: Any) -> None:
    process, inner, listener = started(qt)
    assert ("start", "python", ["-m", "semisam"]) in inner.calls
    assert qt.QProcessEnvironment.made[-1].calls == [("insert", "A", "b")]
    inner.answers["readAllStandardOutput"] = ByteArray(b"one\n")
    inner.slots["readyReadStandardOutput"]()
    process.write(b"x")
    inner.answers["readAllStandardOutput"] = ByteArray(b"two")
    inner.slots["finished"](9, 1)
    inner.slots["finished"](9, 1)
    process.write(b"too late")
    assert listener.heard == [("on_output", b"one\n"), ("on_output", b"two"), ("on_finished", 9, True)]
    assert [call for call in inner.calls if call[0] == "write"] == [("write", b"x")]


def test_a_program_that_cannot_be_started_says_why(qt: Any) -> None:
    _, inner, listener = started(qt)
    inner.answers["errorString"] = "No such file"
    inner.slots["errorOccurred"](1)  # a crash ends in "finished"
    inner.slots["errorOccurred"](0)
    assert listener.heard == [("on_start_failed", "No such file")]


def test_a_timer_fires_once_and_not_after_cancel(qt: Any) -> None:
    qprocess = importlib.import_module("SemiSAMPlusLib.qprocess")
    fired: list[int] = []
    qprocess.QtScheduler().call_later(0.5, lambda: fired.append(1))
    first = qt.QTimer.made[-1]
    assert ("start", 500) in first.calls and ("setSingleShot", True) in first.calls
    first.slots["timeout"]()
    first.slots["timeout"]()
    timer = qprocess.QtScheduler().call_later(0.5, lambda: fired.append(2))
    timer.cancel()
    qt.QTimer.made[-1].slots["timeout"]()
    assert fired == [1] and not qprocess._at_work


def test_at_the_end_of_the_application_processes_are_waited_for_and_timers_stopped(qt: Any) -> None:
    qprocess = importlib.import_module("SemiSAMPlusLib.qprocess")
    process, inner, listener = started(qt)
    fired: list[int] = []
    qprocess.QtScheduler().call_later(0.5, lambda: fired.append(1))
    qprocess.end_all()
    assert [call[0] for call in inner.calls[-2:]] == ["kill", "waitForFinished"]
    inner.slots["finished"](9, 1)
    qt.QTimer.made[-1].slots["timeout"]()
    process.write(b"too late")
    assert listener.heard == [] and not fired and not qprocess._at_work
    assert not [call for call in inner.calls if call[0] == "write"]
