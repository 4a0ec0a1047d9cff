"""Brings what the engine needs into the Python of Slicer: PyTorch by its extension, the rest by slicer.packaging.

Nothing here asks the user, except Slicer's own dialogs for a restart; ``SetupPanel`` asks before.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import slicer

from .i18n import _
from .python_finder import VARIABLE, PythonProbe

# What packages take on the disk, in megabytes: torch for CPU (with CUDA several times as much), all others together.
TORCH_MEGABYTES, OTHERS_MEGABYTES = 1000, 200
# Packages that Slicer itself uses, and torch, must not be exchanged by installing others.
_KEPT = ("numpy", "scipy", "SimpleITK", "torch", "torchvision", "requests")
_PIP_NAMES = {"skimage": "scikit-image"}


class InstallationError(Exception):
    """Why it did not work and what to do, for the user.

    extension  whether Slicer's extension PyTorch has to come first
    """

    def __init__(self, text: str, *, extension: bool = False) -> None:
        super().__init__(text)
        self.extension = extension


def consent_text(probe: PythonProbe) -> str:
    """What will be installed, how large it is and where it goes; to be agreed to."""
    torch = "torch" in probe.missing
    size = OTHERS_MEGABYTES + (TORCH_MEGABYTES if torch else 0)
    if len(probe.missing) == 1:
        what = _("SemiSAM+ needs the package {packages} in the Python of Slicer.")
        where = _("It is downloaded from the Python package index and takes about {size} MB in {place}.")
    else:
        what = _("SemiSAM+ needs these packages in the Python of Slicer: {packages}.")
        where = _("They are downloaded from the Python package index and take about {size} MB in {place}.")
    lines = [
        what.format(packages=", ".join(probe.missing)),
        where.format(size=size, place=probe.site or _("the folder of Slicer")),
    ]
    if torch:
        lines.append(_("With an NVIDIA GPU, PyTorch takes up to 7 GB."))
    free = _free_megabytes(probe.site)
    if free is not None and free < 2 * size:
        lines.append(_("Only {free} MB are free there.").format(free=free))
    lines.append(_("After that SemiSAM+ works offline; nothing leaves this computer. Install now?"))
    return "\n".join(lines)


def install(probe: PythonProbe, requirements: Path) -> None:
    """Install what ``probe`` lacks. Returns when pip has ended. Raises InstallationError."""
    try:
        if "torch" in probe.missing:
            _install_torch(probe)
        others = [name for name in probe.missing if name != "torch"]
        broken = [name for name in others if name not in _KEPT and (probe.versions or {}).get(name) == "broken"]
        _remove_remains(Path(probe.site), broken)
        if others:
            _install_others(requirements, others)
    except InstallationError:
        raise
    except Exception as error:  # pip, the extension and the network fail in many ways
        text = _(
            "The installation failed ({reason}). Check the internet connection and the room on the disk, and press "
            "Install again; or set {variable} to a Python that has the packages."
        )
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise InstallationError(text.format(reason=reason, variable=VARIABLE)) from error


def can_install_extension() -> bool:
    """Whether this Slicer has an extensions manager."""
    # Asked by dir: a Slicer that was built without it has no such name.
    return "extensionsManagerModel" in dir(slicer.app)


def install_extension() -> None:
    """Get the extension PyTorch; it is there after a restart. Raises InstallationError."""
    model = slicer.app.extensionsManagerModel()
    model.interactive = False  # no questions of its own; and no restart (False below), which we ask for
    if not model.installExtensionFromServer("PyTorch", False):
        raise InstallationError(
            _('The extension "PyTorch" could not be installed: check the internet connection, or install a file.')
        )


def _install_torch(probe: PythonProbe) -> None:
    """Through the extension PyTorch, which knows the right build for this computer."""
    try:
        import PyTorchUtils
    except ImportError as error:
        text = _('PyTorch comes with Slicer\'s extension "PyTorch", which is not installed.')
        raise InstallationError(text, extension=True) from error
    if (probe.versions or {}).get("torch") == "broken":
        _remove_remains(Path(probe.site), ("torch", "torchvision"))
    # Some versions give None when the user declines, all raise when pip fails.
    if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False) is None:
        raise InstallationError(_("PyTorch was not installed."))


def _remove_remains(site: Path, packages: Iterable[str]) -> None:
    """Half an installation makes pip and the extension believe that all is there, so it goes first."""
    for package in packages:
        distribution = _PIP_NAMES.get(package, package).replace("-", "_")
        for path in (site / package, *site.glob(f"{distribution}-*.dist-info")):
            if not path.is_dir():
                continue
            try:
                shutil.rmtree(path)
            except OSError as error:
                text = _(
                    "{folder} is what a broken installation left, and cannot be removed: close Slicer and remove it."
                )
                raise InstallationError(text.format(folder=path)) from error


def _install_others(requirements: Path, missing: Iterable[str]) -> None:
    wanted = [_PIP_NAMES.get(name, name) for name in missing]
    with tempfile.TemporaryDirectory(prefix="SemiSAMPlus-") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(_versions(name for name in _KEPT if name not in wanted)), "utf-8")
        try:
            from slicer import packaging
        except ImportError:  # Slicer before 5.12
            slicer.util.pip_install(f'-r "{requirements}" -c "{constraints}"')
            return
        needed: list[Any] = [str(requirement) for requirement in packaging.load_requirements(str(requirements))]
        named = {text.lower() for text in needed}
        needed += [name for name in wanted if not any(text.startswith(name.lower()) for text in named)]
        packaging.pip_ensure(needed, constraints=str(constraints), prompt_install=False, requester="SemiSAM+")


def _versions(names: Iterable[str]) -> list[str]:
    """The installed ones among ``names``, as constraints for pip; nothing is imported."""
    found = []
    for name in names:
        try:
            found.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _free_megabytes(folder: str) -> int | None:
    try:
        return shutil.disk_usage(folder).free // 1_000_000
    except OSError:
        return None
