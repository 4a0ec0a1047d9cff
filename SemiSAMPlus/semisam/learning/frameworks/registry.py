"""The frameworks by name. One file and one line here add one."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from semisam.errors import UsageError

if TYPE_CHECKING:  # the names of the frameworks are told before anything slow is loaded
    from semisam.learning.frameworks.base import Framework, Setting

FRAMEWORKS = {
    "mean-teacher": "semisam.learning.frameworks.mean_teacher:MeanTeacher",
    "ua-mt": "semisam.learning.frameworks.ua_mt:UncertaintyAwareMeanTeacher",
    "dan": "semisam.learning.frameworks.dan:DeepAdversarialNetwork",
    "dtc": "semisam.learning.frameworks.dtc:DualTaskConsistency",
    "sdcl": "semisam.learning.frameworks.sdcl:DiscrepancyCorrection",
    "copy-paste": "semisam.learning.frameworks.copy_paste:CopyPaste",
    "supervised": "semisam.learning.frameworks.supervised:Supervised",
}

AUTO = "auto"


def check_framework(name: str) -> None:
    """Raises UsageError for an unknown name; loads nothing."""
    if name != AUTO and name not in FRAMEWORKS:
        raise UsageError(f'Unknown framework "{name}": choose one of auto, {", ".join(FRAMEWORKS)}.')


def resolve_framework(name: str, chosen: str | None = None) -> str:
    """The framework that ``name`` means.

    chosen  what a round of "auto" goes on with, once that is decided (see ``unlikeness.py``)
    """
    if name != AUTO:
        return name
    return chosen or "supervised"


def make_framework(name: str, setting: Setting) -> Framework:
    """Raises UsageError for an unknown name."""
    check_framework(name)
    module, _, attribute = FRAMEWORKS[name].partition(":")
    framework: Framework = getattr(importlib.import_module(module), attribute)(setting)
    return framework
