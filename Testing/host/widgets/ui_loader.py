"""Loads .ui files: class names become the host's widgets, names that Slicer lacks are violations."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from Testing.host import signals
from Testing.host.contract import contract

# What Qt Designer writes for layouts and items is no property of a class.
NOT_PROPERTIES = {
    "geometry",
    "spacing",
    "text",
    "icon",
    "toolTip",
    "flags",
    "background",
    "foreground",
    "textAlignment",
}


class UiLoader(QtUiTools.QUiLoader):
    """QUiLoader as Slicer has it: knows the widgets of CTK and Slicer by name."""

    def load(self, source: Any, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget | None:
        """The widget that the .ui file describes; connections between its parts are made."""
        root = ElementTree.fromstring(bytes(source.readAll().data()).decode("utf-8"))
        # Custom classes are told by name alone: with their declared base classes Qt would make plain widgets instead.
        connections = root.find("connections")
        wanted = list(connections) if connections is not None else []
        if connections is not None:
            root.remove(connections)
        self._check(root)
        content = QtCore.QBuffer()
        content.setData(ElementTree.tostring(root, encoding="utf-8"))
        content.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        widget = super().load(content, parent)
        if widget is not None:
            for connection in wanted:
                self._connect(widget, connection)
        return widget

    def createWidget(
        self, className: str, parent: QtWidgets.QWidget | None = None, name: str = ""
    ) -> QtWidgets.QWidget:
        """One widget of the file, called by Qt."""
        from Testing.host.widgets import WIDGET_CLASSES

        native_class = WIDGET_CLASSES.get(f"ctk.{className}") or WIDGET_CLASSES.get(f"slicer.{className}")
        if native_class is None:
            if not className.startswith("Q"):
                contract().violations.append(f".ui file: the host does not emulate {className}")
            made: QtWidgets.QWidget = super().createWidget(className, parent, name)
            return made
        widget: QtWidgets.QWidget = native_class(parent)
        widget.setObjectName(name)
        return widget

    def _check(self, root: ElementTree.Element) -> None:
        """Records classes and properties of the file that a real Slicer would not know."""
        for element in root.iter("widget"):
            class_name = element.get("class", "")
            module = "ctk" if class_name.startswith("ctk") else "qt" if class_name.startswith("Q") else "slicer"
            full_name = f"{module}.{class_name}"
            if class_name != "Line" and class_name not in contract().names[module]:
                contract().violations.append(f".ui file: Slicer has no class {class_name}")
            elif contract().knows(full_name):
                for entry in element.findall("property"):
                    name = entry.get("name", "")
                    kind = contract().kind(full_name, name)
                    if kind != "property" and entry.get("stdset") != "0" and name not in NOT_PROPERTIES:
                        contract().violations.append(f".ui file: {class_name} has no property {name}")

    def _connect(self, root: QtWidgets.QWidget, element: ElementTree.Element) -> None:
        """Makes one connection of the file."""
        text = {child.tag: child.text or "" for child in element}

        def find(name: str) -> Any:
            return root if root.objectName() == name else root.findChild(QtCore.QObject, name)

        sender, receiver = find(text["sender"]), find(text["receiver"])
        signature = signals.real_signature(sender, text["signal"]) if sender is not None else None
        slot = getattr(receiver, text["slot"].split("(")[0], None)
        if signature is None or slot is None:
            contract().violations.append(f".ui file: cannot connect {text['sender']}.{text['signal']}")
            return
        signals.connect(sender, signature, slot)


CLASSES = {"qt.QUiLoader": UiLoader}
