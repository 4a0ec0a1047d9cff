"""Segment: the project's model on any volumes of the scene or on all cases, and masks as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer

from ..buttons import allow
from ..i18n import _
from ..process import Scheduler
from ..project_session import ProjectSession
from ..scene.grids import Grid
from ..scene.mask_files import MaskFileError, export_mask, read_into
from ..scene.nodes import Logics
from ..scene.segments import SegmentStatus, make_segmentation
from ..scene.volume_files import grey_volumes
from ..segmenting import VolumeSegmentation
from ..worker_client import WorkerRequest
from ..worker_messages import Event, WorkerError
from .panel import Panel
from .volumes_dialog import ask_for_volumes

# Marks our results, so that they are found again when the scene was saved and loaded.
RESULT = "SemiSAMPlus.Result"


class SegmentPanel(Panel):
    """Wires the upper part of the section "Segment".

    volume     the volume that the user chose, or None
    scheduler  calls later, from the event loop
    tell       shows an error to the user
    """

    def __init__(self, ui: Any, volume: Callable[[], Any], scheduler: Scheduler, tell: Callable[[str], None]) -> None:
        super().__init__(ui)
        self._volume, self._scheduler, self._tell = volume, scheduler, tell
        self._run: VolumeSegmentation | None = None
        self._proposing: WorkerRequest | None = None
        self._menu = qt.QMenu(ui.segmentAllButton)
        ui.segmentAllButton.setMenu(self._menu)
        for text, action in (
            (_("All loaded volumes"), self._on_all_volumes),
            (_("Some of the loaded volumes..."), self._on_some_volumes),
            (_("All unfinished cases of the project"), self._on_all_cases),
        ):
            self._menu.addAction(text).connect("triggered(bool)", _without_argument(action))
        ui.segmentButton.connect("clicked(bool)", self._on_segment)
        ui.cancelSegmentButton.connect("clicked(bool)", self._on_cancel)
        ui.exportMaskButton.connect("clicked(bool)", self._on_export)
        self.show()

    @property
    def busy(self) -> bool:
        """Whether anything is being segmented."""
        return self._run is not None or self._proposing is not None

    def set_session(self, session: ProjectSession | None) -> None:
        """Use another project's model, or none; what is being segmented is given up."""
        if self._run is not None:
            self._run.abandon()
        self._run = self._proposing = None
        super().set_session(session)

    def show(self) -> None:
        """Bring the buttons up to date."""
        ui, volume = self._ui, self._volume()
        no_volume = None if volume is not None else _("Choose a volume first")
        obstacle = self._obstacle()
        allow(ui.segmentButton, obstacle or no_volume)
        allow(ui.segmentAllButton, obstacle)
        no_result = None if self.result(volume) is not None else _("Segment this volume first")
        allow(ui.exportMaskButton, no_volume or no_result)
        ui.segmentFrame.visible = self.busy

    def segment(self, volumes: Sequence[Any]) -> None:
        """Segment volume nodes; each gets a new segmentation node as soon as it is ready."""
        session = self._opened
        if session is None or self.busy or not volumes:
            return
        self._run = VolumeSegmentation(session.jobs, self._scheduler, volumes, self._on_mask)
        self._run.progress.connect(self._on_progress)
        self._run.finished.connect(self._on_finished)
        self._on_progress(0, len(volumes), "")
        self._run.start()
        self.show()

    def result(self, volume: Any) -> Any:
        """The newest segmentation that was made here of a volume, or None."""
        if volume is None:
            return None
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        found = [
            node
            for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
            if node.GetAttribute(RESULT) and node.GetNodeReferenceID(role) == volume.GetID()
        ]
        return found[-1] if found else None

    def _obstacle(self) -> str | None:
        """Why nothing can be segmented now."""
        if self._opened is None:
            return self._why_not()
        if self._opened.model is None:
            return _("The project has no model yet: learn, or import one")
        return _("Something is being segmented: wait, or cancel it") if self.busy else None

    def _on_segment(self, checked: bool = False) -> None:
        volume = self._volume()
        if volume is not None:
            self.segment([volume])

    def _on_all_volumes(self) -> None:
        volumes = grey_volumes(slicer.mrmlScene)
        if not volumes:
            slicer.util.infoDisplay(_("No volume is loaded."))
        self.segment(volumes)

    def _on_some_volumes(self) -> None:
        hint = _("Each chosen volume gets a new segmentation.")
        self.segment(ask_for_volumes(grey_volumes(slicer.mrmlScene), self._ui.segmentAllButton, hint))

    def _on_all_cases(self) -> None:
        session = self._opened
        if session is None or self.busy:
            return
        self._on_progress(0, 0, _("the model is being loaded"))
        self._proposing = session.jobs.propose(
            on_event=self._on_proposed, on_done=self._on_proposals_done, on_error=self._on_proposals_failed
        )
        self.show()

    def _on_cancel(self, checked: bool = False) -> None:
        self._ui.cancelSegmentButton.enabled = False
        if self._run is not None:
            self._run.cancel()
        elif self._proposing is not None and self._session is not None:
            self._session.jobs.cancel(self._proposing)

    def _on_mask(self, volume: Any, mask: Path) -> None:
        session = self._opened
        if session is None:
            return
        name = slicer.mrmlScene.GenerateUniqueName(_("{volume} segmentation").format(volume=volume.GetName()))
        node = make_segmentation(Logics(slicer.mrmlScene), volume, name, session.segments, SegmentStatus.FLAGGED)
        try:
            read_into(mask, node, session.segments, Grid.of_volume(volume))
        except MaskFileError as error:
            slicer.mrmlScene.RemoveNode(node)
            self._tell(str(error))
            return
        node.SetAttribute(RESULT, "1")
        slicer.util.showStatusMessage(_('"{name}" is ready.').format(name=name), 5000)

    def _on_progress(self, done: int, total: int, words: str) -> None:
        ui = self._ui
        ui.segmentBar.maximum = total
        ui.segmentBar.value = done
        ui.segmentLabel.text = words

    def _on_finished(self, problem: str) -> None:
        self._run = None
        self._done(problem)

    def _on_proposed(self, event: Event) -> None:
        if event["event"] == "progress" and self._proposing is not None:
            self._on_progress(round(100 * float(event.get("fraction") or 0)), 100, str(event.get("text") or ""))

    def _on_proposals_done(self, answer: Event) -> None:
        if self._proposing is not None:
            self._proposing = None
            self._done("")

    def _on_proposals_failed(self, error: WorkerError) -> None:
        if self._proposing is not None:
            self._proposing = None
            self._done("" if error.cancelled else error.text)

    def _done(self, problem: str) -> None:
        self._ui.cancelSegmentButton.enabled = True
        self.show()
        if problem:
            self._tell(problem)

    def _on_export(self, checked: bool = False) -> None:
        volume = self._volume()
        node = self.result(volume)
        if node is None:
            return
        kinds = _("Segmentation ({endings})").format(endings="*.seg.nrrd")
        kinds += ";;" + _("Label map ({endings})").format(endings="*.nii.gz *.nii *.nrrd *.mha")
        proposed = f"{node.GetName()}.seg.nrrd"
        name = qt.QFileDialog.getSaveFileName(self._ui.exportMaskButton, _("Export the mask"), proposed, kinds)
        if not name:
            return
        path = Path(name) if "." in Path(name).name else Path(f"{name}.seg.nrrd")
        segments = () if self._session is None else self._session.segments
        try:
            export_mask(node, volume, segments, path)
        except MaskFileError as error:
            self._tell(str(error))
        else:
            slicer.util.showStatusMessage(_("The mask is in {path}.").format(path=path), 5000)


def _without_argument(action: Callable[[], None]) -> Callable[..., None]:
    return lambda *arguments: action()
