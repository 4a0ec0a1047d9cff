"""Things that are kept in memory because making them again would take long."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Kept:
    """Things in memory by key, up to ``limit`` bytes and at least the newest; the least recently used go first."""

    limit: int
    _things: OrderedDict[tuple[Any, ...], tuple[Any, int]] = field(default_factory=OrderedDict)

    def get(self, key: tuple[Any, ...]) -> Any:
        if key not in self._things:
            return None
        self._things.move_to_end(key)
        return self._things[key][0]

    def put(self, key: tuple[Any, ...], thing: Any, size: int) -> None:
        self._things[key] = (thing, size)
        while len(self._things) > 1 and sum(size for _, size in self._things.values()) > self.limit:
            self._things.popitem(last=False)

    def sizes(self) -> list[tuple[tuple[Any, ...], int]]:
        return [(key, size) for key, (_, size) in list(self._things.items())]
