"""Where things lie: the repository, and beside it the real data, which may be absent."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VOLUMES = ROOT.parent / "shared" / "data" / "volumes"
API = ROOT.parent / "shared" / "reference" / "pythonqt_api.json"
