"""Holds the open project and the panels together: opening, closing, errors, the life of the engine's process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .case_editor import CaseEditor
from .cases import SegmentInfo
from .i18n import _
from .jobs import TrainingOptions
from .panels.advanced_panel import AdvancedPanel
from .panels.annotate_panel import AnnotatePanel
from .panels.cases_panel import CasesPanel
from .panels.confident_panel import ConfidentPanel
from .panels.learn_panel import LearnPanel
from .panels.model_panel import ModelPanel
from .panels.project_panel import ProjectPanel
from .panels.review_panel import ReviewPanel
from .panels.segment_panel import SegmentPanel
from .panels.setup_panel import SetupPanel
from .process import ProcessFactory, Scheduler
from .project_session import ProjectSession, SessionState
from .python_finder import PythonFinder
from .recent_projects import RecentProjects
from .sample_data import SampleMaker
from .scene.case_scene import CaseScene
from .scene.history import EditorUndo
from .scene.images import ImageError
from .scene.mask_files import MaskFileError
from .shortcuts import Shortcuts
from .worker_client import WorkerClient
from .worker_messages import WorkerError


class ModuleController:
    """What the module's widget owns.

    ui            the widgets of the .ui file by their names
    parameters    the parameter node of the moment, or None
    finder        looks for the Python of the engine
    requirements  the file that names the engine's packages
    make_process, scheduler  child processes and timers
    recent        the projects that were open last
    scene         the MRML scene
    """

    def __init__(
        self,
        ui: Any,
        parameters: Callable[[], Any],
        finder: PythonFinder,
        requirements: Path,
        make_process: ProcessFactory,
        scheduler: Scheduler,
        recent: RecentProjects,
        scene: Any,
    ) -> None:
        self._ui, self._parameters = ui, parameters
        self._make_process, self._scheduler, self._recent = make_process, scheduler, recent
        self.session: ProjectSession | None = None
        self.editor: CaseEditor | None = None
        self.case_scene = CaseScene(scene, undo=EditorUndo(ui.segmentEditor), fit_views=_fit_views)
        self.shortcuts = Shortcuts(ui)
        self.project_panel = ProjectPanel(
            ui, recent, self.open_project, self.make_sample_project, self.close_project, self._close_case_for_a_change
        )
        self.cases_panel = CasesPanel(ui, self.open_case, self.current_case)
        self.learn_panel = LearnPanel(ui, self.training_options, self.device_in_words)
        self.segment_panel = SegmentPanel(ui, self._input_volume, scheduler, self.tell)
        self.model_panel = ModelPanel(ui, self._open_model, self.tell)
        self.advanced_panel = AdvancedPanel(ui, parameters, self.tell)
        self.annotate_panel = AnnotatePanel(ui, self.case_scene, self._editor, parameters, scheduler)
        self.review_panel = ReviewPanel(ui, self.case_scene, self._editor, parameters, self.tell)
        self._panels = (
            self.project_panel,
            self.cases_panel,
            self.annotate_panel,
            self.learn_panel,
            self.review_panel,
            ConfidentPanel(ui, parameters, self.current_case, self.open_case, self.tell),
            self.segment_panel,
            self.model_panel,
            self.advanced_panel,
        )
        self.setup_panel = SetupPanel(ui, finder, requirements)
        self._sample_maker = SampleMaker(self.setup_panel.launch, make_process)
        ui.restartButton.connect("clicked(bool)", self._on_restart)
        self._show_message(None)

    # The project ------------------------------------------------------------------------------------------------------

    def open_project(
        self, folder: Path, segments: Sequence[SegmentInfo] | None = None, model: Path | None = None
    ) -> None:
        """Open a project folder, or with ``segments`` or a ``model`` file make it; another open one is closed first.

        While the engine's Python is still being looked for, the project waits.
        """
        self.close_project()
        self.setup_panel.when_ready(lambda: self._start_project(folder, segments, model))

    def _start_project(self, folder: Path, segments: Sequence[SegmentInfo] | None, model: Path | None) -> None:
        launch = self.setup_panel.launch(("worker", str(folder)))
        client = WorkerClient(launch, self._make_process, self._scheduler)
        session = ProjectSession(folder, client)
        session.state_changed.connect(self._on_state)
        session.failed.connect(self._on_failed)
        self.session = session
        self.editor = CaseEditor(session, self.case_scene, self._scheduler)
        self.editor.opened.connect(self._on_opened)
        self.editor.proposal_shown.connect(lambda name: self.review_panel.show())
        self.editor.proposal_waiting.connect(self.review_panel.newer_proposal_waits)
        self.editor.failed.connect(self._on_failed)
        for panel in self._panels:
            panel.set_session(session)
        if segments:
            session.create(segments)
        elif model is not None:
            session.create_from_model(model)
        else:
            session.open()
        parameters = self._parameters()
        if parameters is not None:
            parameters.projectPath = str(folder)

    def make_sample_project(self, folder: Path) -> None:
        """Make a project of made-up volumes in an empty or new folder, and open it."""
        self.close_project()
        self._make_sample(folder, lambda project, new_image: self.open_project(project))

    def load_sample_volume(self, folder: Path) -> None:
        """Load a made-up volume that is no case of that project; ``folder`` is new and takes its file."""

        def load(project: Path, new_image: Path) -> None:
            import slicer

            slicer.util.loadVolume(str(new_image), {"name": "SemiSAMPlusVolume"})

        self._make_sample(folder, load)

    def _make_sample(self, folder: Path, then: Callable[[Path, Path], None]) -> None:
        def done(project: Path, new_image: Path) -> None:
            self.project_panel.set_activity("")
            then(project, new_image)

        def failed(text: str) -> None:
            self.project_panel.set_activity("")
            self.tell(text)

        def make() -> None:
            self.project_panel.set_activity(_("Making up volumes in {folder}...").format(folder=folder))
            self._sample_maker.cancel()
            self._sample_maker.make(folder, done, failed)

        self.setup_panel.when_ready(make)

    def close_project(self, at_exit: bool = False) -> None:
        """Close the open case and the project; the half-done annotation is kept."""
        self.setup_panel.forget_waiting()
        self._sample_maker.cancel()
        self.project_panel.set_activity("")
        if self.session is None:
            return
        if self.editor is not None:
            self.editor.dispose()
            self.editor = None
        for panel in self._panels:
            panel.set_session(None)
        if at_exit:
            self.session.close_at_exit()
        else:
            self.session.close()
        self.session = None
        parameters = self._parameters()
        if parameters is not None:
            parameters.projectPath = ""
        self._show_message(None)

    def close(self) -> None:
        """The widget goes away: nothing of ours may run on."""
        self.shortcuts.remove()
        self.close_project(at_exit=True)
        self.review_panel.close()
        self.learn_panel.close()
        self.annotate_panel.close()

    def enter(self) -> None:
        """The module is opened."""
        self.annotate_panel.enter()
        self.shortcuts.install()
        if not self.setup_panel.ready:
            self.setup_panel.look()

    def exit(self) -> None:
        """Another module is opened."""
        self.shortcuts.remove()
        self.annotate_panel.exit()

    def show(self) -> None:
        """Bring all panels up to date."""
        for panel in self._panels:
            panel.show()

    # Cases ------------------------------------------------------------------------------------------------------------

    def current_case(self) -> str | None:
        """The name of the case that is open."""
        return None if self.case_scene.case is None else self.case_scene.case.name

    def open_case(self, name: str) -> None:
        """Show a case; what was done in the one before is kept."""
        if self.editor is None:
            return
        try:
            self.editor.open(name)
        except (ImageError, MaskFileError) as error:
            self.tell(str(error))
        except KeyError:
            self.tell(_("{case} is no case of this project any more.").format(case=name))

    def on_scene_start_close(self) -> None:
        """The scene is about to be closed: an edited annotation goes into the project as work in progress."""
        if self.editor is not None:
            self.editor.on_scene_start_close()

    def on_scene_changed(self) -> None:
        """The scene was closed, or another one was loaded into it: what it holds of ours is not what it was."""
        self.advanced_panel.scene_changed()
        self.annotate_panel.follow_case()

    def _close_case_for_a_change(self) -> Callable[[], None]:
        """Close the open case; the result opens it again."""
        name = self.current_case()
        if self.editor is not None:
            self.editor.close()
        return lambda: None if name is None else self.open_case(name)

    def _on_opened(self, name: str | None) -> None:
        parameters = self._parameters()
        if parameters is not None:
            parameters.openCase = name or ""
        self.annotate_panel.case_opened()
        self.review_panel.case_opened()
        self.cases_panel.show()

    def _editor(self) -> CaseEditor | None:
        return self.editor

    # For the panels ---------------------------------------------------------------------------------------------------

    def training_options(self) -> TrainingOptions:
        """What the user chose under "Advanced"."""
        parameters = self._parameters()
        if parameters is None:
            return TrainingOptions()
        chosen = ",".join(parameters.generalists)
        return TrainingOptions(
            minutes=parameters.minutes,
            framework=parameters.framework,
            network=parameters.network,
            spacing=parameters.workingSpacing,
            generalist=chosen or "auto",
            device=parameters.device,
        )

    def device_in_words(self) -> str:
        """The device that training will run on, as far as the engine has told."""
        parameters = self._parameters()
        chosen = "auto" if parameters is None else parameters.device
        devices = {} if self.session is None else self.session.devices
        if chosen != "auto":
            return devices.get(chosen, chosen)
        best = next(iter(devices), None)
        if best == "cpu":
            return _("{device}, as no GPU was found").format(device=devices[best])
        return _("the best device that this computer has") if best is None else devices[best]

    def _open_model(self, folder: Path, model: Path) -> None:
        self.open_project(folder, model=model)

    def tell(self, text: str) -> None:
        """Show an error in the panel; it stays until the next one or until it is over."""
        self._show_message(text)

    def keep_what_is_removed(self, node: Any) -> None:
        """A node is about to leave the scene: edits of the open case's annotation are kept before it is too late."""
        scene, name = self.case_scene, self.current_case()
        if name is None or self.editor is None or node not in (scene.annotation, scene.volume, scene.proposal):
            return
        if node is not scene.proposal:
            self.editor.keep_or_rescue()
        # Nodes cannot be removed from within the removal of another one.
        self._scheduler.call_later(0, lambda: self._close_incomplete(name))

    def _close_incomplete(self, name: str) -> None:
        if self.editor is None or self.current_case() != name:
            return
        if self.case_scene.annotation is None or self.case_scene.volume is None:
            self.editor.close()
            text = _("A node of {case} was deleted, so the case was closed; its annotation is kept. Open it again.")
            self.tell(text.format(case=name))
        self.review_panel.show()

    def _input_volume(self) -> Any:
        parameters = self._parameters()
        return None if parameters is None else parameters.inputVolume

    def _on_state(self, state: SessionState) -> None:
        session = self.session
        if session is None:
            return
        if state is SessionState.FAILED and session.problem is not None:
            self._show_message(session.problem.text)
        elif state is SessionState.OPEN:
            self._show_message(None)
            with suppress(OSError):
                self._recent.add(session.project)

    def _on_failed(self, error: WorkerError) -> None:
        if not error.cancelled:
            self._show_message(error.text)

    def _on_restart(self, checked: bool = False) -> None:
        if self.session is not None:
            self.session.restart()

    def _show_message(self, text: str | None) -> None:
        self._ui.messageLabel.text = self._ui.messageLabel.toolTip = text or ""
        self._ui.messageFrame.visible = bool(text)
        self._ui.restartButton.visible = self.session is not None and self.session.state is SessionState.FAILED


def _fit_views() -> None:
    """Center the slice views on the image that is shown now."""
    import slicer

    slicer.util.resetSliceViews()
