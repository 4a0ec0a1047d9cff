"""Calling the command line in this process, and what every answer of it holds to."""

from __future__ import annotations

import json

import pytest

from semisam.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """The one JSON line of a command that works."""
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    lines = out.splitlines()
    assert len(lines) == 1
    result = json.loads(lines[0])
    assert result["event"] == "done"
    return result


def assert_one_sentence(err: str) -> None:
    assert err.startswith("semisam: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
