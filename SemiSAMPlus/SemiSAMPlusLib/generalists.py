"""The generalists that the engine knows, which of them are at hand, and the import of published weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .jobs import Client
from .signals import Signal, call_safely
from .worker_client import ErrorCallback, EventCallback, WorkerRequest
from .worker_messages import Event

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneralistInfo:
    """One generalist in the engine's words.

    remedy         why it is not at hand, and what to do; "" if it is
    takes_weights  whether it works with weights that the user gets from their publisher
    weights_file   the name of the file that its weights were imported from, or ""
    """

    name: str
    at_hand: bool = True
    what: str = ""
    licence: str = ""
    note: str = ""
    remedy: str = ""
    takes_weights: bool = False
    weights_file: str = ""

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> GeneralistInfo:
        """A generalist as the answer to ``generalists`` has it. Raises KeyError, TypeError or AttributeError."""
        return cls(
            name,
            bool(data["at_hand"]),
            str(data["what"]),
            str(data["licence"]),
            str(data["note"]),
            str(data["remedy"]),
            bool(data["takes_weights"]),
            str((data["weights"] or {}).get("source", "")),
        )


class Generalists:
    """What the engine's worker tells about the generalists.

    Signal: ``changed()``, after ``refresh``.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._described: tuple[GeneralistInfo, ...] = ()
        self.changed = Signal()

    @property
    def known(self) -> tuple[GeneralistInfo, ...]:
        """All of them; until the engine has described them, those that it named at its start."""
        hello = self._client.hello
        return self._described or tuple(GeneralistInfo(name) for name in (hello.generalists if hello else ()))

    @property
    def at_hand(self) -> tuple[str, ...]:
        """The names of those that can work on this computer."""
        return tuple(info.name for info in self.known if info.at_hand)

    def refresh(self) -> None:
        """Ask the engine."""
        self._client.request("generalists", on_done=self._on_described)

    def add(
        self,
        name: str,
        file: Path,
        *,
        accept_licence: bool = False,
        on_done: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Import the weights of ``name`` from a file; ``on_done`` takes their card: architecture, bytes, ...

        ``accept_licence`` says that the user has seen their licence and accepts it; some are refused without.
        """

        def done(card: Event) -> None:
            self.refresh()
            call_safely(on_done, card)

        fields = {"generalist": name, "file": file, "accept_licence": accept_licence}
        return self._client.request("add-generalist", fields, on_done=done, on_error=on_error)

    def _on_described(self, answer: Event) -> None:
        try:
            described = tuple(GeneralistInfo.from_dict(name, data) for name, data in answer["generalists"].items())
        except (KeyError, TypeError, AttributeError):
            _log.exception("The description of the generalists cannot be read.")
            return
        if described != self._described:
            self._described = described
            self.changed.emit()
