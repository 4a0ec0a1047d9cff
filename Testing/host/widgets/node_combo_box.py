"""qMRMLNodeComboBox: a choice among the nodes of a scene, kept in step with the scene."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.widgets.common import SceneObserver, stored_property

NODE = "vtkMRMLNode*"


class NodeComboBox(QtWidgets.QWidget):
    """The nodes of some classes in a combo box, with entries to create, rename and delete at its end."""

    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    currentNodeRenamed = Signal(str)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    nodeAboutToBeEdited = Signal(object)
    nodeActivated = Signal(object)
    SIGNALS = {
        f"{name}({NODE})": f"{name}(PyObject)"
        for name in (
            "currentNodeChanged",
            "nodeAdded",
            "nodeAddedByUser",
            "nodeAboutToBeRemoved",
            "nodeAboutToBeEdited",
            "nodeActivated",
        )
    }

    def _refill(self) -> None:
        self._fill()

    addEnabled = stored_property(bool, "addEnabled", True, _refill)
    removeEnabled = stored_property(bool, "removeEnabled", True, _refill)
    renameEnabled = stored_property(bool, "renameEnabled", False, _refill)
    editEnabled = stored_property(bool, "editEnabled", False, _refill)
    noneEnabled = stored_property(bool, "noneEnabled", False, _refill)
    noneDisplay = stored_property(str, "noneDisplay", "None", _refill)
    nodeTypes = stored_property("QStringList", "nodeTypes", [], _refill)
    hideChildNodeTypes = stored_property("QStringList", "hideChildNodeTypes", [], _refill)
    showChildNodeTypes = stored_property(bool, "showChildNodeTypes", True, _refill)
    showHidden = stored_property(bool, "showHidden", False, _refill)
    selectNodeUponCreation = stored_property(bool, "selectNodeUponCreation", True)
    baseName = stored_property(str, "baseName", "")
    interactionNodeSingletonTag = stored_property(str, "interactionNodeSingletonTag", "")
    sizeAdjustPolicy = stored_property(int, "sizeAdjustPolicy", 1)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None
        self._shown: list[str] = []
        self._current_id = ""
        self._attributes: dict[str, list[tuple[str, Any]]] = {}
        self._observer = SceneObserver(self)
        self._combo = QtWidgets.QComboBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._activated)

    # Scene
    def mrmlScene(self) -> Any:
        """The scene whose nodes are shown."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Shows the nodes of a scene; the first one is taken if there must be one."""
        if scene is self._scene:
            return
        self._observer.clear()
        self._scene = scene
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent)
            self._observer.observe("scene", scene, (*events, scene.EndBatchProcessEvent), self._refresh)
        self._fill()

    def _nodes(self) -> list[Any]:
        """The nodes to choose from, in the order of the scene."""
        if self._scene is None:
            return []
        types = self.property("nodeTypes") or []
        children = self.property("showChildNodeTypes")
        nodes = (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes()))
        return [node for node in nodes if self._fits(node, types, children)]

    def _fits(self, node: Any, types: Any, children: bool) -> bool:
        for node_class in types:
            exact = node.GetClassName() == node_class
            if not (exact or (children and node.IsA(node_class))):
                continue
            if not exact and any(node.IsA(hidden) for hidden in self.property("hideChildNodeTypes") or []):
                continue
            if node.GetHideFromEditors() and not self.property("showHidden"):
                continue
            wanted = self._attributes.get(node_class, [])
            if all(self._has(node, name, value) for name, value in wanted):
                return True
        return False

    @staticmethod
    def _has(node: Any, name: str, value: Any) -> bool:
        found = node.GetAttribute(name)
        return found is not None and (value is None or found == str(value))

    def _refresh(self) -> None:
        """The scene has changed; mostly by nodes that are none of this box's."""
        if not self._scene.IsBatchProcessing() and [node.GetID() for node in self._nodes()] != self._shown:
            self._fill()

    def _fill(self) -> None:
        """Shows the nodes there are now; chooses another one if the current one is gone."""
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        nodes = self._nodes()
        self._observer.clear("names")
        combo = self._combo
        combo.blockSignals(True)
        combo.clear()
        if self.property("noneEnabled"):
            combo.addItem(self.property("noneDisplay"), "")
        for node in nodes:
            combo.addItem(node.GetName() or "", node.GetID())
            self._observer.observe("names", node, ("ModifiedEvent",), self._rename)
        self._add_actions()
        combo.blockSignals(False)
        known = self._shown = [node.GetID() for node in nodes]
        wanted = self._current_id
        if wanted not in known:
            wanted = "" if self.property("noneEnabled") or not known else known[0]
        self._select(wanted)

    def _add_actions(self) -> None:
        if self._scene is None:
            return
        if self._combo.count():
            self._combo.insertSeparator(self._combo.count())
        types = self.property("nodeTypes") or []
        if self.property("addEnabled"):
            for node_class in types:
                self._combo.addItem(f"Create new {self.nodeTypeLabel(node_class)}", ("add", node_class))
        for name, words in (("rename", "Rename current node"), ("remove", "Delete current node")):
            if self.property(f"{name}Enabled"):
                self._combo.addItem(words, (name, ""))

    def _rename(self) -> None:
        for index in range(self._combo.count()):
            data = self._combo.itemData(index)
            node = self._scene.GetNodeByID(data) if isinstance(data, str) and data and self._scene else None
            if node is not None and node.GetName() != self._combo.itemText(index):
                self._combo.setItemText(index, node.GetName())

    def _activated(self, index: int) -> None:
        data = self._combo.itemData(index)
        if isinstance(data, str):
            self._select(data)
            self.nodeActivated.emit(self.currentNode())
        elif data is not None:
            action, node_class = data
            self._show_current()
            if action == "add":
                self.nodeAddedByUser.emit(self.addNode(node_class))
            elif action == "remove":
                self.removeCurrentNode()
            else:
                self.renameCurrentNode()

    def _show_current(self) -> None:
        index = self._combo.findData(self._current_id)
        self._combo.blockSignals(True)
        self._combo.setCurrentIndex(index)
        self._combo.blockSignals(False)

    def _select(self, node_id: str) -> None:
        changed = node_id != self._current_id
        self._current_id = node_id
        self._show_current()
        if changed:
            node = self.currentNode()
            self.currentNodeChanged[object].emit(node)
            self.currentNodeChanged[bool].emit(node is not None)
            self.currentNodeIDChanged.emit(node_id)

    # Current node
    def currentNode(self) -> Any:
        """The chosen node, None if there is none."""
        return self._scene.GetNodeByID(self._current_id) if self._scene is not None and self._current_id else None

    def setCurrentNode(self, node: Any) -> None:
        """Chooses a node; one that does not fit counts as none."""
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, node_id: str) -> None:
        """Chooses a node by its id."""
        known = [node.GetID() for node in self._nodes()]
        if node_id in known:
            self._select(node_id)
        elif self.property("noneEnabled") or not known:
            self._select("")

    def setCurrentNodeIndex(self, index: int) -> None:
        """Chooses the node at a place in the list."""
        node = self.nodeFromIndex(index)
        if node is not None:
            self._select(node.GetID())

    def nodeCount(self) -> int:
        """How many nodes there are to choose from."""
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> Any:
        """The node at a place in the list."""
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    # What the user does at the end of the list
    def addNode(self, node_class: str = "") -> Any:
        """Makes a node of the class, or of the first one."""
        types = self.property("nodeTypes") or []
        node_class = node_class or types[0]
        name = self._scene.GenerateUniqueName(self.property("baseName") or self.nodeTypeLabel(node_class))
        node = self._scene.AddNewNodeByClass(node_class, name)
        for attribute, value in self._attributes.get(node_class, []):
            node.SetAttribute(attribute, "" if value is None else str(value))
        self._fill()
        self.nodeAdded.emit(node)
        if self.property("selectNodeUponCreation"):
            self.setCurrentNode(node)
        return node

    def removeCurrentNode(self) -> None:
        """Removes the chosen node from the scene."""
        node = self.currentNode()
        if node is not None:
            self.nodeAboutToBeRemoved.emit(node)
            self._scene.RemoveNode(node)

    def renameCurrentNode(self) -> None:
        """Asks for a new name of the chosen node."""
        node = self.currentNode()
        if node is not None:
            name, accepted = QtWidgets.QInputDialog.getText(self, "Rename", "New name:", text=node.GetName())
            if accepted and name:
                node.SetName(name)
                self.currentNodeRenamed.emit(name)

    def editCurrentNode(self) -> None:
        """Asks for the chosen node to be edited."""
        self.nodeAboutToBeEdited.emit(self.currentNode())

    # Filters and labels
    def addAttribute(self, node_class: str, name: str, value: Any = None) -> None:
        """Shows only nodes of the class that have this attribute, with this value if one is given."""
        self.removeAttribute(node_class, name)
        self._attributes.setdefault(node_class, []).append((name, value))
        self._fill()

    def removeAttribute(self, node_class: str, name: str) -> None:
        """Counterpart of `addAttribute`."""
        self._attributes[node_class] = [pair for pair in self._attributes.get(node_class, []) if pair[0] != name]

    def nodeTypeLabel(self, node_class: str) -> str:
        """The words for a class of nodes."""
        labels = self.__dict__.setdefault("_labels", {})
        if node_class in labels:
            return str(labels[node_class])
        node = self._scene.CreateNodeByClass(node_class) if self._scene is not None else None
        tag = node.GetNodeTagName() if node is not None else node_class
        if node is not None:
            node.UnRegister(None)
        return str(tag)

    def setNodeTypeLabel(self, label: str, node_class: str) -> None:
        """Sets the words for a class of nodes."""
        self.__dict__.setdefault("_labels", {})[node_class] = label

    currentNodeID = Property(str, lambda self: self._current_id, setCurrentNodeID)
    currentNodeId = Property(str, lambda self: self._current_id, setCurrentNodeID)


CLASSES = {"slicer.qMRMLNodeComboBox": NodeComboBox}
