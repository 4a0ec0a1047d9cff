"""First use: says what the engine lacks, and installs it after asking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer

from ..buttons import allow
from ..i18n import _
from ..installation import InstallationError, can_install_extension, consent_text, install, install_extension
from ..process import Launch
from ..python_finder import PythonFinder, PythonProbe, engine_launch

# Kept while an installation is under way, so that it goes on after a restart or a crash.
PENDING_KEY = "SemiSAMPlus/InstallationPending"


class SetupPanel:
    """Wires the frame at the top of the panel, which is hidden once the engine can run.

    requirements  the file requirements.txt
    """

    def __init__(self, ui: Any, finder: PythonFinder, requirements: Path) -> None:
        self._ui, self._finder, self._requirements = ui, finder, requirements
        self._looking = False
        self._waiting: list[Callable[[], None]] = []
        self._probe: PythonProbe | None = None
        self._probes: list[PythonProbe] = []
        ui.setupButton.connect("clicked(bool)", self._on_install)
        ui.setupCheckButton.connect("clicked(bool)", self._on_check)
        self._show(_("Looking for the Python of the engine..."), installable=False)

    @property
    def ready(self) -> bool:
        """Whether the engine can be started."""
        return self._probe is not None

    @property
    def looking(self) -> bool:
        """Whether interpreters are being asked."""
        return self._looking

    def launch(self, arguments: Sequence[str]) -> Launch:
        """How to start a command of the engine; only when ``ready``."""
        assert self._probe is not None
        return engine_launch(self._probe, arguments, self._finder.environment(self._probe))

    def when_ready(self, action: Callable[[], None]) -> None:
        """Do it now, or as soon as the engine can be started."""
        if self.ready:
            action()
            return
        self._waiting.append(action)
        self.look()

    def forget_waiting(self) -> None:
        """Nothing is wanted any more."""
        self._waiting.clear()

    def look(self, *, thorough: bool = False) -> None:
        """Ask the interpreters; the answer comes later. ``thorough`` also imports their packages."""
        if not self._looking:
            self._looking = True
            thorough = thorough or bool(qt.QSettings().value(PENDING_KEY))  # which may have ended half way
            allow(self._ui.setupCheckButton, _("The Python of the engine is being looked for"))
            self._finder.find(self._on_found, self._on_nothing, thorough=thorough)

    def _on_check(self, checked: bool = False) -> None:
        # Somebody who presses this has changed something.
        self._show(_("Looking for the Python of the engine..."), installable=False)
        self.look(thorough=True)

    def _on_found(self, probe: PythonProbe) -> None:
        self._looking = False
        allow(self._ui.setupCheckButton, None)
        self._probe = probe
        self._ui.setupFrame.visible = False
        qt.QSettings().remove(PENDING_KEY)
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()

    def _on_nothing(self, text: str, probes: list[PythonProbe]) -> None:
        self._looking = False
        allow(self._ui.setupCheckButton, None)
        self._probes = probes
        if self._installable() is not None:
            pending = qt.QSettings().value(PENDING_KEY)
            unfinished = _("The installation is not finished: press Install to go on.")
            text = (unfinished if pending else _("SemiSAM+ needs more packages: press Install.")) + "\n" + text
        self._show(text, installable=self._installable() is not None)

    def _installable(self) -> PythonProbe | None:
        """Slicer's own Python, if it works and lacks something. Another one is the business of who set it up."""
        return next((probe for probe in self._probes if probe.source == "PythonSlicer" and not probe.problem), None)

    def _show(self, text: str, installable: bool) -> None:
        self._ui.setupFrame.visible = True
        self._ui.setupLabel.text = text
        self._ui.setupButton.visible = installable

    def _on_install(self, checked: bool = False) -> None:
        probe = self._installable()
        if probe is None or not slicer.util.confirmOkCancelDisplay(consent_text(probe), _("Install packages")):
            return
        qt.QSettings().setValue(PENDING_KEY, True)
        self._ui.setupButton.enabled = self._ui.setupCheckButton.enabled = False
        self._show(_("Installing... This takes some minutes."), installable=True)
        try:
            install(probe, self._requirements)
        except InstallationError as error:
            self._show(str(error), installable=True)
            if error.extension:
                self._get_extension(error)
            return
        finally:
            self._ui.setupButton.enabled = self._ui.setupCheckButton.enabled = True
        self._show(_("Checking what was installed..."), installable=False)
        self.look(thorough=True)

    def _get_extension(self, error: InstallationError) -> None:
        if not can_install_extension():
            text = _("{problem} Install it with the Extensions Manager, restart Slicer, and press Install again.")
            self._show(text.format(problem=error), installable=True)
            return
        text = _("{problem} Install it now? Slicer has to restart then; the installation goes on after that.")
        if not slicer.util.confirmYesNoDisplay(text.format(problem=error)):
            return
        try:
            install_extension()
        except InstallationError as problem:
            self._show(str(problem), installable=True)
            return
        self._show(_("Restart Slicer, then press Install to go on."), installable=False)
        if slicer.util.confirmYesNoDisplay(_("Restart Slicer now? Save your scene first if you need it.")):
            slicer.util.restart()
