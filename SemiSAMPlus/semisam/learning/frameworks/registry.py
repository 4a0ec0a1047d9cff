"""The frameworks by name. One file and one line here add one."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import numpy as np

from semisam.errors import UsageError

if TYPE_CHECKING:
    from semisam.learning.frameworks.base import Framework

FRAMEWORKS = {
    "mean-teacher": "semisam.learning.frameworks.mean_teacher:MeanTeacher",
    "copy-paste": "semisam.learning.frameworks.copy_paste:CopyPaste",
    "supervised": "semisam.learning.frameworks.supervised:Supervised",
}


def check_framework(name: str) -> None:
    """Raises UsageError for an unknown name; loads nothing."""
    if name not in FRAMEWORKS:
        raise UsageError(f'Unknown framework "{name}": choose one of {", ".join(FRAMEWORKS)}.')


def make_framework(name: str, rng: np.random.Generator) -> Framework:
    """Raises UsageError for an unknown name."""
    check_framework(name)
    module, _, attribute = FRAMEWORKS[name].partition(":")
    framework: Framework = getattr(importlib.import_module(module), attribute)(rng)
    return framework
