"""Which Python runs the engine, asked for real but without torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from event_loop import ChildProcess, EventLoop
from SemiSAMPlusLib import python_finder
from SemiSAMPlusLib.python_finder import (
    PythonFinder,
    PythonProbe,
    candidates,
    engine_environment,
    engine_folder,
    engine_launch,
)


def find(loop: EventLoop, environment: dict[str, str], python_slicer: str | None = None) -> Any:
    found: list[Any] = []
    finder = PythonFinder(lambda: ChildProcess(loop), loop, environment, python_slicer=python_slicer)
    finder.find(found.append, lambda text, probes: found.append((text, probes)))
    assert found == []  # never before the call has returned
    loop.run_until(lambda: found, 60)
    return found[0]


@pytest.fixture
def pythons(tmp_path: Path) -> dict[str, str]:
    """Programs that answer like a Python with everything, and like one without torch."""
    whole = '{"torch": "2.13", "monai": "1.5"}'
    half = '{"torch": "broken", "monai": ""}'
    answers = {
        "whole": f'PROBE {{"version": [3, 12, 1], "executable": "", "packages": {whole}}}',
        "half": f'PROBE {{"version": [3, 12, 1], "executable": "", "packages": {half}}}',
        "old": f'PROBE {{"version": [3, 9, 1], "executable": "", "packages": {whole}}}',
    }
    programs = {}
    for name, answer in answers.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho noise\necho '{answer}'\n")
        path.chmod(0o755)
        programs[name] = str(path)
    return programs


def test_slicers_python_is_asked_first_and_the_variable_second(loop: EventLoop, pythons: dict[str, str]) -> None:
    environment = {"SEMISAMPLUS_PYTHON": pythons["whole"], "PATH": ""}
    assert find(loop, environment, pythons["whole"]).source == "PythonSlicer"
    probe = find(loop, environment, pythons["half"])
    assert probe.source == "SEMISAMPLUS_PYTHON" and probe.usable and probe.python == (3, 12, 1)


def test_when_none_is_usable_all_are_named_with_what_they_lack(loop: EventLoop, pythons: dict[str, str]) -> None:
    text, probes = find(loop, {"SEMISAMPLUS_PYTHON": pythons["old"], "PATH": ""}, pythons["half"])
    assert "in part only" in text and "Python 3.9.1" in text and pythons["old"] in text
    assert probes[0].missing == ["torch", "monai"]


def test_nothing_at_all_is_told_with_a_remedy(loop: EventLoop) -> None:
    text, probes = find(loop, {"PATH": ""})
    assert "SEMISAMPLUS_PYTHON" in text and "torch" in text and probes == []


def test_what_is_no_python_is_quoted(loop: EventLoop, tmp_path: Path) -> None:
    text, _ = find(loop, {"SEMISAMPLUS_PYTHON": str(tmp_path / "nowhere"), "PATH": ""})
    assert "cannot be started" in text
    bad = tmp_path / "bad"
    bad.write_text("#!/bin/sh\necho oh no >&2\nexit 3\n")
    bad.chmod(0o755)
    text, _ = find(loop, {"SEMISAMPLUS_PYTHON": str(bad), "PATH": ""})
    assert "oh no" in text


def test_one_that_hangs_is_given_up(loop: EventLoop, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(python_finder, "PROBE_SECONDS", 0.2)
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 100\n")
    slow.chmod(0o755)
    text, _ = find(loop, {"SEMISAMPLUS_PYTHON": str(slow), "PATH": os.environ["PATH"]})
    assert "does not answer" in text


def test_a_real_python_tells_its_packages_without_importing_them(loop: EventLoop, monkeypatch) -> None:
    monkeypatch.setattr(python_finder, "PACKAGES", ("pytest", "no_such_package"))
    _, probes = find(loop, {"SEMISAMPLUS_PYTHON": sys.executable, "PATH": ""})
    assert probes[0].versions["pytest"] == pytest.__version__ and probes[0].missing == ["no_such_package"]


def test_a_launcher_that_does_not_pass_on_what_is_written_to_it_is_gone_round(
    loop: EventLoop, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(python_finder, "PACKAGES", ("pytest",))
    monkeypatch.setattr(python_finder, "_PROBE", python_finder._PROBE.replace("join(5)", "join(0.5)"))
    launcher, real = tmp_path / "PythonSlicer", tmp_path / "python-real"
    launcher.write_text(f'#!/bin/sh\n/bin/sleep 1 | "{sys.executable}" "$@"\n')
    launcher.chmod(0o755)
    text, (probe,) = find(loop, {"PATH": ""}, str(launcher))
    assert probe.deaf and "hears nothing" in text
    real.symlink_to(sys.executable)
    assert find(loop, {"PATH": ""}, str(launcher)).program == str(real)
    assert find(loop, {"PATH": ""}, sys.executable).program == sys.executable


def test_another_python_sees_nothing_of_slicers_libraries() -> None:
    current = {"PYTHONHOME": "/slicer", "LD_LIBRARY_PATH": "/slicer/lib", "PYTHONPATH": "/slicer/py", "HOME": "/h"}
    hidden = engine_environment("SEMISAMPLUS_PYTHON", current)
    assert "PYTHONHOME" not in hidden and "LD_LIBRARY_PATH" not in hidden and hidden["HOME"] == "/h"
    assert hidden["PYTHONPATH"] == str(engine_folder())
    startup = engine_environment("SEMISAMPLUS_PYTHON", current, {"HOME": "/h", "LD_LIBRARY_PATH": "/cuda"})
    assert startup["LD_LIBRARY_PATH"] == "/cuda"
    own = engine_environment("PythonSlicer", current, {})
    assert own["PYTHONHOME"] == "/slicer" and own["PYTHONPATH"].split(os.pathsep)[1] == "/slicer/py"


def test_the_engine_lies_where_the_worker_will_look(tmp_path: Path) -> None:
    assert (engine_folder() / "semisam" / "__main__.py").is_file()
    launch = engine_launch(PythonProbe("py", "PythonSlicer"), ("worker", str(tmp_path / "ein Projekt")), {"A": "b"})
    assert launch.arguments[-3:] == ("semisam", "worker", str(tmp_path / "ein Projekt"))
    assert candidates({"PATH": "", "SEMISAMPLUS_PYTHON": "x"}) == [("x", "SEMISAMPLUS_PYTHON")]


def test_a_slicer_without_its_launcher_hides_its_libraries_too() -> None:
    startup = {"PYTHONHOME": "/slicer", "LD_LIBRARY_PATH": "/slicer/lib", "PYTHONPATH": "/slicer/py", "HOME": "/h"}
    hidden = engine_environment("SEMISAMPLUS_PYTHON", startup, startup)
    assert "PYTHONHOME" not in hidden and "LD_LIBRARY_PATH" not in hidden and hidden["HOME"] == "/h"
    assert hidden["PYTHONPATH"] == str(engine_folder())
