"""How the application ends while the engine is at work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from small_study import make_images, make_project

ROOT = Path(__file__).resolve().parents[2]

# Ends as Slicer does: modules are unloaded, and no event is served after that.
_PROGRAM = """
import sys
from Testing.host.session import start
host = start()
host.load_module(sys.argv[1])
widget = host.open_module("SemiSAMPlus")
assert host.process_events(lambda: widget.controller.setup_panel.ready, 60)
for folder in sys.argv[2:]:
    widget.controller.open_project(__import__("pathlib").Path(folder))
    assert host.process_events(lambda: widget.controller.session.state.value == "open", 60)
process = widget.controller.session.client._process.pid
host.unload_modules()
print("worker", process)
"""


def test_nothing_is_printed_and_no_process_is_left_when_slicer_ends(tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", 1)
    folders = [make_project(tmp_path / name, images).path for name in ("first", "second")]
    module = ROOT / "SemiSAMPlus" / "SemiSAMPlus.py"
    command = [sys.executable, "-c", _PROGRAM, str(module), *map(str, folders)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "QProcess" not in ended.stderr and "Traceback" not in ended.stderr
    worker = int(ended.stdout.split()[-1])
    assert not Path(f"/proc/{worker}").exists()
