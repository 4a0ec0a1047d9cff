"""First use: says what the engine lacks, and installs it after asking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer

from ..i18n import _
from ..process import Launch
from ..python_finder import PythonFinder, PythonProbe, engine_launch

# A CPU build of torch with what it needs, and the small packages beside it, in megabytes.
_TORCH_MEGABYTES, _OTHERS_MEGABYTES = 900, 150


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
        ui.setupCheckButton.connect("clicked(bool)", self.look)
        self._show(_("Looking for the Python of the engine..."), installable=False)

    @property
    def ready(self) -> bool:
        """Whether the engine can be started."""
        return self._probe is not None

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

    def look(self, checked: bool = False) -> None:
        """Ask the interpreters; the answer comes later."""
        if not self._looking:
            self._looking = True
            self._finder.find(self._on_found, self._on_nothing)

    def _on_found(self, probe: PythonProbe) -> None:
        self._looking = False
        self._probe = probe
        self._ui.setupFrame.visible = False
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()

    def _on_nothing(self, text: str, probes: list[PythonProbe]) -> None:
        self._looking = False
        self._probes = probes
        inside = [probe for probe in probes if probe.source == "PythonSlicer" and not probe.problem]
        self._show(text, installable=bool(inside))

    def _show(self, text: str, installable: bool) -> None:
        self._ui.setupFrame.visible = True
        self._ui.setupLabel.text = text
        self._ui.setupButton.visible = installable

    def _on_install(self, checked: bool = False) -> None:
        missing = [name for probe in self._probes if probe.source == "PythonSlicer" for name in probe.missing]
        size = _OTHERS_MEGABYTES + (_TORCH_MEGABYTES if "torch" in missing else 0)
        text = _(
            "SemiSAM+ needs {packages} in the Python of Slicer: about {size} MB from the Python package index. "
            "After that it works offline; nothing leaves this computer. Install now?"
        )
        if not slicer.util.confirmOkCancelDisplay(text.format(packages=", ".join(missing), size=size)):
            return
        try:
            if "torch" in missing:
                self._install_torch()
            from slicer import packaging

            packaging.pip_ensure(
                packaging.load_requirements(str(self._requirements)), requester="SemiSAM+", prompt_install=False
            )
        except ImportError:
            slicer.util.pip_install(f'-r "{self._requirements}"')  # Slicer before 5.12
        except Exception as error:
            self._show(_("The installation failed: {reason}").format(reason=error), installable=True)
            return
        self.look()

    @staticmethod
    def _install_torch() -> None:
        """Through the extension PyTorch, which knows the right build for this computer."""
        try:
            import PyTorchUtils
        except ImportError as error:
            text = _('install the extension "PyTorch" with the Extensions Manager first, then restart Slicer')
            raise RuntimeError(text) from error
        if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False) is None:
            raise RuntimeError(_("PyTorch was not installed"))
