"""`@parameterNodeWrapper`: a class whose annotated attributes live in a parameter node."""

from __future__ import annotations

import typing
import weakref
from collections.abc import Callable
from typing import Any

import slicer

from Testing.host import failures
from Testing.host.parameter_node import connectors
from Testing.host.parameter_node.annotations import Default, first, split
from Testing.host.parameter_node.codecs import Codec, codec_for


class Parameter:
    """One parameter of a wrapper class."""

    def __init__(self, name: str, data_type: Any, default: Default | None) -> None:
        self.name, self.data_type = name, data_type
        self.codec: Codec = codec_for(data_type)
        annotated = first(split(data_type)[1], Default)
        self.default: Default = default or annotated or Default(self.codec.default())


class CachedValue:
    """The value of a parameter in one node, read once and again only when the node was modified."""

    def __init__(self, parameter: Parameter, node: Any, prefix: str) -> None:
        self._codec, self._node, self._name = parameter.codec, node, prefix + parameter.name
        if not self._codec.present(node, self._name):
            self._codec.write(node, self._name, parameter.default.value)
        self._value = self._codec.take(node, self._name)
        self._writing = False
        # The observer must not keep this object alive: the wrapper may be dropped long before its node. It leaves with
        # the first event after that, and not when the garbage is collected, which may be in the middle of an event.
        myself, tags = weakref.ref(self), list[int]()

        def refresh(caller: Any, event: str) -> None:
            value = myself()
            if value is None:
                caller.RemoveObserver(tags.pop())
            elif not value._writing:
                failures.guarded(f"reading {value._name}", value._read)

        tags.append(node.AddObserver("ModifiedEvent", refresh))

    def _read(self) -> None:
        if self._codec.present(self._node, self._name):
            self._value = self._codec.take(self._node, self._name)

    def read(self) -> Any:
        """The value."""
        return self._value

    def write(self, value: Any) -> None:
        """Sets the value; observers of the node already see the new one."""
        self._writing = True
        try:
            with slicer.util.NodeModify(self._node):
                self._codec.write(self._node, self._name, value)
                self._value = self._codec.take(self._node, self._name)
        finally:
            self._writing = False


class WrapperBase:
    """The methods that every wrapper class gets."""

    allParameters: dict[str, Parameter] = {}
    _is_parameter_node_wrapper = True

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._connections: dict[int, dict[str, connectors.Connector]] = {}
        self._next_tag = 0
        self._updating = False
        self._values = {
            name: CachedValue(parameter, parameterNode, prefix or "") for name, parameter in self.allParameters.items()
        }

    def _known(self, name: str) -> str:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return name

    def default(self, name: str) -> Default:
        """The default of a parameter, whose `value` is the value."""
        return self.allParameters[self._known(name)].default

    def isCached(self, name: str) -> bool:
        """Whether reading the parameter is cheap; so it is for all types that the host keeps."""
        return self._known(name) in self._values

    def getValue(self, name: str) -> Any:
        """A parameter by its name."""
        return self._values[self._known(name)].read()

    def setValue(self, name: str, value: Any) -> None:
        """Sets a parameter by its name."""
        self._values[self._known(name)].write(value)

    def connectGui(self, gui: Any) -> int:
        """Ties all widgets that carry `SlicerParameterName` to their parameters."""
        return self.connectParametersToGui(connectors.widgets_by_parameter(gui))

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Ties parameters to widgets; the result is for `disconnectGui`."""
        for name in mapping:
            self._known(name)
        made = {
            name: connectors.connector_for(widget, self.allParameters[name].data_type)
            for name, widget in mapping.items()
        }
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._connections[tag] = made
        for name, connector in made.items():
            connector.write(self.getValue(name))
            connector.connect(self._from_widget(name, connector))
        self.AddObserver("ModifiedEvent", lambda *_: self._to_widgets())
        return tag

    def disconnectGui(self, tag: int) -> None:
        """Counterpart of `connectGui`; an unknown tag is no fault."""
        for connector in self._connections.pop(tag, {}).values():
            connector.disconnect()

    def _from_widget(self, name: str, connector: connectors.Connector) -> Callable[..., None]:
        def changed() -> None:
            if not self._updating:
                with slicer.util.NodeModify(self):
                    self.setValue(name, connector.read())

        return changed

    def _to_widgets(self) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                for connection in list(self._connections.values()):
                    for name, connector in connection.items():
                        connector.write(self.getValue(name))
        finally:
            self._updating = False

    # What `slicer.util.NodeModify` and observers need of a node.
    def StartModify(self) -> Any:
        """Holds back the node's events."""
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: Any) -> Any:
        """Counterpart of `StartModify`."""
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        """Observes the node."""
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def RemoveObserver(self, tag: int) -> None:
        """Counterpart of `AddObserver`."""
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        """Says that the node was modified."""
        self.parameterNode.Modified()


def isParameterNodeWrapper(classOrObj: Any) -> bool:
    """Whether a class or object was made by `parameterNodeWrapper`."""
    return bool(getattr(classOrObj, "_is_parameter_node_wrapper", False))


def parameterNodeWrapper(classtype: Any = None) -> Any:
    """Class decorator: each annotated attribute becomes a parameter."""
    return _process if classtype is None else _process(classtype)


def _parameter_property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def _process(classtype: Any) -> Any:
    parameters = {}
    for name, data_type in typing.get_type_hints(classtype, include_extras=True).items():
        default = Default(getattr(classtype, name)) if hasattr(classtype, name) else None
        parameters[name] = Parameter(name, data_type, default)
        setattr(classtype, name, _parameter_property(name))
    for name, member in vars(WrapperBase).items():
        if name in ("__module__", "__doc__", "__dict__", "__weakref__", "__annotations__"):
            continue
        if name != "__init__" and hasattr(classtype, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(classtype, name, member)
    classtype.allParameters = parameters
    classtype.dataType = staticmethod(lambda name: parameters[name].data_type)
    return classtype


__all__ = ["isParameterNodeWrapper", "parameterNodeWrapper"]
