"""Prompts for one object in one image: points, a box, a mask to be improved; answers as patches on the volume's grid.

Positions come in RAS and go to the engine as voxel indices k, j, i of the image file. Those need not be the indices of
the volume node: Slicer reverses the slices of left-handed images. So the engine tells the file's own grid when it
encodes the image, and prompts given before that wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .i18n import _
from .scene.grids import Grid, Patch
from .scene.mask_files import MaskFileError, read_patch, write_patch
from .signals import Signal
from .worker_client import ErrorCallback, EventCallback, WorkerRequest
from .worker_messages import Event, WorkerError

if TYPE_CHECKING:
    import numpy as np


class Engine(Protocol):
    """What is needed of ``ProjectSession``."""

    def encode(
        self, subject: dict[str, Any], *, on_done: EventCallback | None = None, on_error: ErrorCallback | None = None
    ) -> WorkerRequest: ...

    def prompt(
        self, fields: dict[str, Any], *, on_done: EventCallback | None = None, on_error: ErrorCallback | None = None
    ) -> WorkerRequest: ...


@dataclass(frozen=True)
class PromptPoint:
    """A click: RAS millimetres, and whether it lies in the object."""

    ras: tuple[float, float, float]
    positive: bool


@dataclass(frozen=True, eq=False)
class Prompts:
    """What is known of one object.

    box   (n, 3) RAS positions, such as the eight corners of an ROI, or two
    mask  on the volume's grid, to be improved
    """

    points: tuple[PromptPoint, ...] = ()
    box: np.ndarray | None = None
    mask: Patch | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no prompt."""
        return not self.points and self.box is None and self.mask is None


class PromptError(Exception):
    """A prompt that makes no sense; the text is for the user."""


class PromptSession:
    """Holds the prompts for one object and asks the engine.

    engine      a ``ProjectSession``
    subject     {"case": name} or {"image": path}
    volume_grid the grid of the volume node, in which answers are given
    folder      an existing folder for the small files that go to and fro

    Usage::

        prompts = PromptSession(session, {"case": "a"}, grid, folder)
        prompts.answered.connect(lambda patch, answer: preview.show(patch, volume))
        prompts.add_point((10.0, -5.0, 30.0), positive=True)      # asks at once

    While an answer is awaited, further changes wait; then only the latest state is asked for.

    Signals: ``answered(Patch, event)``; ``failed(WorkerError)``; ``ready_changed(bool)``, the image is encoded.
    """

    def __init__(
        self,
        engine: Engine,
        subject: Mapping[str, Any],
        volume_grid: Grid,
        folder: Path,
        *,
        generalist: str | None = None,
        segment: str | None = None,
    ) -> None:
        self._engine = engine
        self._subject = {**subject, "generalist": generalist}
        self._volume_grid = volume_grid
        self._folder = folder
        self.segment = segment
        self.threshold: float | None = None
        self.file_grid: Grid | None = None
        self.given = Prompts()
        self.answered = Signal()
        self.failed = Signal()
        self.ready_changed = Signal()
        self._undo: list[Prompts] = []
        self._busy = False
        self._encoding = False
        self._outdated = False
        self._closed = False
        self._number = 0
        self._encode()

    @property
    def ready(self) -> bool:
        """Whether the image is encoded, so that the first answer comes fast."""
        return self.file_grid is not None

    @property
    def waiting(self) -> bool:
        """Whether an answer is awaited."""
        return self._busy or self._outdated

    @property
    def is_empty(self) -> bool:
        """Whether there is no prompt."""
        return self.given.is_empty

    # Prompts ----------------------------------------------------------------------------------------------------------

    def give(self, prompts: Prompts, *, same_step: bool = False) -> None:
        """Put other prompts in the place of those before, as one step for ``undo``, and ask.

        ``same_step`` adds to the step before, such as when a box is still being dragged. Raises PromptError for points
        or a box beside the image, or an empty mask; then nothing changes.
        """
        for point in prompts.points:
            index = self._volume_grid.to_kji(point.ras)[0]
            if not all(-0.5 <= x < size - 0.5 for x, size in zip(index, self._volume_grid.shape, strict=True)):
                raise PromptError(_("This point lies beside the image: click into it."))
        if prompts.box is not None and box_of(prompts.box, self._volume_grid) is None:
            raise PromptError(_("This box lies beside the image: move it over the object."))
        if prompts.mask is not None and not prompts.mask.count:
            raise PromptError(_("The segment is empty: draw a part of it first, or use points or a box."))
        if not (same_step and self._undo):
            self._undo.append(self.given)
        self.given = prompts
        self.ask()

    def add_point(self, ras: Sequence[float], *, positive: bool) -> None:
        """Add a click and ask. Raises PromptError for one beside the image."""
        x, y, z = (float(value) for value in ras)
        self.give(replace(self.given, points=(*self.given.points, PromptPoint((x, y, z), positive))))

    def set_box(self, corners: Any) -> None:
        """Set the box and ask. ``corners`` as ``Prompts.box``.

        The box that goes to the engine has its faces along the voxels and holds all the corners, as far as they lie in
        the image. Raises PromptError for a box beside the image.
        """
        import numpy as np

        self.give(replace(self.given, box=np.asarray(corners, float).reshape(-1, 3)))

    def improve(self, mask: Patch) -> None:
        """Set a mask on the volume's grid that is to be improved, and ask. Raises PromptError for an empty one."""
        self.give(replace(self.given, mask=mask))

    def undo(self) -> bool:
        """Take back the last prompt, and ask again if any is left; False when there is none."""
        if not self._undo:
            return False
        self.given = self._undo.pop()
        self.ask()
        return True

    @property
    def can_undo(self) -> bool:
        """Whether there is a prompt to take back."""
        return bool(self._undo)

    def clear(self) -> None:
        """Forget all prompts; an answer that is awaited is dropped."""
        self._undo.clear()
        self.given = Prompts()
        self._number += 1
        self._outdated = False

    def close(self) -> None:
        """Nothing is asked or told after this."""
        self._closed = True
        self.clear()
        for signal in (self.answered, self.failed, self.ready_changed):
            signal.disconnect_all()

    # Asking -----------------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Ask for an answer to the prompts as they are now."""
        self._number += 1  # what is under way is an answer to other prompts
        self._outdated = False
        if self._closed or self.is_empty:
            return
        if self._busy or self.file_grid is None:
            self._outdated = True
            if self.file_grid is None and not self._encoding:
                self._encode()  # it went wrong before: the engine may have been restarted
            return
        number = self._number
        output = self._folder / f"answer-{id(self)}-{number}.nrrd"
        try:
            fields = self._fields(self.file_grid, output)
        except (PromptError, MaskFileError) as error:
            self.failed.emit(WorkerError("usage", str(error)))
            return
        self._busy = True
        given = fields.get("mask")
        self._engine.prompt(
            fields,
            on_done=lambda answer: self._on_answer(number, output, given, answer),
            on_error=lambda error: self._on_error(number, given, error),
        )

    def _fields(self, grid: Grid, output: Path) -> dict[str, Any]:
        import numpy as np

        fields: dict[str, Any] = {**self._subject, "output": output, "extent": "region"}
        given = self.given
        if given.points:
            # A click at the very border may lie a rounding error beyond it.
            limits = np.asarray(grid.shape) - 0.5 - 1e-3
            index = np.clip(grid.to_kji([point.ras for point in given.points]), -0.5, limits)
            fields["points"] = index.round(4).tolist()
            fields["labels"] = [int(point.positive) for point in given.points]
        if given.box is not None:
            box = box_of(given.box, grid)
            if box is None:
                raise PromptError(_("This box lies beside the image: move it over the object."))
            fields["box"] = list(box)
        if given.mask is not None:
            path = self._folder / f"mask-{id(self)}-{self._number}.nrrd"
            write_patch(widened(given.mask.onto(grid).cropped()), path)
            fields["mask"] = path
        fields.update(segment=self.segment, threshold=self.threshold)
        return fields

    def _encode(self) -> None:
        self._encoding = True
        self._engine.encode(dict(self._subject), on_done=self._on_encoded, on_error=self._on_encode_error)

    def _on_encoded(self, answer: Event) -> None:
        self._encoding = False
        if self._closed:
            return
        try:
            self.file_grid = Grid.from_engine(answer["shape"], answer["spacing"], answer["origin"], answer["direction"])
        except (KeyError, TypeError, ValueError):
            self.failed.emit(WorkerError("internal", _("The engine does not tell the grid of the image: update it.")))
            return
        self.ready_changed.emit(True)
        if self._outdated:
            self.ask()

    def _on_encode_error(self, error: WorkerError) -> None:
        self._encoding = self._outdated = False
        if not self._closed and not error.cancelled:
            self.failed.emit(error)

    def _on_answer(self, number: int, output: Path, given: Path | None, answer: Event) -> None:
        self._busy = False
        try:
            if number == self._number and not self._closed:
                patch = Patch.empty(self._volume_grid)
                if answer.get("box") is not None:
                    patch = read_patch(output, self._volume_grid)
                self.answered.emit(patch, answer)
        except MaskFileError as error:
            self.failed.emit(WorkerError("volume", str(error)))
        finally:
            _discard(output, given)
        if self._outdated:
            self.ask()

    def _on_error(self, number: int, given: Path | None, error: WorkerError) -> None:
        self._busy = False
        _discard(given)
        if number == self._number and not self._closed and not error.cancelled:
            self.failed.emit(error)
        if self._outdated and error.kind != "crashed":
            self.ask()


def box_of(corners: np.ndarray, grid: Grid) -> tuple[int, int, int, int, int, int] | None:
    """(k0, j0, i0, k1, j1, i1), half-open: the voxels of ``grid`` that hold the (n, 3) RAS corners and all between.

    None when no voxel of the grid is among them.
    """
    import numpy as np

    index = grid.to_kji(corners)
    # A voxel reaches half a voxel around its center; faces that lie on a border, up to rounding, do not take one more.
    lower = np.clip(np.floor(index.min(axis=0) + 0.5 + 1e-6), 0, grid.shape).astype(int)
    upper = np.clip(np.ceil(index.max(axis=0) + 0.5 - 1e-6), 0, grid.shape).astype(int)
    if (lower >= upper).any():
        return None
    k0, j0, i0 = (int(value) for value in lower)
    k1, j1, i1 = (int(value) for value in upper)
    return k0, j0, i0, k1, j1, i1


def widened(patch: Patch) -> Patch:
    """The patch with two voxels or more along every axis: files of a single slice are not read as volumes."""
    start, stop = [], []
    for first, size, limit in zip(patch.start, patch.voxels.shape, patch.grid.shape, strict=True):
        begin = max(0, min(first, limit - 2))
        start.append(begin)
        stop.append(max(begin + 2, first + size))
    k, j, i = (slice(a, b) for a, b in zip(start, stop, strict=True))
    return Patch(patch.grid, (k.start, j.start, i.start), patch.within((k, j, i)))


def _discard(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)
