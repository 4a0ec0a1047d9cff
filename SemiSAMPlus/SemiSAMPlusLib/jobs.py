"""The long jobs of a project: training, proposals, segmenting other images, the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .signals import Signal, call_safely
from .training import TrainingMonitor, TrainingState
from .worker_client import ErrorCallback, EventCallback, WorkerRequest, WorkerState
from .worker_messages import Event, Hello, WorkerError


class Client(Protocol):
    """What a session needs of ``WorkerClient``."""

    state: WorkerState
    state_changed: Signal
    problem: WorkerError | None
    hello: Hello | None

    def start(self) -> None: ...

    def restart(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self, *, jobs_may_save: bool = False) -> None: ...

    def cancel(self, request: WorkerRequest) -> None: ...

    def request(
        self,
        name: str,
        fields: dict[str, Any] | None = None,
        *,
        on_event: EventCallback | None = None,
        on_done: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest: ...


@dataclass(frozen=True)
class TrainingOptions:
    """Options of training; None leaves the choice to the engine. ``minutes`` or ``steps``, not both."""

    minutes: float | None = None
    steps: int | None = None
    framework: str | None = None
    network: str | None = None
    spacing: float | None = None
    generalist: str | None = None
    seed: int | None = None
    device: str | None = None
    fresh: bool | None = None


@dataclass(frozen=True)
class LearnedWith:
    """What was chosen for the network that has learned; with another choice, training begins anew.

    spacing  mm of the voxels that it works on; 0 chosen from the data
    """

    network: str
    spacing: float

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> LearnedWith | None:
        """As the answer to ``open`` has it; None before the first training."""
        return cls(str(data["network"]), float(data["spacing"])) if data else None


class ProjectJobs:
    """Starts and follows the jobs of one project.

    on_proposal  called with the name of a case whose proposal has just been written
    on_trained   called after a training that came to its end

    Signals: ``training.changed()``, see ``TrainingMonitor``; ``logged(str)``, what jobs have to say;
    ``failed(WorkerError)``, a job without an ``on_error`` of its own went wrong (not training: its monitor tells).
    """

    def __init__(self, client: Client, on_proposal: Callable[[str], None], on_trained: Callable[[], None]) -> None:
        self._client = client
        self._on_proposal = on_proposal
        self._on_trained = on_trained
        self.training = TrainingMonitor()
        self.logged = Signal()
        self.failed = Signal()

    def close(self) -> None:
        """Emit nothing any more."""
        for signal in (self.training.changed, self.logged, self.failed):
            signal.disconnect_all()

    # Training ---------------------------------------------------------------------------------------------------------

    def train(self, options: TrainingOptions) -> None:
        """Begin to learn; nothing happens while training runs."""
        self._begin("train", {name: value for name, value in vars(options).items() if value is not None})

    def resume(self) -> None:
        """Go on after ``stop_training(pause=True)``."""
        self._begin("resume", {})

    def stop_training(self, *, pause: bool = False) -> None:
        """Ask training to end within seconds. What it has learned is kept; after a pause ``resume`` goes on."""
        if self.training.go(TrainingState.STOPPING):
            self._client.request("pause" if pause else "stop", {}, on_error=self.failed.emit)

    def _begin(self, request: str, fields: dict[str, Any]) -> None:
        if self.training.go(TrainingState.STARTING):
            self._client.request(
                request,
                fields,
                on_event=self._on_training_event,
                on_done=self._on_training_done,
                on_error=self.training.fail,
            )

    def _on_training_event(self, event: Event) -> None:
        self._on_event(event)
        self.training.take(event)

    def _on_training_done(self, answer: Event) -> None:
        self.training.finish(answer)
        call_safely(self._on_trained)

    # The others -------------------------------------------------------------------------------------------------------

    def propose(
        self,
        *,
        on_event: EventCallback | None = None,
        on_done: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Write a proposal for every case without a finished annotation."""
        return self._run("propose", {}, on_event, on_done, on_error)

    def segment(
        self,
        images: Sequence[Path],
        output: Path,
        *,
        on_event: EventCallback | None = None,
        on_done: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Segment images with the project's model, into the folder ``output``.

        A ``mask-ready`` event tells ``image``, ``mask``, ``confidence``, ... of each as soon as it is written.
        """
        fields = {"images": [str(image) for image in images], "output": output}
        return self._run("segment", fields, on_event, on_done, on_error)

    def report(self, *, on_done: EventCallback | None = None, on_error: ErrorCallback | None = None) -> WorkerRequest:
        """Write the project's report."""
        return self._run("report", {}, None, on_done, on_error)

    def export_model(
        self,
        file: Path,
        card: Mapping[str, str],
        *,
        on_done: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Write the project's model to one file. ``card`` may hold title, description and licence."""
        words = {key: text for key, text in card.items() if text.strip()}
        return self._run("export-model", {"file": file, **words}, None, on_done, on_error)

    def show_model(
        self, file: Path, *, on_done: EventCallback | None = None, on_error: ErrorCallback | None = None
    ) -> WorkerRequest:
        """What a model file holds (``text``), why it does not fit the project (``problem``), and ``replaces``."""
        return self._run("show-model", {"file": file}, None, on_done, on_error)

    def import_model(
        self,
        file: Path,
        *,
        replace: bool,
        on_done: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Use the model of a file; ``replace`` allows it to take the place of what the project has learned."""
        return self._run("import-model", {"file": file, "replace": replace}, None, on_done, on_error)

    def cancel(self, request: WorkerRequest) -> None:
        """End a job early; it then has an error of kind "cancelled"."""
        self._client.cancel(request)

    def _run(
        self,
        name: str,
        fields: dict[str, Any],
        on_event: EventCallback | None,
        on_done: EventCallback | None,
        on_error: ErrorCallback | None,
    ) -> WorkerRequest:
        def heard(event: Event) -> None:
            self._on_event(event)
            call_safely(on_event, event)

        return self._client.request(
            name, fields, on_event=heard, on_done=on_done, on_error=on_error or self.failed.emit
        )

    def _on_event(self, event: Event) -> None:
        if event["event"] == "proposal-ready":
            self._on_proposal(str(event.get("case", "")))
        elif event["event"] == "log":
            self.logged.emit(str(event.get("text", "")))
