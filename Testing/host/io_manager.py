"""`slicer.app.coreIOManager()`: reading and writing of volumes, segmentations and other nodes by slicer-core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore

from Testing.host.contract import contract

STORED_BY = {
    "ModelFile": ("vtkMRMLModelNode", "vtkMRMLModelStorageNode"),
    "TransformFile": ("vtkMRMLLinearTransformNode", "vtkMRMLTransformStorageNode"),
    "TableFile": ("vtkMRMLTableNode", "vtkMRMLTableStorageNode"),
    "TextFile": ("vtkMRMLTextNode", "vtkMRMLTextStorageNode"),
}


class IOManager(QtCore.QObject):
    """qSlicerCoreIOManager."""

    newFileLoaded = QtCore.Signal(object)

    def loadNodes(self, file_type: str, properties: dict[str, Any], loaded: Any = None, *_: Any) -> bool:
        """Reads a file; the nodes are added to the collection."""
        path = str(properties["fileName"])
        name = str(properties.get("name") or Path(path).name.split(".")[0])
        node = self._read(file_type, path, name, properties)
        if node is not None and loaded is not None:
            loaded.AddItem(node)
        return node is not None

    def _read(self, file_type: str, path: str, name: str, properties: dict[str, Any]) -> Any:
        if not Path(path).exists():
            return None
        if file_type == "VolumeFile":
            options = 1 if properties.get("labelmap") else 0
            node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
            if node is not None and properties.get("show", True):
                selection = slicer.app.applicationLogic().GetSelectionNode()
                if selection is not None and not options:
                    selection.SetActiveVolumeID(node.GetID())
                    slicer.app.applicationLogic().PropagateVolumeSelection()
            return node
        if file_type == "SegmentationFile":
            return slicer.modules.segmentations.logic().LoadSegmentationFromFile(path, True, name)
        if file_type == "MarkupsFile":
            node_id = slicer.modules.markups.logic().LoadMarkups(path, name)
            return slicer.mrmlScene.GetNodeByID(node_id) if node_id else None
        if file_type in STORED_BY:
            node_class, storage_class = STORED_BY[file_type]
            node = slicer.mrmlScene.AddNewNodeByClass(node_class, name)
            storage = slicer.mrmlScene.AddNewNodeByClass(storage_class)
            storage.SetFileName(path)
            return node if storage.ReadData(node) else None
        raise contract().lacks(f"The host cannot read files of type {file_type}")

    def fileWriterFileType(self, node: Any, *_: Any) -> str:
        """The file type of a node."""
        return str(node.GetClassName())

    def saveNodes(self, file_type: str, properties: dict[str, Any], *_: Any) -> bool:
        """Writes one node to a file."""
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if not node.GetStorageNode():
            node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(str(properties["fileName"]))
        if "useCompression" in properties:
            storage.SetUseCompression(int(properties["useCompression"]))
        return bool(storage.WriteData(node))


CLASSES = {"slicer.qSlicerCoreIOManager": IOManager}
