"""What can stand in `Annotated[...]` beside the type of a parameter."""

from __future__ import annotations

import abc
import copy
import dataclasses
import typing
from collections.abc import Callable
from typing import Any


class Validator(abc.ABC):
    """A condition that every value of a parameter must meet."""

    @abc.abstractmethod
    def validate(self, value: Any) -> None:
        """Raises ValueError or TypeError if the value does not meet the condition."""


@dataclasses.dataclass
class WithinRange(Validator):
    """The value lies between two limits, which count as inside."""

    minimum: Any
    maximum: Any

    def validate(self, value: Any) -> None:
        """Raises ValueError outside the limits."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not between {self.minimum} and {self.maximum}")


@dataclasses.dataclass
class Minimum(Validator):
    """The value is not smaller than a limit."""

    minimum: Any

    def validate(self, value: Any) -> None:
        """Raises ValueError below the limit."""
        if value < self.minimum:
            raise ValueError(f"{value} is below {self.minimum}")


@dataclasses.dataclass
class Maximum(Validator):
    """The value is not greater than a limit."""

    maximum: Any

    def validate(self, value: Any) -> None:
        """Raises ValueError above the limit."""
        if value > self.maximum:
            raise ValueError(f"{value} is above {self.maximum}")


@dataclasses.dataclass
class Choice(Validator):
    """The value is one of a list."""

    choices: Any

    def validate(self, value: Any) -> None:
        """Raises ValueError for anything else."""
        if value not in self.choices:
            raise ValueError(f"{value} is none of {self.choices}")


@dataclasses.dataclass
class Exclude(Validator):
    """The value is none of a list."""

    excludedValues: Any

    def validate(self, value: Any) -> None:
        """Raises ValueError for one of the list."""
        if value in self.excludedValues:
            raise ValueError(f"{value} is one of the excluded {self.excludedValues}")


@dataclasses.dataclass
class NotNone(Validator):
    """The value is not None."""

    def validate(self, value: Any) -> None:
        """Raises ValueError for None."""
        if value is None:
            raise ValueError("The value must not be None")


@dataclasses.dataclass
class IsInstance(Validator):
    """The value is None or of a class."""

    classtype: Any

    def validate(self, value: Any) -> None:
        """Raises TypeError for a value of another class."""
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"{value!r} is not of type {self.classtype}")


class Default:
    """The value of a parameter that was never set; `generator` makes a new one each time."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value = value
        self._generator = generator

    @property
    def value(self) -> Any:
        """A value that nobody else holds."""
        return self._generator() if self._generator is not None else copy.copy(self._value)


@dataclasses.dataclass
class Decimals:
    """How many decimals the widget shows."""

    value: int


@dataclasses.dataclass
class SingleStep:
    """How far one step of the widget goes."""

    value: float


@dataclasses.dataclass
class Label:
    """The words beside the widget."""

    label: str


def split(annotated: Any) -> tuple[Any, list[Any]]:
    """The type and the annotations of a possibly annotated type."""
    if typing.get_origin(annotated) is typing.Annotated:
        return annotated.__origin__, list(annotated.__metadata__)
    return annotated, []


def first(annotations: list[Any], kind: type) -> Any:
    """The first annotation of a kind, None if there is none."""
    return next((annotation for annotation in annotations if isinstance(annotation, kind)), None)
