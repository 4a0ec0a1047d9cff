"""Signals as PythonQt has them: connected by string or by name, with slots that never raise to the caller."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from Testing.host import failures
from Testing.host.contract import contract
from Testing.host.conversion import Wrapping, to_python, to_qt


class Connection:
    """One connected slot: calls the function with as many of the signal's arguments as it takes."""

    def __init__(self, signature: str, function: Callable[..., Any]) -> None:
        self.signature = signature
        self.function = function
        self._accepted = accepted_arguments(function)

    def __call__(self, *arguments: Any) -> None:
        taken = arguments if self._accepted is None else arguments[: self._accepted]
        failures.guarded(f"slot of {self.signature}", self.function, *map(to_python, taken))


# Connections by the address of the sender: needed to disconnect, because Qt knows only the Connection objects.
_connections: dict[int, list[Connection]] = {}


def accepted_arguments(function: Callable[..., Any]) -> int | None:
    """How many positional arguments PythonQt would pass; None means all of them.

    PythonQt counts the arguments of plain functions and methods only; any other callable gets everything.
    """
    if not inspect.isfunction(function) and not inspect.ismethod(function):
        return None
    code = function.__code__ if inspect.isfunction(function) else getattr(function.__func__, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARARGS:
        return None
    return int(code.co_argcount) - (1 if inspect.ismethod(function) else 0)


def signal_signatures(native: QtCore.QObject) -> list[str]:
    """Signatures ("clicked(bool)") of all signals of an object, the full form of each before its shorter ones."""
    meta = native.metaObject()
    methods = [meta.method(index) for index in range(meta.methodCount())]
    found = [m for m in methods if m.methodType() == QtCore.QMetaMethod.MethodType.Signal]
    return [bytes(m.methodSignature().data()).decode() for m in found]


def real_signature(native: QtCore.QObject, text: str) -> str | None:
    """The signature that Qt knows for a signal given as a string; None if there is no such signal.

    A signal of the host's own widgets carries scene objects, which Qt calls PyObject; Slicer calls them by class.
    """
    wanted = normalized(text)
    signatures = signal_signatures(native)
    if wanted in signatures:
        return wanted
    declared = getattr(type(native), "SIGNALS", {})
    return declared.get(wanted)


def normalized(text: str) -> str:
    """A signature without the spaces, const and & that Qt does not compare."""
    inside = text.replace("const ", "").replace("&", "")
    return "".join(inside.split())


def connect(sender: QtCore.QObject, signature: str, function: Callable[..., Any]) -> bool:
    """Connects a slot to the signal with this exact signature."""
    connection = Connection(signature, function)
    address = shiboken6.getCppPointer(sender)[0]
    if address not in _connections:
        _connections[address] = []
        sender.destroyed.connect(lambda *_: _connections.pop(address, None))
    _connections[address].append(connection)
    return bool(QtCore.QObject.connect(sender, QtCore.SIGNAL(signature), connection))


def disconnect(sender: QtCore.QObject, signature: str, function: Callable[..., Any] | None) -> bool:
    """Disconnects one slot, or all slots of the signal if no function is given; False if there was none."""
    connections = _connections.get(shiboken6.getCppPointer(sender)[0], [])
    found = [c for c in connections if c.signature == signature and (function is None or c.function == function)]
    for connection in found:
        connections.remove(connection)
        QtCore.QObject.disconnect(sender, QtCore.SIGNAL(signature), connection)
    return bool(found)


def slot_of(receiver: Any, slot: str) -> Callable[..., Any]:
    """The method named by a slot string ("close()") of a receiver."""
    function: Callable[..., Any] = getattr(receiver, slot.split("(")[0].strip().lstrip("0123456789"))
    return function


def connect_by_string(sender: QtCore.QObject, class_name: str, text: str, *target: Any) -> bool:
    """`sender.connect("clicked(bool)", function)` or `sender.connect("clicked()", receiver, "close()")`.

    As in PythonQt an unknown signal is not an exception: a message is printed and False returned.
    """
    signature = real_signature(sender, text)
    if signature is None:
        message = f"QObject::connect: signal {text} does not exist on {class_name}"
        contract().violations.append(message)
        print(message)
        return False
    function = target[0] if len(target) == 1 else slot_of(target[0], target[1])
    return connect(sender, signature, function)


def disconnect_by_string(sender: QtCore.QObject, text: str | None = None, *target: Any) -> bool:
    """Counterpart of `connect_by_string`; without any argument all slots of the sender are disconnected."""
    if text is None:
        known = _connections.get(shiboken6.getCppPointer(sender)[0], [])
        return any([disconnect(sender, signature, None) for signature in {c.signature for c in known}])
    signature = real_signature(sender, text)
    if signature is None:
        return False
    function = None if not target else target[0] if len(target) == 1 else slot_of(target[0], target[1])
    return disconnect(sender, signature, function)


class BoundSignal:
    """A signal of one object: `button.clicked`."""

    def __init__(self, proxy: Any, name: str) -> None:
        self._proxy = proxy
        self._name = name

    def _signature(self) -> str:
        native = Wrapping.native_of(self._proxy)
        for signature in signal_signatures(native):
            if signature.split("(")[0] == self._name:
                return signature
        raise contract().lacks(f"The host does not emulate the signal {self._name} of {type(self._proxy).__name__}")

    def connect(self, *target: Any) -> bool:
        """Connects a slot: a callable, or a receiver and the text of its slot."""
        function = target[0] if len(target) == 1 else slot_of(target[0], target[1])
        return connect(Wrapping.native_of(self._proxy), self._signature(), function)

    def disconnect(self, *target: Any) -> bool:
        """Disconnects one slot, or all without an argument."""
        function = None if not target else target[0] if len(target) == 1 else slot_of(target[0], target[1])
        return disconnect(Wrapping.native_of(self._proxy), self._signature(), function)

    def emit(self, *arguments: Any) -> None:
        """Emits the signal, as calling it does."""
        getattr(Wrapping.native_of(self._proxy), self._name).emit(*map(to_qt, arguments))

    __call__ = emit


class SignalDescriptor:
    """Makes a name of a proxy class a signal."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, proxy: Any, owner: type) -> Any:
        return self if proxy is None else BoundSignal(proxy, self.name)

    def __set__(self, proxy: Any, value: Any) -> None:
        raise contract().refuse(f"Signal '{self.name}' of {type(proxy).__name__} is not writable")
