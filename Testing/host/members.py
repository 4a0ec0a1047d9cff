"""Members of the proxy classes: which names a class has, of which kind, and what stands behind each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import shiboken6
from PySide6 import QtCore

from Testing.host import failures
from Testing.host.contract import WRAPPER_METHODS, contract
from Testing.host.conversion import (
    Wrapping,
    call,
    default_return,
    return_as_annotated,
    to_python,
    to_qt,
)
from Testing.host.signals import SignalDescriptor

OWN_METHODS: frozenset[str] = frozenset()

# Static methods whose C++ form has output arguments: PythonQt returns the first value only, PySide all of them.
FIRST_OF_SEVERAL = {
    "getOpenFileName",
    "getOpenFileNames",
    "getSaveFileName",
    "getText",
    "getInt",
    "getDouble",
    "getItem",
    "getMultiLineText",
}
TEXT_TYPES = ("QString", "str")
_kinds: dict[type, dict[str, str]] = {}
_native_classes: dict[type, type] = {}


@cache
def meta_properties(native_class: type) -> frozenset[str]:
    """Names of the properties that Qt's meta object lists for a class."""
    meta = getattr(native_class, "staticMetaObject", None)
    return frozenset(meta.property(i).name() for i in range(meta.propertyCount())) if meta is not None else frozenset()


def kinds(proxy_class: Any) -> dict[str, str]:
    """Kind of each member of a proxy class: what Slicer lists, or what Qt's meta object says if Slicer lists nothing.

    A few classes of Qt are known by name only, because they could not be made without arguments when the API was read.
    """
    while proxy_class._host_from_python:
        proxy_class = proxy_class.__bases__[0]
    if proxy_class not in _kinds:
        full_name, native_class = proxy_class._host_name, proxy_class._host_pyside
        if not full_name:
            _kinds[proxy_class] = {name: "method" for name in OWN_METHODS}
        elif contract().knows(full_name):
            _kinds[proxy_class] = contract().members(full_name)
        else:
            properties = meta_properties(native_class)
            found = {name: "method" for name in (OWN_METHODS if properties else WRAPPER_METHODS)}
            for name in dir(native_class):
                # Names in small letters with underscores are the host's own, unknown to Slicer.
                if "_" not in name:
                    member = getattr(native_class, name)
                    if isinstance(member, QtCore.Signal):
                        found[name] = "signal"
                    elif not isinstance(member, type):
                        found[name] = "property" if name in properties else "method"
            found.update({name: "property" for name in properties})
            _kinds[proxy_class] = found
    return _kinds[proxy_class]


def kind(proxy_class: Any, name: str) -> str | None:
    """Kind of one member; None if there is no such member."""
    return kinds(proxy_class).get(name)


def dynamic_properties(native: QtCore.QObject) -> set[str]:
    """Names of the properties that were added to one object, for example by a .ui file."""
    return {bytes(name.data()).decode() for name in native.dynamicPropertyNames()}


class PropertyDescriptor:
    """Makes a name of a proxy class a property: read and written without parentheses."""

    def __init__(self, name: str, native_class: type) -> None:
        self.name = name
        self._in_meta_object = name in meta_properties(native_class)

    def __get__(self, proxy: Any, owner: type) -> Any:
        if proxy is None:
            return self
        native = Wrapping.native_of(proxy)
        if self._in_meta_object:
            return to_python(native.property(self.name))
        getter = getattr(native, self.name, None)
        if getter is None:
            raise contract().lacks(f"The host does not emulate the property {self.name} of {owner.__name__}")
        return to_python(getter() if callable(getter) else getter)

    def __set__(self, proxy: Any, value: Any) -> None:
        native = Wrapping.native_of(proxy)
        class_name = type(proxy).__name__
        if not self._in_meta_object:
            setter = getattr(native, "set" + self.name[0].upper() + self.name[1:], None)
            if setter is None:
                raise contract().lacks(f"The host cannot set the property {self.name} of {class_name}")
            call(setter, setter, (value,))
            return
        meta = native.metaObject()
        qt_property = meta.property(meta.indexOfProperty(self.name))
        if not qt_property.isWritable():
            raise contract().refuse(f"Property '{self.name}' of class '{class_name}' is not writable")
        if not native.setProperty(self.name, self._converted(value, qt_property.typeName())):
            raise TypeError(
                f"Property '{self.name}' of type '{qt_property.typeName()}' does not accept an object of type "
                f"{type(value).__name__} ({value!r})"
            )

    def _converted(self, value: Any, type_name: str) -> Any:
        """The value as PythonQt would convert it: numbers freely, anything to text, but no text to a number."""
        if type_name in TEXT_TYPES:
            return str(value)
        if type_name in ("int", "double", "bool") and not isinstance(value, bool | int | float):
            raise TypeError(f"Property '{self.name}' of type '{type_name}' does not accept {value!r}")
        native = to_qt(value)
        if type_name == "int":
            return int(value)
        if type_name == "double":
            return float(value)
        return bool(value) if type_name == "bool" else native


class BoundMethod:
    """A method of one object, ready to be called; equal to itself looked up again, so that slots can be found."""

    def __init__(self, proxy: Any, name: str, native_class: type) -> None:
        self.__self__ = proxy
        self.__name__ = name
        self._native_class = native_class

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if keywords:
            raise contract().refuse(f"{self.__name__} is called with keyword arguments {sorted(keywords)}")
        native = Wrapping.native_of(self.__self__)
        function = native_function(self._native_class, self.__name__)
        if self.__self__._host_from_python:
            # The override in Python may be calling its base; Qt's own version must answer, not the override again.
            return call(lambda *native_arguments: function(native, *native_arguments), function, arguments)
        return call(getattr(native, function.__name__), function, arguments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundMethod) and (self.__self__, self.__name__) == (other.__self__, other.__name__)

    def __hash__(self) -> int:
        return hash((self.__self__, self.__name__))

    def __repr__(self) -> str:
        return f"<method {self.__name__} of {self.__self__!r}>"


def native_function(native_class: type, name: str) -> Any:
    """The function of a PySide class; Python words have an underscore there."""
    function = getattr(native_class, name, None) or getattr(native_class, name + "_", None)
    if function is None:
        raise contract().lacks(f"The host does not emulate the method {name} of {native_class.__name__}")
    return function


class MethodDescriptor:
    """Makes a name of a proxy class a method; on the class itself it is static or takes the object first."""

    def __init__(self, name: str, native_class: type) -> None:
        self.name = name
        self._native_class = native_class

    def __get__(self, proxy: Any, owner: type) -> Any:
        function = native_function(self._native_class, self.name)
        if proxy is not None and not self._is_static():
            return BoundMethod(proxy, self.name, self._native_class)

        def called_on_class(*arguments: Any) -> Any:
            result = call(function, function, arguments)
            if self.name in FIRST_OF_SEVERAL and isinstance(result, tuple):
                return result[0]
            return result

        called_on_class.__name__ = self.name
        return called_on_class

    def __set__(self, proxy: Any, value: Any) -> None:
        raise contract().refuse(f"'{self.name}' of {type(proxy).__name__} is a method and cannot be set")

    def _is_static(self) -> bool:
        return self.name in FIRST_OF_SEVERAL or (self.name, self._native_class.__name__) == ("singleShot", "QTimer")


class Masked:
    """Hides a name that an intermediate base class of Qt has and this class of Slicer does not list."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, proxy: Any, owner: type) -> Any:
        # Raised from here, the lookup goes on to __getattr__, which refuses and records.
        raise AttributeError(self.name)


def make_class(full_name: str, native_class: type, base: Any, metaclass: Any) -> Any:
    """The proxy class of a class of Slicer."""
    namespace: dict[str, Any] = {"__slots__": (), "_host_pyside": native_class, "_host_name": full_name}
    namespace["__init_subclass__"] = classmethod(_mark_python_subclass)
    made = metaclass(full_name.partition(".")[2], (base,), dict(namespace, _host_from_python=False))
    found = kinds(made)
    for name, kind_of_name in found.items():
        if name in OWN_METHODS or kind_of_name == "constant":
            continue
        if kind_of_name == "property":
            descriptor: Any = PropertyDescriptor(name, native_class)
        elif kind_of_name == "signal":
            descriptor = SignalDescriptor(name)
        else:
            descriptor = MethodDescriptor(name, native_class)
        setattr(made, name, descriptor)
    for name in OWN_METHODS - set(found):
        setattr(made, name, Masked(name))
    for ancestor in made.__mro__[1:]:
        for name in kinds(ancestor) if hasattr(ancestor, "_host_name") else ():
            if name not in found and name not in OWN_METHODS:
                setattr(made, name, Masked(name))
    return made


def _mark_python_subclass(cls: Any, **keywords: Any) -> None:
    """Classes that the code under test derives from Qt's are told apart from Qt's own."""
    if "_host_pyside" not in vars(cls):
        cls._host_from_python = True


def native_class(proxy_class: Any) -> type:
    """The PySide class to make for a proxy class; for one derived in Python it forwards Qt's virtual methods."""
    if not proxy_class._host_from_python:
        found: type = proxy_class._host_pyside
        return found
    if proxy_class not in _native_classes:
        parent = proxy_class._host_pyside
        namespace: dict[str, Any] = {}
        for owner in proxy_class.__mro__:
            if not getattr(owner, "_host_from_python", False):
                continue
            for name, member in vars(owner).items():
                if callable(member) and not name.startswith("__") and callable(getattr(parent, name, None)):
                    namespace.setdefault(name, forwarding(name, getattr(parent, name)))
        _native_classes[proxy_class] = type(parent)(proxy_class.__name__, (parent,), namespace)
    return _native_classes[proxy_class]


def forwarding(name: str, parent_function: Any) -> Callable[..., Any]:
    """A virtual method that calls its override in Python and never raises into Qt."""

    def forward(native: Any, *arguments: Any) -> Any:
        proxy = getattr(native, "_host_proxy", None)
        if proxy is None or not shiboken6.isValid(native):
            return parent_function(native, *arguments)
        try:
            return return_as_annotated(getattr(proxy, name)(*map(to_python, arguments)), parent_function)
        except Exception as exception:
            failures.swallow(f"{type(proxy).__name__}.{name}", exception)
            return default_return(parent_function)

    forward.__name__ = name
    return forward
