"""Makes `slicer_api.json`: the part of a real Slicer's API that the host offers.

The whole API was read by introspection inside a running Slicer (a file of 440 kB that is not part of this repository).
This script keeps what the test host needs, in a compact form: names of one kind in one string. Run it as

    python -m Testing.host.make_api ../shared/reference/pythonqt_api.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

API_FILE = Path(__file__).with_name("slicer_api.json")
# The languages and countries of QLocale alone would be a tenth of the file; slicer.util itself needs two of them.
LEFT_OUT_ENUMERATIONS = {"Language", "Country", "Script"}
KEPT_CONSTANTS = {"C", "English", "UnitedStates"}


def kinds_of_class(members: dict[str, Any]) -> dict[str, Any]:
    """The compact form of one class: properties with their types, methods, signals and constants."""
    value_types: dict[str, list[str]] = {}
    constants = []
    for name, type_name in members.get("properties", {}).items():
        if name[0].isupper() and type_name not in ("int", "bool", "str", "float", "tuple"):
            if type_name not in LEFT_OUT_ENUMERATIONS or name in KEPT_CONSTANTS:
                constants.append(name)
        else:
            value_types.setdefault(type_name, []).append(name)
    compact: dict[str, Any] = {
        "properties": {type_name: " ".join(names) for type_name, names in value_types.items()},
        "methods": " ".join(members.get("methods", ())),
        "signals": " ".join(members.get("signals", ())),
        "constants": " ".join(constants),
    }
    if "base" in members:
        compact["base"] = members["base"]
    return {key: value for key, value in compact.items() if value}


def kinds_of_instance(members: dict[str, str]) -> dict[str, Any]:
    """The compact form of one object that was read as it runs (`slicer.app`), where each name has one kind."""
    as_class: dict[str, Any] = {"properties": {}, "methods": [], "signals": []}
    for name, kind in members.items():
        if kind in ("method", "builtin_function_or_method"):
            as_class["methods"].append(name)
        elif kind == "signal":
            as_class["signals"].append(name)
        elif kind not in ("type", "enum_1", "ColorSpec", "ReturnCode"):
            as_class["properties"][name] = kind
    return kinds_of_class(as_class)


def extract(whole: dict[str, Any], offered: set[str]) -> dict[str, Any]:
    """The part of the whole API that covers the classes in `offered` ("slicer.qMRMLWidget") and all of Qt."""
    classes = {
        name: kinds_of_class(members)
        for name, members in whole["classes"].items()
        if name.startswith("qt.") or name in offered
    }
    classes["slicer.qSlicerApplication"] = kinds_of_instance(whole["slicer.app"])
    python = {name: whole["python"][name] for name in whole["python"] if name != "slicer.util"}
    python["slicer.util"] = sorted(whole["python"]["slicer.util"])
    for name, content in python.items():
        if isinstance(content, dict):
            python[name] = {key: sorted(value) if isinstance(value, dict) else value for key, value in content.items()}
    return {
        "about": "Names and kinds in the Python API of a 3D Slicer 5.13 (Qt 5.15), read inside it; see make_api.py",
        "names": {
            "qt": " ".join(whole["names"]["qt"]),
            "ctk": " ".join(whole["names"]["ctk"]),
            "slicer": " ".join(whole["slicer"]),
        },
        "Qt": " ".join(sorted(whole["qt.Qt"])),
        "classes": classes,
        "python": python,
    }


def main(arguments: list[str]) -> int:
    """Reads the whole API from the file named in the arguments and writes the extract beside this script."""
    from Testing.host.widgets import WIDGET_CLASSES

    if len(arguments) != 1:
        print(__doc__)
        return 2
    whole = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    content = extract(whole, {*WIDGET_CLASSES, "slicer.qSlicerLayoutManager"})
    API_FILE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
