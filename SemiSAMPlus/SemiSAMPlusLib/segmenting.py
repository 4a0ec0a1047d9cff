"""Segmenting volumes of the scene with the project's model: one run, from voxels to masks, without waiting."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .i18n import _
from .jobs import ProjectJobs
from .process import Scheduler
from .scene.nodes import NodeHandle
from .scene.volume_files import write_volume
from .signals import Signal
from .worker_client import WorkerRequest
from .worker_messages import Event, WorkerError


class VolumeSegmentation:
    """Writes the volumes to a temporary folder one by one, has the engine segment them, and tells of each mask.

    volumes   volume nodes; any of them may be deleted at any time
    on_mask   called with the volume node and the mask file of each, while that file exists

    Signals: ``progress(done, total, words)``; ``finished(problem)``, a sentence, or "" when all went well or it was
    cancelled; once, after the temporary folder is gone.
    """

    def __init__(
        self,
        jobs: ProjectJobs,
        scheduler: Scheduler,
        volumes: Sequence[Any],
        on_mask: Callable[[Any, Path], None],
    ) -> None:
        self._jobs, self._scheduler, self._on_mask = jobs, scheduler, on_mask
        self._waiting = [NodeHandle(volume) for volume in volumes]
        self._names = {handle: str(handle.get().GetName()) for handle in self._waiting}
        self._written: dict[str, NodeHandle] = {}
        self._total, self._done = len(self._waiting), 0
        self._problems: list[str] = []
        self._folder: Path | None = None
        self._request: WorkerRequest | None = None
        self._cancelled = self._over = False
        self.progress = Signal()
        self.finished = Signal()

    def start(self) -> None:
        """Begin; ``finished`` comes later."""
        self._scheduler.call_later(0, self._prepare)

    def cancel(self) -> None:
        """End early; masks that were told of stay with whoever heard of them."""
        self._cancelled = True
        if self._request is not None:
            self._jobs.cancel(self._request)

    def abandon(self) -> None:
        """Cancel, and tell nobody of anything any more."""
        self.progress.disconnect_all()
        self.finished.disconnect_all()
        self.cancel()

    def _prepare(self) -> None:
        """Write one volume, then let the window breathe."""
        if self._cancelled:
            self._end("")
            return
        if not self._waiting:
            self._ask()
            return
        handle = self._waiting.pop(0)
        volume = handle.get()
        number = self._total - len(self._waiting)
        if volume is not None:
            self.progress.emit(
                0, self._total, _("preparing {number} of {total}").format(number=number, total=self._total)
            )
            try:
                if self._folder is None:
                    self._folder = Path(tempfile.mkdtemp(prefix="semisam-"))
                # The voxels of the scene, which need not be those of the file any more.
                path = self._folder / f"{number:04d}.nrrd"
                write_volume(volume, path, compressed=False)
                self._written[str(path)] = handle
            except OSError as error:
                text = _("The volume {volume} cannot be segmented: {reason}.")
                reason = error.strerror or error
                self._problems.append(text.format(volume=self._names[handle], reason=reason))
        self._scheduler.call_later(0, self._prepare)

    def _ask(self) -> None:
        if self._folder is None or not self._written:
            self._end("")
            return
        self._total = len(self._written)
        self.progress.emit(0, self._total, _("the model is being loaded"))
        self._request = self._jobs.segment(
            [Path(path) for path in self._written],
            self._folder / "masks",
            on_event=self._on_event,
            on_done=lambda answer: self._end(""),
            on_error=self._on_error,
        )

    def _on_event(self, event: Event) -> None:
        if event["event"] != "mask-ready" or self._cancelled:
            return
        self._done += 1
        handle = self._written.get(str(event.get("image")))
        volume = None if handle is None else handle.get()
        if volume is not None:
            self._on_mask(volume, Path(str(event["mask"])))
        words = _("{done} of 1 volume") if self._total == 1 else _("{done} of {total} volumes")
        self.progress.emit(self._done, self._total, words.format(done=self._done, total=self._total))

    def _on_error(self, error: WorkerError) -> None:
        text = "" if error.cancelled else error.text
        for path, handle in self._written.items():
            text = text.replace(path, self._names[handle])  # the user knows names, not our temporary files
        self._end(text)

    def _end(self, problem: str) -> None:
        if self._over:
            return
        self._over = True
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.finished.emit("\n".join([*self._problems, *([problem] if problem else [])]))
