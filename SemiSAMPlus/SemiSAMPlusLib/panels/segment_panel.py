"""Segment: the project's model on any volume of the scene, and files for others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer

from ..buttons import allow
from ..i18n import _
from ..scene.grids import Grid
from ..scene.mask_files import export_labelmap, read_into
from ..scene.nodes import Logics
from ..scene.segments import SegmentStatus, make_segmentation
from ..worker_messages import Event, WorkerError
from .panel import Panel


class SegmentPanel(Panel):
    """Wires the widgets of the section "Segment".

    volume  the volume that the user chose, or None
    tell    shows an error to the user
    """

    def __init__(self, ui: Any, volume: Callable[[], Any], tell: Callable[[str], None]) -> None:
        super().__init__(ui)
        self._volume, self._tell = volume, tell
        self._busy = False
        self._results: dict[str, str] = {}  # volume node -> segmentation node, by their ids
        ui.segmentButton.connect("clicked(bool)", self._on_segment)
        ui.segmentAllButton.connect("clicked(bool)", self._on_segment_all)
        ui.exportMaskButton.connect("clicked(bool)", self._on_export)
        self.show()

    def show(self) -> None:
        """Bring the buttons up to date."""
        ui, volume = self._ui, self._volume()
        no_volume = None if volume is not None else _("Choose a volume first")
        why_not = self._why_not() or (_("The engine is still at it") if self._busy else None)
        allow(ui.segmentButton, why_not or no_volume)
        allow(ui.segmentAllButton, why_not)
        no_result = None if self._result(volume) is not None else _("Segment this volume first")
        allow(ui.exportMaskButton, no_volume or no_result)

    def _on_segment(self, checked: bool = False) -> None:
        volume = self._volume()
        if volume is not None:
            self._segment([volume])

    def _on_segment_all(self, checked: bool = False) -> None:
        self._segment(list(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")))

    def _segment(self, volumes: list[Any]) -> None:
        if self._session is None:
            return
        folder = Path(tempfile.mkdtemp(prefix="semisam-"))
        images = {}
        for volume in volumes:
            # The voxels of the scene, which need not be those of the file any more.
            image = folder / f"{volume.GetID()}.nrrd"
            if slicer.util.saveNode(volume, str(image)):
                images[str(image)] = volume.GetID()
        self._session.jobs.segment(
            [Path(path) for path in images],
            folder / "masks",
            on_done=lambda answer: self._on_segmented(images, answer),
            on_error=self._on_error,
        )
        self._busy = True
        self.show()

    def _on_segmented(self, images: dict[str, str], answer: Event) -> None:
        self._busy = False
        for result in answer.get("results", ()):
            volume = slicer.mrmlScene.GetNodeByID(images.get(str(result["image"]), ""))
            if volume is not None:  # it may have been deleted meanwhile
                self._show_result(volume, Path(result["mask"]))
        self.show()

    def _show_result(self, volume: Any, mask: Path) -> None:
        if self._session is None:
            return
        segments = self._session.segments
        name = _("{volume} segmentation").format(volume=volume.GetName())
        node = make_segmentation(Logics(slicer.mrmlScene), volume, name, segments, SegmentStatus.IN_PROGRESS)
        read_into(mask, node, segments, Grid.of_volume(volume))
        self._results[volume.GetID()] = node.GetID()

    def _result(self, volume: Any) -> Any:
        identity = self._results.get(volume.GetID()) if volume is not None else None
        return slicer.mrmlScene.GetNodeByID(identity) if identity else None

    def _on_export(self, checked: bool = False) -> None:
        volume = self._volume()
        node = self._result(volume)
        if node is None or self._session is None:
            return
        kinds = _("Masks") + " (*.nii.gz *.nrrd)"
        path = qt.QFileDialog.getSaveFileName(self._ui.exportMaskButton, _("Export the mask"), "", kinds)
        if path:
            export_labelmap(node, volume, self._session.segments, Path(path), Logics(slicer.mrmlScene))

    def _on_error(self, error: WorkerError) -> None:
        self._busy = False
        self.show()
        if not error.cancelled:
            self._tell(error.text)
