"""The one family of exceptions that a user may see.

Every message is a sentence for the user: what happened, to which file, and what to do about it. The command line and
the worker print the message alone; anything that is not a ``SemiSAMError`` is a defect of the program, but for a full
memory and what the system says of files (see ``worker.protocol.known_trouble``).
"""

from __future__ import annotations

from collections.abc import Sequence


class SemiSAMError(Exception):
    """Base of all errors that are told to the user in words."""


class VolumeError(SemiSAMError):
    """An image or mask file that cannot be used as it is."""


class ProjectError(SemiSAMError):
    """A project folder, case, segment or annotation that is missing, damaged or inconsistent."""


class LockError(ProjectError):
    """Another program is writing the same project."""


class PlanError(SemiSAMError):
    """No plan fits the data, the hardware or the options that were asked for."""


class GeneralistError(SemiSAMError):
    """A generalist that is unknown, lacks its weights or cannot serve the request."""


class TrainingError(SemiSAMError):
    """Training that cannot start or go on."""


class ModelError(SemiSAMError):
    """A model file that cannot be used, or a model that does not fit the project."""


class UsageError(SemiSAMError):
    """Options of a command that do not fit together."""


def raise_all(problems: Sequence[SemiSAMError], summary: str) -> None:
    """Raise one error for all of several problems, begun with ``summary``; a single problem speaks for itself."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise type(problems[0])(" ".join([summary, *map(str, problems)]))
