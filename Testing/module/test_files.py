"""What Slicer's build and Slicer's conventions want of the files."""

from __future__ import annotations

import ast
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "SemiSAMPlus"


def listed(name: str) -> set[str]:
    text = (MODULE / "CMakeLists.txt").read_text()
    found = re.search(rf"set\({name}\n(.*?)\)", text, re.S)
    assert found
    return {line.strip().replace("${MODULE_NAME}", "SemiSAMPlus") for line in found[1].splitlines() if line.strip()}


def test_cmake_lists_exactly_the_python_files_on_the_disk() -> None:
    there = {"SemiSAMPlus.py"}
    for folder in ("SemiSAMPlusLib", "semisam"):
        there |= {path.relative_to(MODULE).as_posix() for path in (MODULE / folder).rglob("*.py")}
    assert listed("MODULE_PYTHON_SCRIPTS") == there


def test_cmake_lists_exactly_the_resources_on_the_disk() -> None:
    there = {path.relative_to(MODULE).as_posix() for path in (MODULE / "Resources").rglob("*") if path.is_file()}
    for path in (MODULE / "semisam").rglob("*"):
        if path.suffix in (".md", ".html", ".json"):
            there.add(path.relative_to(MODULE).as_posix())
    assert listed("MODULE_PYTHON_RESOURCES") == there


def test_the_extension_says_what_the_index_wants() -> None:
    text = (ROOT / "CMakeLists.txt").read_text()
    assert "project(SemiSAMPlus)" in text and "## NEXT_MODULE" in text
    for name in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS"):
        assert re.search(rf'^set\(EXTENSION_{name} "[^"]+"\)$', text, re.M), name
    entry = json.loads((ROOT / "SemiSAMPlus.json").read_text())
    assert set(entry) == {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "scm_revision",
        "scm_url",
        "tier",
    }


def test_every_widget_that_the_code_names_is_in_the_panel_and_the_other_way_round() -> None:
    tree = ElementTree.parse(MODULE / "Resources" / "UI" / "SemiSAMPlus.ui")
    there = {element.get("name") for element in tree.iter("widget")}
    source = "\n".join(path.read_text() for path in (MODULE / "SemiSAMPlusLib").rglob("*.py"))
    named = set(re.findall(r"\b(?:self\._)?ui\.(\w+)", source))
    assert named <= there, named - there
    plain = ("Label", "Text", "Section", "Content", "SemiSAMPlus")
    unused = {name for name in there - named if name and not name.endswith(plain)}
    bound = {
        element.get("name")
        for element in tree.iter("widget")
        if any(item.get("name") == "SlicerParameterName" for item in element.findall("property"))
    }
    assert unused <= bound, unused - bound


def test_nothing_but_the_standard_library_and_slicer_is_imported_at_file_scope() -> None:
    allowed = {"vtk", "slicer", "qt", "ctk", "SemiSAMPlusLib"}
    import sys

    for path in [MODULE / "SemiSAMPlus.py", *(MODULE / "SemiSAMPlusLib").rglob("*.py")]:
        for node in ast.parse(path.read_text()).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{path}: {name}"


def test_texts_for_the_user_are_never_f_strings() -> None:
    for path in [MODULE / "SemiSAMPlus.py", *(MODULE / "SemiSAMPlusLib").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}"
