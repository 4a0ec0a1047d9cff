"""Which widget can show a parameter of which type, as Slicer's connectors have it.

Slicer looks at the exact class of the widget: a ctkCheckBox, for example, cannot show a bool.
"""

from __future__ import annotations

import enum
import pathlib
import typing
from collections.abc import Callable
from typing import Any

import slicer

from Testing.host.parameter_node.annotations import (
    Choice,
    Decimals,
    Maximum,
    Minimum,
    SingleStep,
    WithinRange,
    first,
    split,
)

PROPERTY = "SlicerParameterName"


class Connector:
    """Ties one widget to one parameter: a signal, a way to read and a way to write."""

    def __init__(self, widget: Any, signal: str, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self.widget, self._signal, self.read, self.write = widget, signal, read, write
        self._slot: Callable[..., None] | None = None

    def connect(self, changed: Callable[[], None]) -> None:
        """Calls the function when the user changes the widget."""
        self._slot = lambda: changed()
        getattr(self.widget, self._signal).connect(self._slot)

    def disconnect(self) -> None:
        """Counterpart of `connect`."""
        getattr(self.widget, self._signal).disconnect(self._slot)


def widgets_by_parameter(gui: Any) -> dict[str, Any]:
    """Widgets of a `childWidgetVariables` object or of a parent widget that name a parameter."""
    if getattr(gui, "isWidgetType", lambda: False)():
        import qt

        widgets = gui.findChildren(qt.QWidget)
    else:
        widgets = [member for member in vars(gui).values() if hasattr(member, "property")]
    found = {widget.property(PROPERTY): widget for widget in widgets}
    return {name: widget for name, widget in found.items() if name}


def findChildWidgetForParameter(widget: Any, parameter: str) -> Any:
    """The child of a widget that shows a parameter; None if there is none."""
    return widgets_by_parameter(widget).get(parameter)


def connector_for(widget: Any, data_type: Any) -> Connector:
    """The connector for a widget and a type; RuntimeError if Slicer has none."""
    kind, annotations = split(data_type)
    name = type(widget).__name__
    if kind is bool and name in ("QCheckBox", "QPushButton"):
        if not widget.checkable:
            widget.checkable = True
        signal = "stateChanged" if name == "QCheckBox" else "toggled"
        return _property_connector(widget, signal, "checked", bool)
    if kind is int and name in ("QSlider", "QSpinBox"):
        _set_limits(widget, annotations, -(2**31), 2**31 - 1, needs_both=name == "QSlider")
        return _property_connector(widget, "valueChanged", "value", int)
    if kind is float and name in ("QDoubleSpinBox", "ctkSliderWidget"):
        _set_limits(widget, annotations, float("-inf"), float("inf"), needs_both=name == "ctkSliderWidget")
        return _property_connector(widget, "valueChanged", "value", float)
    if name == "QComboBox" and kind in (int, float, str, bool):
        choice = first(annotations, Choice)
        if choice is None:
            raise RuntimeError("A QComboBox needs the Choice annotation")
        return _choice_connector(widget, list(choice.choices), [str(value) for value in choice.choices])
    if name == "QComboBox" and isinstance(kind, type) and issubclass(kind, enum.Enum):
        label = getattr(kind, "label", lambda member: member.name)
        return _choice_connector(widget, list(kind), [label(member) for member in kind])
    if kind is str and name == "QLineEdit":
        return _property_connector(widget, "textChanged", "text", str)
    if kind is str and name == "QTextEdit":
        return Connector(widget, "textChanged", widget.toPlainText, widget.setPlainText)
    if isinstance(kind, type) and issubclass(kind, pathlib.PurePath):
        if name == "ctkPathLineEdit":
            return _property_connector(widget, "currentPathChanged", "currentPath", kind, str)
        if name == "ctkDirectoryButton":
            return _property_connector(widget, "directoryChanged", "directory", kind, str)
    if name == "qMRMLNodeComboBox" and _node_types(kind):
        widget.nodeTypes = _node_types(kind)
        return Connector(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{data_type}' to widget type '{type(widget)}'")


def _property_connector(
    widget: Any, signal: str, name: str, decode: Callable[[Any], Any], encode: Callable[[Any], Any] | None = None
) -> Connector:
    def write(value: Any) -> None:
        setattr(widget, name, encode(value) if encode is not None else value)

    return Connector(widget, signal, lambda: decode(getattr(widget, name)), write)


def _choice_connector(widget: Any, values: list[Any], labels: list[str]) -> Connector:
    widget.clear()
    for label in labels:
        widget.addItem(label)

    def write(value: Any) -> None:
        widget.currentIndex = values.index(value)

    return Connector(widget, "currentIndexChanged", lambda: values[widget.currentIndex], write)


def _set_limits(widget: Any, annotations: list[Any], lowest: Any, highest: Any, needs_both: bool) -> None:
    decimals, step = first(annotations, Decimals), first(annotations, SingleStep)
    if decimals is not None:
        widget.decimals = decimals.value
    if step is not None:
        widget.singleStep = step.value
    within, low, high = (first(annotations, kind) for kind in (WithinRange, Minimum, Maximum))
    if needs_both and within is None and (low is None or high is None):
        raise RuntimeError("A slider needs limits on both sides: WithinRange, or Minimum and Maximum")
    widget.minimum = within.minimum if within is not None else low.minimum if low is not None else lowest
    widget.maximum = within.maximum if within is not None else high.maximum if high is not None else highest


def _node_types(kind: Any) -> list[str]:
    kinds = [part for part in typing.get_args(kind) if part is not type(None)] or [kind]
    nodes = [part for part in kinds if isinstance(part, type) and issubclass(part, slicer.vtkMRMLNode)]
    return [part.__name__ for part in nodes] if len(nodes) == len(kinds) else []
