"""Proxies of Qt objects that answer as PythonQt's wrappers do.

Every class of the modules `qt`, `ctk` and every Qt widget class of `slicer` is a subclass of `QtProxy`, made on demand
from the contract: properties are data, methods are called, signals are connected, and any other name is refused.
"""

from __future__ import annotations

import enum
import sys
import weakref
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtNetwork, QtWidgets

from Testing.host import members, signals
from Testing.host.contract import ALIASES, WRAPPER_METHODS, NotInHost, contract
from Testing.host.conversion import EnumInt, Wrapping, call, to_python, to_qt

QT_MODULES = (QtCore, QtGui, QtWidgets, QtNetwork)
# What these functions of Qt 6 return is nothing in the Qt 5 of Slicer.
VOID_IN_QT_5 = ("QOverrideCursorGuard",)
SCAFFOLDING = ("Testing.host.", "slicer", "importlib", "unittest", "typing", "inspect")


def asked_by_module_under_test() -> bool:
    """Whether the code that looked up an attribute is neither the host's nor Slicer's own.

    Slicer's own Python code asks `hasattr(widget, "title")` of any widget; that is no fault of the module.
    """
    frame = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if not name.startswith("Testing.host."):
            return not name.startswith(SCAFFOLDING)
        frame = frame.f_back
    return False


class QtProxyType(type):
    """Class of the proxy classes: looks up constants of enumerations on first use."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_") or not cls._host_name:
            raise AttributeError(name)
        full_name = cls._host_name
        if contract().knows(full_name) and contract().kind(full_name, name) != "constant":
            message = f"type object '{full_name}' has no attribute '{name}'"
            raise contract().refuse(message) if asked_by_module_under_test() else AttributeError(message)
        value = getattr(cls._host_pyside, name, None)
        if isinstance(value, enum.Enum | int):
            constant = EnumInt(value) if isinstance(value, enum.Enum) else value
            setattr(cls, name, constant)
            return constant
        raise contract().lacks(f"The host does not emulate {full_name}.{name}")


class QtProxy(metaclass=QtProxyType):
    """What all proxies share; holds the object of PySide that does the work."""

    __slots__ = ("_host_object", "__weakref__")
    _host_pyside: Any = object
    _host_name: str = ""
    _host_from_python: bool = False

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        if keywords:
            raise contract().refuse(f"{self._host_name} is made with keyword arguments {sorted(keywords)}")
        native = construct(members.native_class(type(self)), arguments)
        object.__setattr__(self, "_host_object", native)
        remember(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_host_object":
            raise AttributeError(name)
        native = native_of(self)
        if isinstance(native, QtCore.QObject):
            if name in ALIASES and members.kind(type(self), ALIASES[name]) is not None:
                return getattr(self, ALIASES[name])
            if name in members.dynamic_properties(native):
                return to_python(native.property(name))
        if members.kind(type(self), name) is not None:
            # The descriptor of this name found nothing behind it and has recorded that.
            raise NotInHost(f"The host does not emulate {name} of {type(self).__name__}")
        message = f"{type(self).__name__} has no attribute named '{name}'"
        if self._host_from_python or not asked_by_module_under_test():
            raise AttributeError(message)
        raise contract().refuse(message)

    def __setattr__(self, name: str, value: Any) -> None:
        kind = members.kind(type(self), name)
        if name == "name" and kind is None and issubclass(type(self)._host_pyside, QtCore.QObject):
            name, kind = "objectName", "property"
        if kind == "property" or (self._host_from_python and kind is None):
            object.__setattr__(self, name, value)
            return
        native = native_of(self)
        if isinstance(native, QtCore.QObject) and name in members.dynamic_properties(native):
            native.setProperty(name, to_qt(value))
            return
        if kind is not None:
            raise contract().refuse(f"'{name}' of {type(self).__name__} is a {kind} and cannot be set")
        raise contract().refuse(
            f"Attribute '{name}' does not exist on {type(self).__name__} and creating new attributes on C++ objects "
            "is not allowed"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QtProxy):
            return NotImplemented
        mine, theirs = self._host_object, other._host_object
        if isinstance(mine, QtCore.QObject) or isinstance(theirs, QtCore.QObject):
            return mine is theirs
        return bool(mine == theirs)

    def __hash__(self) -> int:
        native = self._host_object
        return id(native) if isinstance(native, QtCore.QObject) else hash(type(native))

    def __bool__(self) -> bool:
        return shiboken6.isValid(self._host_object)

    def __repr__(self) -> str:
        native = self._host_object
        if not shiboken6.isValid(native):
            return f"{type(self).__name__} (destroyed)"
        if isinstance(native, QtCore.QObject):
            return f"{type(self).__name__} ({self._host_name}, name='{native.objectName()}')"
        # An index may point into a model that is gone: PySide would look there for its text.
        return f"{type(self).__name__} ({'C++ object' if isinstance(native, QtCore.QModelIndex) else repr(native)})"

    def __add__(self, other: Any) -> Any:
        return to_python(self._host_object + to_qt(other))

    def __sub__(self, other: Any) -> Any:
        return to_python(self._host_object - to_qt(other))

    def __lt__(self, other: Any) -> bool:
        return bool(self._host_object < to_qt(other))

    # The methods that PythonQt adds to every wrapper.
    def className(self) -> str:
        """Name of the C++ class."""
        return self._host_name.split(".")[1]

    def inherits(self, class_name: str) -> bool:
        """Whether the object is of this C++ class or of one derived from it."""
        return any(base.__name__ == class_name for base in type(self).__mro__)

    def delete(self) -> None:
        """Deletes the C++ object at once."""
        shiboken6.delete(self._host_object)

    def help(self) -> str:
        """Names and kinds of the members."""
        return "\n".join(f"{name}: {kind}" for name, kind in sorted(members.kinds(type(self)).items()))

    def connect(self, text: str, *target: Any) -> bool:
        """Connects a slot to the signal with this signature; False, with a message, if there is none."""
        return signals.connect_by_string(native_of(self), type(self).__name__, text, *target)

    def disconnect(self, *arguments: Any) -> bool:
        """Disconnects a slot that was connected by `connect`."""
        return signals.disconnect_by_string(native_of(self), *arguments)


OWN_METHODS = frozenset((*WRAPPER_METHODS, "connect", "disconnect"))
_proxies: weakref.WeakValueDictionary[int, QtProxy] = weakref.WeakValueDictionary()
_classes: dict[str, type[QtProxy]] = {}
_widget_classes: dict[str, type] = {}


def construct(native_class: type, arguments: tuple[Any, ...]) -> Any:
    """A new object of a PySide class made with arguments from Python."""
    made: list[Any] = []
    call(lambda *native: made.append(native_class(*native)), native_class.__init__, arguments)
    return made[0]


def native_of(proxy: QtProxy) -> Any:
    """The PySide object behind a proxy; ValueError if C++ has deleted it, as PythonQt says."""
    native = proxy._host_object
    if not shiboken6.isValid(native):
        raise ValueError(f"Trying to use a destroyed {type(proxy).__name__} object")
    return native


def remember(proxy: QtProxy) -> None:
    """Makes sure that the same object is always seen through the same proxy."""
    native = proxy._host_object
    if isinstance(native, QtCore.QObject):
        _proxies[shiboken6.getCppPointer(native)[0]] = proxy
        if proxy._host_from_python:
            # A Python subclass has state of its own, which must live as long as the C++ object does.
            native._host_proxy = proxy


def wrap(native: Any) -> Any:
    """The proxy of an object of PySide; anything else is returned as it is."""
    if not isinstance(native, shiboken6.Object):
        return native
    if type(native).__name__ in VOID_IN_QT_5:
        return None
    if isinstance(native, QtCore.QObject):
        if not shiboken6.isValid(native):
            return None
        known = _proxies.get(shiboken6.getCppPointer(native)[0])
        if known is not None and known._host_object is native:
            return known
    proxy_class = class_of(type(native))
    proxy = proxy_class.__new__(proxy_class)
    object.__setattr__(proxy, "_host_object", native)
    remember(proxy)
    return proxy


def class_of(native_class: type) -> type[QtProxy]:
    """The proxy class for objects of a PySide class: that of its nearest base that Slicer has by name."""
    found = named_base(native_class.__mro__)
    if found is None:
        raise contract().lacks(f"The host cannot hand over a {native_class.__name__}")
    return proxy_class(found)


def named_base(candidates: tuple[type, ...], other_than: str = "") -> str | None:
    """Name in Slicer of the first of some classes that has one."""
    for candidate in candidates:
        full_name = vars(candidate).get("SLICER_NAME", "qt." + candidate.__name__)
        module, _, name = full_name.partition(".")
        if full_name != other_than and (name in contract().names[module] or contract().knows(full_name)):
            return str(full_name)
    return None


def register_widget_class(full_name: str, native_class: type) -> None:
    """Makes a widget of the host known by its name in Slicer, like "ctk.ctkSliderWidget"."""
    _widget_classes[full_name] = native_class
    native_class.SLICER_NAME = full_name  # type: ignore[attr-defined]


def pyside_class(full_name: str) -> type | None:
    """The PySide class that does the work of a class of Slicer."""
    if full_name in _widget_classes:
        return _widget_classes[full_name]
    for module in QT_MODULES:
        found = getattr(module, full_name.partition(".")[2], None)
        if isinstance(found, type) and full_name.startswith("qt."):
            return found
    return None


def proxy_class(full_name: str) -> type[QtProxy]:
    """The proxy class of a class of Slicer, like "qt.QLabel"; made on first use."""
    if full_name not in _classes:
        native_class = pyside_class(full_name)
        if native_class is None:
            raise contract().lacks(f"The host does not emulate {full_name}")
        parent = named_base(native_class.__mro__[1:], other_than=full_name)
        base = QtProxy if parent is None else proxy_class(parent)
        _classes[full_name] = members.make_class(full_name, native_class, base, QtProxyType)
    return _classes[full_name]


Wrapping.wrap = staticmethod(wrap)
Wrapping.native_of = staticmethod(native_of)
Wrapping.proxy_type = QtProxy
members.OWN_METHODS = OWN_METHODS
