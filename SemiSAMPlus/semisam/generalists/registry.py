"""The generalists by name. To add one: write its file, add its line here.

A line is ``name: "module:Class"``; the module is imported when the generalist is first created, not before. The class
follows ``semisam.generalists.base.Generalist`` and its constructor takes a ``Context``; it raises GeneralistError when
it cannot work here (weights missing, no annotated case, ...).
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from semisam.errors import GeneralistError
from semisam.generalists import weights
from semisam.generalists.catalogue import ENTRIES, Entry, install_command

if TYPE_CHECKING:  # the names of the generalists are told before anything slow is loaded
    from semisam.generalists.base import Context, Generalist

GENERALISTS = {
    "nano": "semisam.generalists.nano.generalist:Nano",
    "registration": "semisam.generalists.registration.generalist:Registration",
    "random-walker": "semisam.generalists.growing.random_walker:RandomWalker",
    "grow-cut": "semisam.generalists.growing.grow_cut:GrowCut",
    "sam-med3d": "semisam.generalists.sam_med3d.generalist:SamMed3D",
    "sam-med3d-turbo": "semisam.generalists.sam_med3d.generalist:SamMed3DTurbo",
    "seganypet": "semisam.generalists.sam_med3d.generalist:SegAnyPET",
    "sam": "semisam.generalists.sam_slices.generalist:Sam",
    "medsam": "semisam.generalists.sam_slices.generalist:MedSam",
    "nninteractive": "semisam.generalists.nninteractive.generalist:NnInteractive",
}

_logger = logging.getLogger(__name__)


def names() -> list[str]:
    """The names of all known generalists."""
    return list(GENERALISTS)


def at_hand() -> list[str]:
    """The names of those that have what they need on this computer: weights, packages. Nothing is loaded."""
    return [name for name in GENERALISTS if name not in ENTRIES or not missing(name)]


def missing(name: str) -> str:
    """Why a generalist that is described in the catalogue cannot work on this computer, in words; "" if it can."""
    entry = ENTRIES[name]
    try:
        if entry.needs_weights:
            weights.require(name)
    except GeneralistError as error:
        return str(error)
    if entry.package_missing:
        return f'The generalist "{name}" needs a Python package: {install_command(name)}'
    return ""


def describe_all() -> dict[str, dict[str, Any]]:
    """All generalists in words, by name. Nothing is loaded.

    Each has at_hand, what, licence, note and source (see ``catalogue.Entry``), remedy (why it is not at hand, and what
    to do; else ""), takes_weights, and weights (their card as a dictionary; None without any that are whole).
    """
    described: dict[str, dict[str, Any]] = {}
    for name in GENERALISTS:
        entry = ENTRIES.get(name, Entry("", ""))
        problem = missing(name) if name in ENTRIES else ""
        described[name] = {
            "at_hand": not problem,
            "what": entry.what,
            "licence": entry.licence,
            "note": entry.note,
            "source": entry.source,
            "remedy": problem,
            "takes_weights": entry.needs_weights,
            "weights": _card_of(name) if entry.needs_weights else None,
        }
    return described


def _card_of(name: str) -> dict[str, Any] | None:
    try:
        card = weights.find(name)
    except GeneralistError:  # told as the remedy
        return None
    return card.to_dict() if card else None


def check(text: str) -> None:
    """Raises GeneralistError when ``text`` (see ``resolve``) has an unknown name, or names one that cannot work on this
    computer. Nothing is loaded."""
    for name in resolve(text):
        problem = missing(name) if name in ENTRIES and not is_auto(text) else ""
        if problem:
            raise GeneralistError(problem)


def is_auto(text: str) -> bool:
    """Whether ``text`` names no generalist but leaves the choice to the program."""
    return [word.strip().lower() for word in text.split(",") if word.strip()] == ["auto"]


def create(name: str, context: Context) -> Generalist:
    """Make the generalist called ``name``. Raises GeneralistError if it is unknown or cannot work here."""
    if name not in GENERALISTS:
        raise GeneralistError(f'There is no generalist "{name}". Choose from: {", ".join(GENERALISTS)}, auto, none.')
    problem = missing(name) if name in ENTRIES else ""
    if problem:  # told before torch is loaded
        raise GeneralistError(problem)
    module, _, class_name = GENERALISTS[name].partition(":")
    try:
        generalist_class = getattr(importlib.import_module(module), class_name)
    except ImportError as error:
        package = error.name or str(error)
        raise GeneralistError(
            f'The generalist "{name}" needs the Python package "{package}", which is not installed here.'
        ) from error
    generalist: Generalist = generalist_class(context)
    return generalist


def resolve(text: str) -> list[str]:
    """The names in ``"auto"`` (all), ``"none"`` or ``"nano,registration"``. Raises GeneralistError for unknown ones."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if is_auto(text):
        return names()
    if words in ([], ["none"]):
        return []
    for word in words:
        if word not in GENERALISTS:
            raise GeneralistError(
                f'There is no generalist "{word}". Choose from: {", ".join(GENERALISTS)} (several with commas between '
                "them), or auto, or none."
            )
    return list(dict.fromkeys(words))


def create_all(text: str, context: Context, among: Collection[str] | None = None) -> dict[str, Generalist]:
    """The generalists that ``text`` names (see ``resolve``), made for ``context``; of these only the ones ``among``.

    ``"auto"`` leaves out, with a line in the log, those that cannot work here; a generalist that was asked for by name
    raises GeneralistError instead.
    """
    made: dict[str, Generalist] = {}
    automatic = is_auto(text)
    context = replace(context, automatic=automatic)
    for name in resolve(text):
        if among is not None and name not in among:
            continue
        try:
            made[name] = create(name, context)
        except GeneralistError as error:
            if not automatic:
                raise
            _tell_left_out(name, str(error))
    return made


@cache
def _tell_left_out(name: str, why: str) -> None:
    """A line in the log, once in a process: training makes its generalists anew for every measurement."""
    _logger.info('The generalist "%s" is left out: %s', name, why)
