"""Points and a box as markups nodes in the scene, which the user places with the mouse, drags and deletes.

They lie under the transform of their volume and so stay on the voxels that they were placed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import product
from typing import TYPE_CHECKING, Any

import vtk

from ..i18n import _
from ..process import Scheduler, Timer
from ..signals import Signal
from .grids import from_vtk, to_vtk, world_to_volume
from .nodes import NodeHandle

if TYPE_CHECKING:
    import numpy as np

# A point or box that is being dragged is reported when it has rested for so long.
REST_SECONDS = 0.06
# A box that is thinner than this part of its width was drawn in a single slice.
_THIN = 0.4
_COLORS = {"inside": (0.2, 0.9, 0.3), "outside": (1.0, 0.25, 0.2), "box": (0.3, 0.8, 1.0)}


class Tool(Enum):
    """What the mouse places in the slice views."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    BOX = "box"


class PromptNodes:
    """The markups nodes of the prompts for one volume; they are made when they are needed.

    scene      the MRML scene
    scheduler  calls later

    Usage::

        nodes = PromptNodes(slicer.mrmlScene, QtScheduler())
        nodes.changed.connect(lambda continued: ask(nodes.points(volume), nodes.box(volume)))
        nodes.start(Tool.INSIDE, volume)      # from now on the mouse places points
        nodes.stop()
        nodes.remove()

    Signals: ``changed(bool)``, points or box are others now, by whatever hand, and whether this goes on with the same
    dragging as the change before; ``stopped()``, the mouse places nothing any more.
    """

    def __init__(self, scene: Any, scheduler: Scheduler) -> None:
        self._scene, self._scheduler = scene, scheduler
        self._handles = {tool: NodeHandle() for tool in Tool}
        self._observed: dict[Tool, list[tuple[Any, int]]] = {tool: [] for tool in Tool}
        self._watched: list[tuple[Any, int]] = []
        self._timer: Timer | None = None
        self._urgent = False
        self._held = False  # by the mouse
        self._continued = False
        self._showing = False
        self.tool: Tool | None = None
        self._known = self._content()
        self.changed = Signal()
        self.stopped = Signal()

    def node(self, tool: Tool) -> Any:
        """The markups node of a tool, or None."""
        return self._handles[tool].get()

    # Placing ----------------------------------------------------------------------------------------------------------

    def start(self, tool: Tool, volume: Any) -> bool:
        """Let the mouse place points inside or outside, or a new box; False where there are no views to click into."""
        selection, interaction = self._singleton("Selection"), self._singleton("Interaction")
        if selection is None or interaction is None:
            return False
        self._leave()
        node = self._make(tool, volume)
        if tool is Tool.BOX:
            node.RemoveAllControlPoints()  # a new one is drawn
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        if tool is Tool.BOX:
            interaction.SwitchToSinglePlaceMode()
        else:
            interaction.SwitchToPersistentPlaceMode()
        for watched in (interaction, selection):
            self._watched.append((watched, watched.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_mode)))
        self.tool = tool
        return True

    def stop(self) -> None:
        """Let the mouse place nothing any more; nothing happens when another module has taken it meanwhile."""
        if self.tool is None:
            return
        ours = self._is_placing(self.tool)
        self._leave()
        interaction = self._singleton("Interaction")
        if ours and interaction is not None:
            interaction.SwitchToViewTransformMode()
        self.stopped.emit()

    def _leave(self) -> None:
        drawn, self.tool = self.tool is Tool.BOX, None
        for node, tag in self._watched:
            node.RemoveObserver(tag)
        self._watched.clear()
        node = self.node(Tool.BOX)
        if node is not None and not _is_drawn(node):
            self._take_away(Tool.BOX)  # half a box is none
        elif node is not None and drawn:
            _deepen(node)
            self._on_node()

    def _is_placing(self, tool: Tool) -> bool:
        selection, interaction, node = self._singleton("Selection"), self._singleton("Interaction"), self.node(tool)
        return (
            None not in (selection, interaction, node)
            and interaction.GetCurrentInteractionMode() == interaction.Place
            and selection.GetActivePlaceNodeID() == node.GetID()
        )

    def _on_mode(self, caller: Any, event: Any) -> None:
        if self.tool is not None and not self._is_placing(self.tool):
            self.stop()

    def _singleton(self, name: str) -> Any:
        return self._scene.GetNodeByID(f"vtkMRML{name}NodeSingleton")

    # What is placed ---------------------------------------------------------------------------------------------------

    def points(self, volume: Any) -> list[tuple[np.ndarray, bool]]:
        """Positions (3,) in the volume's own RAS coordinates, those inside first; and whether they are inside."""
        found = []
        for tool in (Tool.INSIDE, Tool.OUTSIDE):
            node = self.node(tool)
            for index in _defined(node):
                world = node.GetNthControlPointPositionWorld(index)
                found.append((world_to_volume(volume, world)[0], tool is Tool.INSIDE))
        return found

    def box(self, volume: Any) -> np.ndarray | None:
        """(8, 3) corners of the box in the volume's own RAS coordinates; None while there is no whole box.

        Their order is that of ``itertools.product``: the last axis of the box changes fastest.
        """
        import numpy as np

        node = self._box_node()
        if node is None:
            return None
        half = np.array(node.GetSize()) / 2
        to_world = node.GetObjectToWorldMatrix()
        corners = [to_world.MultiplyPoint([*(signs * half), 1.0])[:3] for signs in product((-1, 1), repeat=3)]
        return world_to_volume(volume, corners)

    def show(self, points: Sequence[tuple[Sequence[float], bool]], box: np.ndarray | None, volume: Any) -> None:
        """Make the nodes hold these points and this box, in the form of ``points`` and ``box``; nothing is reported."""
        if box is not None and self.tool is Tool.BOX:
            self.stop()  # the box is there: no other one is drawn
        self._showing = True
        try:
            for tool in (Tool.INSIDE, Tool.OUTSIDE):
                wanted = [ras for ras, inside in points if inside is (tool is Tool.INSIDE)]
                if self._needed(tool, bool(wanted)):
                    node = self._make(tool, volume)
                    node.RemoveAllControlPoints()
                    for ras in wanted:
                        node.AddControlPoint(vtk.vtkVector3d(*ras))
            if self._needed(Tool.BOX, box is not None):
                node = self._make(Tool.BOX, volume)
                if box is None:
                    node.RemoveAllControlPoints()
                else:
                    _set_box(node, box)
        finally:
            self._known = self._content()
            self._showing = False

    def _needed(self, tool: Tool, filled: bool) -> bool:
        """Whether a node is there for something; else it is taken away."""
        if not filled and tool is not self.tool:
            self._take_away(tool)
            return False
        return True

    def remove(self) -> None:
        """Take the nodes out of the scene; nothing is reported but ``stopped``."""
        self.stop()
        for tool in Tool:
            self._take_away(tool)
        self._known = self._content()

    def _make(self, tool: Tool, volume: Any) -> Any:
        node = self.node(tool)
        if node is None:
            node = self._scene.AddNewNodeByClass(*_class_and_name(tool))
            node.SetSaveWithScene(False)
            _style(node, tool)
            self._handles[tool].set(node)
            events = (node.PointPositionDefinedEvent, node.PointModifiedEvent, node.PointRemovedEvent)
            changes = (*events, vtk.vtkCommand.ModifiedEvent) if tool is Tool.BOX else events
            self._observed[tool] = [(node, node.AddObserver(event, self._on_node)) for event in changes]
            for event, held in ((node.PointStartInteractionEvent, True), (node.PointEndInteractionEvent, False)):
                tag = node.AddObserver(event, lambda caller, event, held=held: self._on_held(held))
                self._observed[tool].append((node, tag))
            removed = self._scene.AddObserver(self._scene.NodeRemovedEvent, lambda caller, event: self._on_lost(tool))
            self._observed[tool].append((self._scene, removed))
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        return node

    def _take_away(self, tool: Tool) -> None:
        for subject, tag in self._observed[tool]:
            subject.RemoveObserver(tag)
        self._observed[tool] = []
        self._handles[tool].remove()

    # Changes ----------------------------------------------------------------------------------------------------------

    def _box_node(self) -> Any:
        """The node of a box that has been drawn, or None; what the mouse is still drawing is none."""
        node = self.node(Tool.BOX)
        return node if node is not None and self.tool is not Tool.BOX and _is_drawn(node) else None

    def _on_node(self, caller: Any = None, event: Any = None) -> None:
        content = self._content()
        if self._showing or content == self._known:
            return  # the mouse carries a point that is not placed yet
        # A click or a new box is answered at once, a movement when it rests.
        urgent = len(content[0]) != len(self._known[0]) or len(content[1]) != len(self._known[1])
        self._known = content
        if not self._urgent:
            self._report_in(0.0 if urgent else REST_SECONDS)
            self._urgent = urgent

    def _on_held(self, held: bool) -> None:
        self._held = held
        if not held:
            if self._timer is not None:
                self._timer.cancel()
                self._report()
            self._continued = False

    def _on_lost(self, tool: Tool) -> None:
        if self.node(tool) is None and not self._scene.IsClosing():
            if self.tool is tool:
                self.stop()
            self._take_away(tool)
            self._known = self._content()
            self._report_in(0.0)

    def _report_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._scheduler.call_later(seconds, self._report)

    def _report(self) -> None:
        self._timer, self._urgent = None, False
        continued, self._continued = self._continued, self._held
        self.changed.emit(continued)

    def _content(self) -> tuple[tuple[Any, ...], tuple[float, ...]]:
        """What the nodes hold, in their own coordinates: points, and size and place of the box."""
        points: list[Any] = []
        for tool in (Tool.INSIDE, Tool.OUTSIDE):
            node = self.node(tool)
            points += [(*map(_rounded, node.GetNthControlPointPosition(index)), tool) for index in _defined(node)]
        node = self._box_node()
        if node is None:
            return tuple(points), ()
        place = from_vtk(node.GetObjectToNodeMatrix()).ravel().tolist()
        return tuple(points), tuple(map(_rounded, (*node.GetSize(), *place)))


def _rounded(number: float) -> float:
    """Without what computing adds: Slicer tells a box anew that has moved by a millionth of a millimetre."""
    return round(number, 4)


def _class_and_name(tool: Tool) -> tuple[str, str]:
    names = {Tool.INSIDE: _("Points inside"), Tool.OUTSIDE: _("Points outside"), Tool.BOX: _("Box")}
    return "vtkMRMLMarkupsROINode" if tool is Tool.BOX else "vtkMRMLMarkupsFiducialNode", names[tool]


def _style(node: Any, tool: Tool) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSelectedColor(*_COLORS[tool.value])
    display.SetColor(*_COLORS[tool.value])
    display.SetActiveColor(*((1 + part) / 2 for part in _COLORS[tool.value]))  # under the mouse
    display.SetSaveWithScene(False)
    display.SetPropertiesLabelVisibility(False)
    if tool is Tool.BOX:
        display.SetFillVisibility(False)  # the image and the preview are to be seen
        display.SetVisibility3D(False)
    else:
        # Not by color alone: some people cannot tell red from green.
        node.SetControlPointLabelFormat("+" if tool is Tool.INSIDE else "-")


def _defined(node: Any) -> list[int]:
    """The control points that were placed; the one under the mouse is among the others. ``node`` may be None."""
    if node is None:
        return []
    count, defined = node.GetNumberOfControlPoints(), node.PositionDefined
    return [index for index in range(count) if node.GetNthControlPointPositionStatus(index) == defined]


def _is_drawn(box: Any) -> bool:
    return bool(box.GetNumberOfDefinedControlPoints() and min(box.GetSize()) > 0)


def _deepen(box: Any) -> None:
    """Make a box that was drawn in one slice as deep as it is wide.

    Slicer does so by itself where the slice lies along the axes of the box, and not where a transform tilts them.
    """
    size = list(box.GetSize())
    thin, narrow = sorted(size)[:2]
    if thin < _THIN * narrow:
        size[size.index(thin)] = narrow
        box.SetSize(*size)


def _set_box(node: Any, corners: np.ndarray) -> None:
    """Give an ROI node the corners that ``PromptNodes.box`` told, in the coordinates of the node."""
    import numpy as np

    edges = np.stack([corners[step] - corners[0] for step in (4, 2, 1)], axis=1)  # columns along the axes of the box
    size = np.linalg.norm(edges, axis=0)
    matrix = np.eye(4)
    matrix[:3, :3] = edges / size
    matrix[:3, 3] = corners.mean(axis=0)
    node.SetAndObserveObjectToNodeMatrix(to_vtk(matrix))
    node.SetSize(*size)
