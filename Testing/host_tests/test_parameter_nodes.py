"""Parameter nodes: types, defaults, conditions, lists, node references and widgets."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any, Optional

import pytest


class Color(enum.Enum):
    """Two colors."""

    RED = 1
    BLUE = 2


@pytest.fixture
def wrapper_class(host: Any) -> Any:
    """A wrapper class with a parameter of each kind."""
    import slicer
    from slicer.parameterNodeWrapper import Choice, Default, Maximum, Minimum, WithinRange, parameterNodeWrapper

    class Parameters:
        count: int
        size: float = 1.5
        name: str
        flag: bool
        color: Color
        folder: Path
        volume: slicer.vtkMRMLVolumeNode
        ratio: Annotated[float, WithinRange(0, 1)] = 0.5
        choice: Annotated[str, Choice(["a", "b"])] = "a"
        positive: Annotated[int, Minimum(1), Maximum(9), Default(3)]
        words: list[str]
        table: dict[str, int]
        pair: tuple[int, str] = (1, "x")
        maybe: Optional[int]  # noqa: UP045 - both spellings occur in modules

    # Names of this function are not seen by the annotations of a class inside it.
    Parameters.__annotations__ = {
        "count": int,
        "size": float,
        "name": str,
        "flag": bool,
        "color": Color,
        "folder": Path,
        "volume": slicer.vtkMRMLVolumeNode,
        "ratio": Annotated[float, WithinRange(0, 1)],
        "choice": Annotated[str, Choice(["a", "b"])],
        "positive": Annotated[int, Minimum(1), Maximum(9), Default(3)],
        "words": list[str],
        "table": dict[str, int],
        "pair": tuple[int, str],
        "maybe": Optional[int],  # noqa: UP045
    }
    return parameterNodeWrapper(Parameters)


@pytest.fixture
def node(slicer: Any) -> Any:
    """An empty parameter node."""
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")


@pytest.fixture
def parameters(wrapper_class: Any, node: Any) -> Any:
    """A wrapped parameter node."""
    return wrapper_class(node)


def test_defaults_come_from_the_class_the_annotation_or_the_type(parameters: Any) -> None:
    assert (parameters.count, parameters.size, parameters.name, parameters.flag) == (0, 1.5, "", False)
    assert parameters.color is Color.RED and parameters.folder == Path() and parameters.volume is None
    assert parameters.positive == 3 and parameters.words == [] and parameters.table == {}
    assert parameters.pair == (1, "x") and parameters.maybe is None
    assert parameters.default("size").value == 1.5


def test_values_are_kept_in_the_node(parameters: Any, wrapper_class: Any, node: Any) -> None:
    parameters.count, parameters.flag, parameters.color = 7, True, Color.BLUE
    parameters.folder, parameters.maybe = Path("/a/b"), 4
    assert node.GetParameter("count") == "7" and node.GetParameter("color") == "BLUE"
    again = wrapper_class(node)
    assert (again.count, again.flag, again.color, again.maybe) == (7, True, Color.BLUE, 4)
    assert again.folder == Path("/a/b")
    parameters.maybe = None
    assert again.maybe is None


def test_wrong_values_are_refused_and_leave_the_old_one(parameters: Any) -> None:
    for name, value, error in (
        ("count", "7", TypeError),
        ("count", 1.5, TypeError),
        ("name", None, ValueError),
        ("ratio", 2.0, ValueError),
        ("choice", "c", ValueError),
        ("positive", 0, ValueError),
        ("positive", 10, ValueError),
        ("color", "RED", TypeError),
        ("words", [1], TypeError),
        ("table", {"a": "b"}, TypeError),
    ):
        before = parameters.getValue(name)
        with pytest.raises(error):
            setattr(parameters, name, value)
        assert parameters.getValue(name) == before


def test_default_that_breaks_its_condition_fails_when_used(host: Any, node: Any) -> None:
    from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

    class Wrong:
        pass

    Wrong.__annotations__ = {"ratio": Annotated[float, WithinRange(1, 2)]}
    with pytest.raises(ValueError):
        parameterNodeWrapper(Wrong)(node)


def test_lists_and_dicts_write_their_changes(parameters: Any, wrapper_class: Any, node: Any) -> None:
    parameters.words.append("a")
    parameters.words += ["b"]
    parameters.words[0] = "z"
    parameters.table["k"] = 5
    again = wrapper_class(node)
    assert again.words == ["z", "b"] and again.table == {"k": 5}
    del parameters.table["k"]
    assert again.table == {} and len(parameters.words) == 2
    with pytest.raises(NotImplementedError):
        _ = parameters.words + ["c"]


def test_nodes_are_references_with_the_name_as_role(parameters: Any, node: Any, slicer: Any) -> None:
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    parameters.volume = volume
    assert node.GetNodeReference("volume") is volume and parameters.volume is volume
    slicer.mrmlScene.RemoveNode(volume)
    assert parameters.volume is None
    with pytest.raises(TypeError):
        parameters.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")


def test_every_change_is_one_modified_event(parameters: Any, node: Any) -> None:
    events = []
    parameters.AddObserver("ModifiedEvent", lambda *_: events.append(parameters.count))
    parameters.count = 3
    assert events == [3], "observers see the new value"
    parameters.words = ["a", "b", "c"]
    assert len(events) == 2


def test_cached_value_follows_changes_of_the_node(parameters: Any, node: Any) -> None:
    assert parameters.isCached("count")
    node.SetParameter("count", "12")
    assert parameters.count == 12


def test_unknown_parameters_and_reserved_names_are_refused(parameters: Any, host: Any) -> None:
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(ValueError):
        parameters.setValue("nothing", 1)
    with pytest.raises(ValueError):
        parameters.connectParametersToGui({"nothing": None})

    class Reserved:
        pass

    Reserved.__annotations__ = {"connectGui": int}
    with pytest.raises(ValueError, match="reserved"):
        parameterNodeWrapper(Reserved)


def test_widgets_are_tied_and_released(parameters: Any, qt: Any) -> None:
    import ctk

    slider, box, line = ctk.ctkSliderWidget(), qt.QCheckBox(), qt.QLineEdit()
    tag = parameters.connectParametersToGui({"ratio": slider, "flag": box, "name": line})
    assert (slider.minimum, slider.maximum, slider.value) == (0, 1, 0.5)
    box.checked = True
    line.text = "words"
    assert parameters.flag is True and parameters.name == "words"
    parameters.disconnectGui(tag)
    box.checked = False
    assert parameters.flag is True
    parameters.disconnectGui(99)


def test_widgets_that_slicer_cannot_tie_are_refused(parameters: Any, qt: Any) -> None:
    import ctk

    for name, widget in (
        ("flag", ctk.ctkCheckBox()),
        ("size", ctk.ctkSliderWidget()),
        ("count", qt.QDoubleSpinBox()),
        ("name", qt.QComboBox()),
    ):
        with pytest.raises(RuntimeError):
            parameters.connectParametersToGui({name: widget})
