"""Learn: one button that becomes Stop, what is about to happen in words, progress, trust, curves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from ..buttons import allow, describe
from ..curves import LearningCurves
from ..i18n import _
from ..jobs import TrainingOptions
from ..project_session import ProjectSession
from ..signals import Signal
from ..training import TrainingState
from .panel import Panel

# Curves and the table of trust are drawn again at most this often.
_DRAW_MILLISECONDS = 1000


class LearnPanel(Panel):
    """Wires the widgets of the section "Learn".

    ui       the widgets by name
    options  the choices of the user, made anew when training begins
    device   the device in words, asked of the engine when it started ("CPU, 2 cores")
    """

    def __init__(self, ui: Any, options: Callable[[], TrainingOptions], device: Callable[[], str]) -> None:
        super().__init__(ui)
        self._options, self._device = options, device
        self._curves = LearningCurves()
        self._log: list[str] = []
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DRAW_MILLISECONDS)
        self._timer.connect("timeout()", self._draw)
        ui.learnButton.connect("clicked(bool)", self._on_learn)
        ui.showCurvesButton.connect("clicked(bool)", self._on_curves)
        ui.showLogButton.connect("clicked(bool)", self._on_log)
        ui.trustTable.setEditTriggers(qt.QTableWidget.NoEditTriggers)
        self._layouts = slicer.app.layoutManager()  # None without a main window
        self._follow_layout = lambda *arguments: self._on_layout()
        if self._layouts is not None:
            self._layouts.connect("layoutChanged(int)", self._follow_layout)
        self.show()

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        if self._session is not None:
            self._session.jobs.logged.disconnect(self._on_logged)
        self._log.clear()
        self._curves.clear()
        if session is not None:
            session.jobs.logged.connect(self._on_logged)
        super().set_session(session)
        self._draw()

    def close(self) -> None:
        """Before the widget goes away."""
        self._timer.stop()
        if self._layouts is not None:
            self._layouts.disconnect("layoutChanged(int)", self._follow_layout)
        self.set_session(None)

    def show(self) -> None:
        """Bring button, texts and progress up to date."""
        ui, session = self._ui, self._session
        annotated = 0 if self._opened is None else self._opened.cases.annotated
        state = session.jobs.training.state if session is not None else TrainingState.IDLE
        active = session is not None and session.jobs.training.active
        ui.learnButton.text = _("Stop") if active else _("Learn")
        if active:
            describe(ui.learnButton, _("Stop training; what it has learned is kept, and Learn goes on from there"))
        else:
            describe(
                ui.learnButton,
                _("Train on the annotated and the other cases, then propose masks; you can go on working meanwhile"),
            )
        allow(ui.learnButton, self._why_not_learn(annotated, state))
        ui.learnSummaryLabel.text = self._summary(annotated)
        ui.learnProgressBar.visible = active
        if session is not None:
            ui.learnProgressBar.value = round(100 * session.jobs.training.fraction)
        ui.learnStatusLabel.text = self._status()
        self._show_curves_button()
        self._allow_log()

    def _show_curves_button(self) -> None:
        trained = self._session is not None and bool(self._session.jobs.training.history)
        allow(self._ui.showCurvesButton, None if trained else _("There was no training yet"))
        self._ui.showCurvesButton.checked = self._curves.visible

    def _allow_log(self) -> None:
        allow(self._ui.showLogButton, None if self._log else _("The engine has reported nothing yet"))

    def _summary(self, annotated: int) -> str:
        if self._session is None or self._opened is None:
            return _("Open a project first.")
        if annotated == 0:
            first = self._opened.cases.first_to_annotate()
            if first is None:
                return _("Annotate at least one case, then press Learn.")
            return _("Annotate {case} first, for it is most like the others; then press Learn.").format(case=first.name)
        others = len(self._session.cases) - annotated
        minutes = f"{self._options().minutes or 10.0:g}"
        one, many = _("{annotated} annotated and 1 other case"), _("{annotated} annotated and {others} other cases")
        time = _("1 minute") if minutes == "1" else _("{minutes} minutes")
        return _("{cases}, {time}, on {device}.").format(
            cases=(one if others == 1 else many).format(annotated=annotated, others=others),
            time=time.format(minutes=minutes),
            device=self._device(),
        )

    def _why_not_learn(self, annotated: int, state: TrainingState) -> str | None:
        if state is TrainingState.STOPPING:
            return _("Training is stopping already")
        if state in (TrainingState.STARTING, TrainingState.TRAINING):
            return self._why_not()
        return self._why_not(writes=True) or (None if annotated else _("At least one annotated case is needed"))

    def _status(self) -> str:
        if self._session is None:
            return ""
        training = self._session.jobs.training
        if training.state is TrainingState.FAILED and training.problem is not None:
            return training.problem.text
        if training.state is TrainingState.STARTING:
            return _("Getting ready...")
        if training.state is TrainingState.STOPPING:
            return _("Stopping...")
        if training.state is TrainingState.TRAINING:
            if training.seconds_left is None:
                return training.text
            return _("{text}; {left} left").format(text=training.text, left=duration(training.seconds_left))
        if training.paused:
            return _("Paused. Learn goes on from there.")
        waiting = 0 if self._opened is None else self._opened.cases.counts().get("proposed", 0)
        return _("Proposals that wait for you under Review: {count}.").format(count=waiting) if waiting else ""

    def _on_learn(self, checked: bool = False) -> None:
        if self._session is None:
            return
        if self._session.jobs.training.active:
            self._session.jobs.stop_training()
            return
        question = self._what_is_given_up()
        if question is None or slicer.util.confirmOkCancelDisplay(question):
            self._session.jobs.train(self._options())

    def _what_is_given_up(self) -> str | None:
        """A question where the choices under "Advanced" give up a network that has learned."""
        session, options = self._session, self._options()
        before = None if session is None or session.model is None else session.learned_with
        if before is None or (options.network, options.spacing) == (before.network, before.spacing):
            return None
        size = _("voxels of {spacing} mm").format(spacing=f"{before.spacing:g}")
        return _(
            "This project has learned with {network} and {size}. Network or voxel size are others now, so learning "
            "starts anew; the model that there is goes to the folder models/previous of the project."
        ).format(network=before.network, size=size if before.spacing else _("voxels chosen from the data"))

    def _on_curves(self, checked: bool = False) -> None:
        self._draw()
        if self._curves.visible:
            self._curves.hide()
        else:
            self._curves.show()
        self._show_curves_button()

    def _on_layout(self) -> None:
        self._show_curves_button()
        # Whose chart the plot shows is decided only after that.
        if not self._timer.active:
            self._timer.start()

    def _on_log(self, checked: bool = False) -> None:
        slicer.util.infoDisplay(_("What the engine reported:"), detailedText="\n".join(self._log))

    def _on_logged(self, text: str) -> None:
        self._log.append(text)
        del self._log[:-1000]
        self._allow_log()

    def _signals(self, session: ProjectSession) -> tuple[Signal, ...]:
        return (*super()._signals(session), session.jobs.training.changed)

    def _on_changed(self, *arguments: Any) -> None:
        super()._on_changed()
        if not self._timer.active:
            self._timer.start()

    def _draw(self) -> None:
        if self._session is None:
            self._ui.trustTable.setRowCount(0)
            return
        training = self._session.jobs.training
        self._curves.update(training)
        self._show_curves_button()
        self._show_trust(training.trust)

    def _show_trust(self, trust: dict[str, dict[str, float]]) -> None:
        table = self._ui.trustTable
        segments = list(dict.fromkeys(name for values in trust.values() for name in values))
        table.visible = bool(trust)
        table.setRowCount(len(trust))
        table.setColumnCount(len(segments))
        table.setHorizontalHeaderLabels(segments)
        names = list(trust)
        table.setVerticalHeaderLabels(names)
        for row, values in enumerate(trust.values()):
            for column, segment in enumerate(segments):
                value = values.get(segment, 0.0)
                item = qt.QTableWidgetItem(trust_words(value))
                item.setToolTip(
                    _("{generalist} with {segment}: {value} of 1").format(
                        generalist=names[row], segment=segment, value=f"{value:.2f}"
                    )
                )
                table.setItem(row, column, item)


def trust_words(value: float) -> str:
    """The trust in a generalist, 0 to 1, in words."""
    if value <= 0.0:
        return _("not used")
    if value < 0.34:
        return _("a little")
    return _("partly") if value < 0.67 else _("much")


def duration(seconds: float) -> str:
    """For example "2 min 30 s" or "1 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return _("{seconds} s").format(seconds=whole)
    if whole < 3600:
        return _("{minutes} min {seconds:02d} s").format(minutes=whole // 60, seconds=whole % 60)
    return _("{hours} h {minutes:02d} min").format(hours=whole // 3600, minutes=whole % 3600 // 60)
