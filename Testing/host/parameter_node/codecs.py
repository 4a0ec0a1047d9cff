"""How values of each type are kept in a parameter node: as text, as several texts, or as a node reference."""

from __future__ import annotations

import enum
import pathlib
import types
import typing
from collections.abc import Callable, Iterable, MutableMapping, MutableSequence
from typing import Any

import slicer

from Testing.host.parameter_node.annotations import IsInstance, NotNone, Validator, split


class Codec:
    """Keeps values of one type; `conditions` are checked before a value is kept."""

    conditions: list[Validator] = []

    def default(self) -> Any:
        """The value of a parameter for which the class names no default."""
        raise NotImplementedError

    def present(self, node: Any, name: str) -> bool:
        """Whether the node has a value under this name."""
        return bool(node.HasParameter(name))

    def check(self, value: Any) -> None:
        """Raises ValueError or TypeError for a value that must not be kept."""
        for condition in self.conditions:
            condition.validate(value)

    def keep(self, node: Any, name: str, value: Any) -> None:
        """Writes a checked value."""
        raise NotImplementedError

    def take(self, node: Any, name: str) -> Any:
        """Reads the value."""
        raise NotImplementedError

    def drop(self, node: Any, name: str) -> None:
        """Removes the value."""
        node.UnsetParameter(name)

    def write(self, node: Any, name: str, value: Any) -> None:
        """Checks and writes a value."""
        self.check(value)
        self.keep(node, name, value)


class TextCodec(Codec):
    """A value that is one text."""

    def __init__(
        self, accepted: Any, default: Callable[[], Any], encode: Callable[[Any], str], decode: Callable[[str], Any]
    ) -> None:
        self.conditions = [NotNone(), IsInstance(accepted)]
        self._default, self._encode, self._decode = default, encode, decode

    def default(self) -> Any:
        """Zero, empty, or the first of an enumeration."""
        return self._default()

    def keep(self, node: Any, name: str, value: Any) -> None:
        """Writes the text."""
        node.SetParameter(name, self._encode(value))

    def take(self, node: Any, name: str) -> Any:
        """Reads the text."""
        return self._decode(node.GetParameter(name))


class NodeCodec(Codec):
    """A node of the scene, kept as a node reference whose role is the parameter's name."""

    def __init__(self, node_class: type) -> None:
        self.conditions = [IsInstance(node_class)]

    def default(self) -> Any:
        """No node."""
        return None

    def keep(self, node: Any, name: str, value: Any) -> None:
        """Sets the reference; the empty text of the same name says that there is a value, even if it is None."""
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def take(self, node: Any, name: str) -> Any:
        """The referenced node."""
        return node.GetNodeReference(name)

    def drop(self, node: Any, name: str) -> None:
        """Removes text and reference."""
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class NoneCodec(Codec):
    """None, as the other half of `X | None`."""

    def default(self) -> Any:
        """None."""
        return None

    def check(self, value: Any) -> None:
        """Raises ValueError for anything but None."""
        if value is not None:
            raise ValueError("The value must be None")

    def keep(self, node: Any, name: str, value: Any) -> None:
        """Says that there is a value."""
        node.SetParameter(name, "True")

    def take(self, node: Any, name: str) -> Any:
        """None."""
        return None


class TupleCodec(Codec):
    """Several values of given types, each under the name with its place."""

    def __init__(self, parts: list[Codec]) -> None:
        self._parts = parts

    def default(self) -> Any:
        """The defaults of the parts."""
        return tuple(part.default() for part in self._parts)

    def present(self, node: Any, name: str) -> bool:
        """Whether the first part is there."""
        return self._parts[0].present(node, f"{name}_0")

    def check(self, value: Any) -> None:
        """Raises ValueError for a wrong number of values."""
        if len(tuple(value)) != len(self._parts):
            raise ValueError("Unexpected number of tuple values")

    def keep(self, node: Any, name: str, value: Any) -> None:
        """Writes the parts as one modification."""
        with slicer.util.NodeModify(node):
            for index, (part, item) in enumerate(zip(self._parts, value, strict=True)):
                part.write(node, f"{name}_{index}", item)

    def take(self, node: Any, name: str) -> Any:
        """Reads the parts."""
        return tuple(part.take(node, f"{name}_{index}") for index, part in enumerate(self._parts))

    def drop(self, node: Any, name: str) -> None:
        """Removes the parts."""
        for index, part in enumerate(self._parts):
            part.drop(node, f"{name}_{index}")


class KeptList(MutableSequence[Any]):
    """A list that writes itself to its node whenever it changes."""

    def __init__(self, save: Callable[[list[Any]], None], items: list[Any]) -> None:
        self._save, self._items = save, items

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def _try(self, items: list[Any]) -> None:
        self._save(items)
        self._items = items

    def __setitem__(self, index: Any, value: Any) -> None:
        items = list(self._items)
        items[index] = value
        self._try(items)

    def __delitem__(self, index: Any) -> None:
        items = list(self._items)
        del items[index]
        self._try(items)

    def insert(self, index: int, value: Any) -> None:
        """Puts a value at a place."""
        items = list(self._items)
        items.insert(index, value)
        self._try(items)

    def __eq__(self, other: object) -> bool:
        return self._items == (other._items if isinstance(other, KeptList) else other)

    def __add__(self, other: object) -> Any:
        raise NotImplementedError("A list of a parameter node cannot be added; += works")

    __radd__ = __mul__ = __rmul__ = __add__

    def __repr__(self) -> str:
        return f"ObservedList({self._items})"


class KeptDict(MutableMapping[Any, Any]):
    """A dict that writes itself to its node whenever it changes."""

    def __init__(self, save: Callable[[dict[Any, Any]], None], items: dict[Any, Any]) -> None:
        self._save, self._items = save, items

    def __getitem__(self, key: Any) -> Any:
        return self._items[key]

    def __iter__(self) -> Any:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def _try(self, items: dict[Any, Any]) -> None:
        self._save(items)
        self._items = items

    def __setitem__(self, key: Any, value: Any) -> None:
        self._try({**self._items, key: value})

    def __delitem__(self, key: Any) -> None:
        if key not in self._items:
            raise KeyError(key)
        self._try({known: value for known, value in self._items.items() if known != key})

    def __eq__(self, other: object) -> bool:
        return self._items == (other._items if isinstance(other, KeptDict) else other)

    def __repr__(self) -> str:
        return f"ObservedDict({self._items})"


class ListCodec(Codec):
    """Any number of values of one type."""

    def __init__(self, part: Codec) -> None:
        self._part = part

    def default(self) -> Any:
        """The empty list."""
        return []

    def check(self, value: Any) -> None:
        """Raises TypeError for what is no list."""
        if value is None or isinstance(value, str) or not isinstance(value, Iterable):
            raise TypeError(f"{value!r} is not a list")

    def keep(self, node: Any, name: str, value: Any) -> None:
        """Writes length and items as one modification; nothing is written if one item is not right."""
        items = list(value)
        for item in items:
            self._part.check(item)
        with slicer.util.NodeModify(node):
            self.drop(node, name)
            node.SetParameter(name, str(len(items)))
            for index, item in enumerate(items):
                self._part.write(node, f"{name}_{index}", item)

    def items(self, node: Any, name: str) -> list[Any]:
        """A plain list of the items."""
        count = int(node.GetParameter(name) or 0)
        return [self._part.take(node, f"{name}_{index}") for index in range(count)]

    def take(self, node: Any, name: str) -> Any:
        """A list that writes its changes back."""
        return KeptList(lambda items: self.write(node, name, items), self.items(node, name))

    def drop(self, node: Any, name: str) -> None:
        """Removes length and items."""
        for index in range(int(node.GetParameter(name) or 0)):
            self._part.drop(node, f"{name}_{index}")
        node.UnsetParameter(name)


class DictCodec(Codec):
    """Keys and values of two types, in their order."""

    def __init__(self, key: Codec, value: Codec) -> None:
        self._pairs = ListCodec(TupleCodec([key, value]))

    def default(self) -> Any:
        """The empty dict."""
        return {}

    def keep(self, node: Any, name: str, value: Any) -> None:
        """Writes the pairs."""
        self._pairs.write(node, name, value.items())

    def take(self, node: Any, name: str) -> Any:
        """A dict that writes its changes back."""
        return KeptDict(lambda items: self.write(node, name, items), dict(self._pairs.items(node, name)))

    def drop(self, node: Any, name: str) -> None:
        """Removes the pairs."""
        self._pairs.drop(node, name)


class UnionCodec(Codec):
    """One of several types, kept under the name with the place of the type."""

    def __init__(self, parts: list[Codec]) -> None:
        self._parts = parts

    def default(self) -> Any:
        """None for `X | None`, else the default of the first type."""
        optional = len(self._parts) == 2 and isinstance(self._parts[1], NoneCodec)
        return None if optional else self._parts[0].default()

    def present(self, node: Any, name: str) -> bool:
        """Whether there is a value of any of the types."""
        return any(part.present(node, f"{name}_{index}") for index, part in enumerate(self._parts))

    def _fitting(self, value: Any) -> int:
        problem: Exception = TypeError(f"{value!r} is of none of the types")
        for index, part in enumerate(self._parts):
            if isinstance(part, NoneCodec) != (value is None):
                continue
            try:
                part.check(value)
                return index
            except (TypeError, ValueError) as error:
                problem = error
        raise problem

    def check(self, value: Any) -> None:
        """Raises if the value fits none of the types."""
        self._fitting(value)

    def keep(self, node: Any, name: str, value: Any) -> None:
        """Writes the value under the place of its type."""
        index = self._fitting(value)
        with slicer.util.NodeModify(node):
            self.drop(node, name)
            self._parts[index].write(node, f"{name}_{index}", value)

    def take(self, node: Any, name: str) -> Any:
        """Reads the value that there is."""
        for index, part in enumerate(self._parts):
            if part.present(node, f"{name}_{index}"):
                return part.take(node, f"{name}_{index}")
        raise KeyError(name)

    def drop(self, node: Any, name: str) -> None:
        """Removes the value."""
        for index, part in enumerate(self._parts):
            part.drop(node, f"{name}_{index}")


def codec_for(annotated: Any) -> Codec:
    """The codec of a possibly annotated type; TypeError if the type cannot be kept."""
    kind, annotations = split(annotated)
    codec = _plain_codec(kind)
    extra = [annotation for annotation in annotations if isinstance(annotation, Validator)]
    codec.conditions = [*codec.conditions, *extra]
    return codec


def _plain_codec(kind: Any) -> Codec:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return ListCodec(codec_for(arguments[0]))
    if origin is tuple:
        return TupleCodec([codec_for(argument) for argument in arguments])
    if origin is dict:
        return DictCodec(*(codec_for(argument) for argument in arguments))
    if origin in (typing.Union, types.UnionType):
        return UnionCodec([codec_for(argument) for argument in arguments])
    if kind is type(None):
        return NoneCodec()
    if kind is bool:
        return TextCodec(bool, bool, str, lambda text: text == "True")
    if kind is int:
        return TextCodec(int, int, str, int)
    if kind is float:
        return TextCodec((int, float), lambda: 0, str, float)
    if kind is str:
        return TextCodec(str, str, str, str)
    if isinstance(kind, type) and issubclass(kind, pathlib.PurePath):
        return TextCodec(kind, kind, str, kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return TextCodec(kind, lambda: next(iter(kind)), lambda value: value.name, lambda text: kind[text])
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):
        return NodeCodec(kind)
    raise TypeError(f"The host cannot keep values of type {kind} in a parameter node")
