"""`slicer.parameterNodeWrapper` outside Slicer: typed parameters kept in a node, tied to widgets.

Written from the behaviour of Slicer's own package. Parameter packs, unions of several node classes and the creation of
widgets (`createGui`) are not part of it.
"""

from __future__ import annotations

from Testing.host.parameter_node.annotations import (
    Choice,
    Decimals,
    Default,
    Exclude,
    IsInstance,
    Label,
    Maximum,
    Minimum,
    NotNone,
    SingleStep,
    Validator,
    WithinRange,
)
from Testing.host.parameter_node.connectors import findChildWidgetForParameter
from Testing.host.parameter_node.wrapper import isParameterNodeWrapper, parameterNodeWrapper

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "IsInstance",
    "Label",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "Validator",
    "WithinRange",
    "findChildWidgetForParameter",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]
