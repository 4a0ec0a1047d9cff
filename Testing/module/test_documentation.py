"""The documentation says what is there: links, pictures, buttons, keys."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "Documentation").glob("*.md")])
REFERENCE = (ROOT / "Documentation" / "user-interface.md").read_text("utf-8")
LARGEST_PICTURE = 300_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        file, _sharp, heading = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, target


def test_source_files_that_are_named_exist() -> None:
    files = {
        path.relative_to(ROOT).as_posix() for part in ("SemiSAMPlus", "Testing") for path in (ROOT / part).rglob("*")
    }
    pages = [*PAGES, *(ROOT / "Testing").rglob("*.md"), *(ROOT / "SemiSAMPlus").rglob("*.md")]
    missing = [
        f"{page.name}: {name}"
        for page in pages
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", page.read_text("utf-8"))
        if not any(f"/{file}".endswith(f"/{name.rstrip('/')}") for file in files)
    ]
    assert missing == []


def test_pictures_are_small_and_used() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    for picture in (ROOT / "Resources" / "figures").glob("*.png"):
        assert picture.stat().st_size < LARGEST_PICTURE, picture.name
        assert f"figures/{picture.name}" in text, picture.name


def test_every_button_is_in_the_reference() -> None:
    tree = ElementTree.parse(ROOT / "SemiSAMPlus" / "Resources" / "UI" / "SemiSAMPlus.ui")
    kinds = ("QPushButton", "QToolButton", "QCheckBox", "ctkMenuButton", "ctkCollapsibleButton")
    for widget in tree.iter("widget"):
        if widget.get("class") in kinds:
            text = widget.findtext("property[@name='text']/string")
            heading = widget.get("class") == "ctkCollapsibleButton"
            assert (f"## {text}" if heading else f"*{text}*") in REFERENCE, text


def test_every_key_is_in_the_reference() -> None:
    source = (ROOT / "SemiSAMPlus" / "SemiSAMPlusLib" / "shortcuts.py").read_text("utf-8")
    node = next(
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SHORTCUTS"
    )
    keys = ast.literal_eval(node)
    section = REFERENCE.partition("## Keyboard")[2]
    assert keys
    for key in keys:
        assert re.search(rf"{re.escape(key)}(?![\w])", section), key
    assert set(re.findall(r"Ctrl\+[\w+]+", section)) == set(keys)
