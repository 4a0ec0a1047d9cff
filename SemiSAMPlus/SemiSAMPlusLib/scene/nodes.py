"""Nodes that somebody may delete at any time, and the logics that work on them."""

from __future__ import annotations

from typing import Any

import slicer
import vtk


class NodeHandle:
    """Remembers a node without keeping it alive. ``get`` gives None once it was removed or its scene was closed."""

    def __init__(self, node: Any = None) -> None:
        self._weak = vtk.vtkWeakReference()
        self._displays: list[Any] = []
        self.set(node)

    def set(self, node: Any) -> None:
        """Remember another node, or none; also its display nodes, which outlive a node that is deleted."""
        self._weak.Set(node)
        self._displays = []
        for part in _display_nodes(node):
            self._displays.append(vtk.vtkWeakReference())
            self._displays[-1].Set(part)

    def get(self) -> Any:
        """The node if it is still in its scene, else None."""
        return _in_scene(self._weak)

    def remove(self) -> None:
        """Take the node out of its scene, with its display and storage nodes; nothing happens when all are gone."""
        # The scene leaves them behind, and with hundreds of cases they would pile up.
        parts = [_in_scene(weak) for weak in self._displays]
        node = self.get()
        parts += _display_nodes(node)
        if isinstance(node, slicer.vtkMRMLStorableNode):
            parts += [node.GetNthStorageNode(index) for index in range(node.GetNumberOfStorageNodes())]
        for part in (node, *parts):
            if part is not None and part.GetScene() is not None and part.GetScene().IsNodePresent(part):
                part.GetScene().RemoveNode(part)
        self.set(None)


def _display_nodes(node: Any) -> list[Any]:
    if not isinstance(node, slicer.vtkMRMLDisplayableNode):  # such as a table
        return []
    return [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]


def _in_scene(weak: Any) -> Any:
    node = weak.Get()
    scene = None if node is None else node.GetScene()
    return node if scene is not None and scene.IsNodePresent(node) else None


class Logics:
    """The module logics for one scene: those of the running Slicer, or new ones where there is no application."""

    def __init__(self, scene: Any) -> None:
        self.scene = scene
        modules: Any = getattr(slicer, "modules", None)
        own = modules is None or not hasattr(modules, "volumes") or scene is not slicer.mrmlScene
        if own:
            application = slicer.vtkSlicerApplicationLogic()
            application.SetMRMLScene(scene)
            self.volumes = slicer.vtkSlicerVolumesLogic()
            self.segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
            for logic in (self.volumes, self.segmentations):
                logic.SetMRMLApplicationLogic(application)
                logic.SetMRMLScene(scene)
            self._application = application
        else:
            self.volumes = modules.volumes.logic()
            self.segmentations = modules.segmentations.logic()


def put_in_study_of(volume: Any, node: Any) -> None:
    """Put ``node`` beside the volume in the subject hierarchy: in the same study, so that DICOM export finds both."""
    scene = volume.GetScene()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is None:
        return
    volume_item, item = hierarchy.GetItemByDataNode(volume), hierarchy.GetItemByDataNode(node)
    # 0 is no item: nodes have one only where an application keeps the hierarchy.
    if volume_item and item:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(volume_item))
