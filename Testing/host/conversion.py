"""Values on their way between the code under test and Qt.

To Python, as PythonQt hands them over: lists become tuples, enumerations become ints, Qt's own types become proxies.
To Qt: proxies become the objects behind them, ints become members of the enumeration that the method wants.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from PySide6 import QtCore

from Testing.host import failures


class EnumInt(int):
    """A constant of an enumeration: an int that remembers which constant it is.

    As in PythonQt `|` of two flags is an int again; it remembers of which enumeration, to find the right overload.
    """

    member: enum.Enum

    def __new__(cls, member: enum.Enum) -> EnumInt:
        value = super().__new__(cls, member.value)
        value.member = member
        return value

    def __or__(self, other: Any) -> Any:
        if (
            isinstance(other, EnumInt)
            and isinstance(self.member, enum.Flag)
            and type(self.member) is type(other.member)
        ):
            return EnumInt(self.member | other.member)
        return int(self) | int(other)


class Wrapping:
    """The two functions of `wrapping.py` that conversion needs; set there, because each needs the other."""

    wrap: Callable[[Any], Any]
    native_of: Callable[[Any], Any]
    proxy_type: type


def to_python(value: Any) -> Any:
    """A value from Qt as PythonQt gives it to Python."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, enum.Enum):
        return EnumInt(value)
    if isinstance(value, list | tuple):
        return tuple(to_python(item) for item in value)
    if isinstance(value, dict):
        return {key: to_python(item) for key, item in value.items()}
    if isinstance(value, memoryview):
        return bytes(value)
    return Wrapping.wrap(value)


def to_qt(value: Any) -> Any:
    """A value from Python as Qt's functions take it."""
    if isinstance(value, EnumInt):
        return value.member
    if isinstance(value, Wrapping.proxy_type):
        return Wrapping.native_of(value)
    if isinstance(value, type):
        return getattr(value, "_host_pyside", value)
    if isinstance(value, list | tuple):
        return [to_qt(item) for item in value]
    if isinstance(value, dict):
        return {key: to_qt(item) for key, item in value.items()}
    if callable(value) and not hasattr(value, "GetClassName"):
        return lambda *arguments: failures.guarded(str(value), value, *map(to_python, arguments))
    return value


def signatures(function: Any) -> list[inspect.Signature]:
    """The overloads of a function of Qt; empty if Qt does not tell."""
    from shibokensupport.signature import get_signature

    found = get_signature(function)
    if found is None:
        return []
    return list(found) if isinstance(found, Sequence) else [found]


def as_annotated(value: Any, annotation: Any) -> Any:
    """The value as the enumeration or number that a signature asks for, else as it is."""
    if isinstance(annotation, type) and isinstance(value, int | enum.Enum):
        number = value.value if isinstance(value, enum.Enum) else int(value)
        if issubclass(annotation, enum.Enum):
            return annotation(number)
        if annotation is int:
            return int(number)
    return value


def call(function: Any, description: Any, arguments: tuple[Any, ...]) -> Any:
    """Calls a function of Qt with values from Python.

    Ints are accepted for enumerations, as PythonQt does; `description` is the function that knows its signatures.
    Wrong arguments raise ValueError, which is what PythonQt raises.
    """
    native = [to_qt(argument) for argument in arguments]
    try:
        return to_python(function(*native))
    except (TypeError, ValueError) as error:
        if "called with wrong argument" not in str(error) and "argument" not in str(error):
            raise
        first_error = error
    for signature in signatures(description):
        annotations = [p.annotation for name, p in signature.parameters.items() if name != "self"]
        if len(annotations) < len(native):
            continue
        try:
            return to_python(function(*[as_annotated(*pair) for pair in zip(native, annotations, strict=False)]))
        except (TypeError, ValueError):
            continue
    name = getattr(description, "__name__", str(description))
    raise ValueError(f"Could not find matching overload for given arguments of {name}: {arguments}\n{first_error}")


def return_as_annotated(value: Any, function: Any) -> Any:
    """What a Python override returned, as the virtual method of Qt must return it."""
    native = to_qt(value)
    if isinstance(native, int) and not isinstance(native, bool):
        for signature in signatures(function):
            return as_annotated(native, signature.return_annotation)
    return native


def default_return(function: Any) -> Any:
    """A harmless result for a virtual method whose Python override raised."""
    for signature in signatures(function):
        annotation = signature.return_annotation
        if annotation in (bool, int, str, float):
            return annotation()
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            return annotation(0)
        if annotation in (QtCore.QModelIndex, QtCore.QSize):
            return annotation()
    return None
