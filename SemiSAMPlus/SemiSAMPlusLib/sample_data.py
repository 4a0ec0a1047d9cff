"""A project of made-up volumes to try the module with. The engine makes it on the spot, so nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .i18n import _
from .process import Launch, Process, ProcessFactory
from .signals import call_safely

CATEGORY = "SemiSAM+"
FOLDER_NAME = "SemiSAM+ example"


class SampleMaker:
    """Runs ``semisam sample`` in a child process, one at a time; a listener of that process.

    Usage::

        maker = SampleMaker(setup_panel.launch, QtProcess)
        maker.make(folder, on_done=lambda project, new_image: open(project), on_error=show)
    """

    def __init__(self, launch: Callable[[Sequence[str]], Launch], make_process: ProcessFactory) -> None:
        self._launch, self._make_process = launch, make_process
        self._process: Process | None = None
        self._output = b""
        self._on_done: Callable[[Path, Path], None] | None = None
        self._on_error: Callable[[str], None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a project is being made."""
        return self._process is not None

    def make(self, folder: Path, on_done: Callable[[Path, Path], None], on_error: Callable[[str], None]) -> None:
        """Make the project ``folder``, which must be empty or not there.

        ``on_done`` gets the project and the path of an image that is no case of it; ``on_error`` a sentence.
        """
        if self.busy:
            raise RuntimeError("A sample project is being made already.")
        self._on_done, self._on_error, self._output = on_done, on_error, b""
        self._process = self._make_process()
        self._process.start(self._launch(("sample", str(folder), "--json")), self)

    def cancel(self) -> None:
        """Stop; nobody is told. What was begun is cleared away when a project is made in the same place again."""
        process, self._process = self._process, None
        self._on_done = self._on_error = None
        if process is not None:
            process.kill()

    def on_output(self, data: bytes) -> None:
        """See ``ProcessListener``."""
        self._output += data

    def on_error_output(self, data: bytes) -> None:
        """See ``ProcessListener``. What is for the user comes as an event."""

    def on_start_failed(self, reason: str) -> None:
        """See ``ProcessListener``."""
        self._end({"text": _("The engine cannot be started ({reason}).").format(reason=reason)})

    def on_finished(self, exit_code: int, crashed: bool) -> None:
        """See ``ProcessListener``."""
        lines = self._output.decode("utf-8", "replace").strip().splitlines()
        try:
            answer = json.loads(lines[-1])
        except (ValueError, IndexError):
            answer = {}
        self._end(answer if isinstance(answer, dict) else {})

    def _end(self, answer: dict[str, Any]) -> None:
        self._process = None
        on_done, on_error = self._on_done, self._on_error
        self._on_done = self._on_error = None
        if answer.get("event") == "done":
            call_safely(on_done, Path(answer["project"]), Path(answer["new_image"]))
        else:
            text = answer.get("text") or _("The sample project could not be made: try another folder.")
            call_safely(on_error, str(text))


def free_folder(parent: Path, name: str = FOLDER_NAME) -> Path:
    """A folder in ``parent`` that does not exist: ``name``, or with a number behind it."""
    path, number = parent / name, 2
    while path.exists():
        path, number = parent / f"{name} {number}", number + 1
    return path


def register(resource: Callable[[str], str]) -> None:
    """Put the data sets into the module Sample Data; ``resource`` gives the path of a file among the resources."""
    try:
        from SampleData import SampleDataLogic
    except ImportError:  # a Slicer that was started without that module
        return
    for name, picture, action in (
        ("SemiSAMPlusProject", "Icons/SampleProject.png", _open_project),
        ("SemiSAMPlusVolume", "Icons/SampleVolume.png", _load_volume),
    ):
        SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY, sampleName=name, thumbnailFileName=resource(picture), customDownloader=action
        )


def default_folder() -> Path:
    """Where a sample project goes unless the user says otherwise: a new folder among the user's documents."""
    import slicer

    documents = Path(slicer.app.defaultScenePath or Path.home())
    return free_folder(documents if documents.is_dir() else Path.home())


def _open_project(source: Any = None) -> None:
    """The ready project, opened in our module."""
    import slicer

    slicer.util.selectModule("SemiSAMPlus")
    slicer.modules.SemiSAMPlusWidget.controller.project_panel.make_sample_project(default_folder())


def _load_volume(source: Any = None) -> None:
    """One volume that is no case of that project, for "Segment this volume"."""
    import tempfile

    import slicer

    folder = Path(tempfile.mkdtemp(prefix="SemiSAMPlus-", dir=slicer.app.temporaryPath)) / "sample"
    slicer.modules.semisamplus.widgetRepresentation()  # makes our widget, if it is not there yet
    slicer.modules.SemiSAMPlusWidget.controller.load_sample_volume(folder)
