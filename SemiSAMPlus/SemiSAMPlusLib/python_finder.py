"""Which Python runs the engine, and whether it can.

The rule: the Python of Slicer (``PythonSlicer``) where it exists and has the engine's packages, else the one that the
environment variable ``SEMISAMPLUS_PYTHON`` names, for computers that keep torch elsewhere. Nothing is imported here:
each candidate is started once and looks by itself.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .i18n import _
from .process import Launch, ProcessFactory, Scheduler, Timer
from .signals import call_safely

VARIABLE = "SEMISAMPLUS_PYTHON"
PACKAGES = ("torch", "monai", "numpy", "SimpleITK", "scipy", "skimage", "safetensors")
PROBE_SECONDS, THOROUGH_SECONDS = 60.0, 240.0
_OLDEST = (3, 11)

# Looks without importing, because torch takes seconds; after an installation (thorough) it does import. Metadata and
# folder are both asked for, since a broken installation of torch often leaves one of them behind. PythonSlicer is a
# launcher, and one that does not pass its standard input on is of no use: the engine would hear nothing.
_PROBE = """
import importlib, importlib.metadata as metadata, importlib.util as util, json, os, sys, sysconfig, threading
found, reasons, heard = {}, {}, []
listening = threading.Thread(target=lambda: heard.append(sys.stdin.readline()), daemon=True)
listening.start()
for name in sys.argv[2:]:
    try:
        spec = util.find_spec(name)
    except Exception:
        spec = None
    there = spec is not None and spec.origin is not None
    try:
        distribution = metadata.distribution({"skimage": "scikit-image"}.get(name, name))
        version, whole = distribution.version or "unknown", distribution.files is not None
    except Exception:
        version, whole = "", False
    if name == "torch" and (there or spec is not None or version) and not (there and version and whole):
        found[name] = "broken"
    else:
        found[name] = (version or "unknown") if there else ""
    if sys.argv[1] == "thorough" and found[name] not in ("", "broken"):
        try:
            importlib.import_module(name)
        except BaseException as error:
            found[name] = "broken"
            reasons[name] = (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
listening.join(5)
print("PROBE " + json.dumps({
    "hears": bool(heard and heard[0]),
    "version": sys.version_info[:3],
    "packages": found,
    "reasons": reasons,
    "site": sysconfig.get_path("purelib"),
}), flush=True)
os._exit(0)  # a thread that waits for input would hold up the end
"""


@dataclass(frozen=True)
class PythonProbe:
    """What was found out about one interpreter.

    source    "SEMISAMPLUS_PYTHON" or "PythonSlicer"
    versions  package -> version, "" where it is missing, "broken" where a part of it is
    problem   why it cannot run at all, in words; else empty
    site      the folder of its packages
    reasons   package -> why it cannot be imported, for those that are "broken", as far as that was tried
    deaf      what is written to it does not arrive
    """

    program: str
    source: str
    python: tuple[int, ...] = ()
    versions: Mapping[str, str] | None = None
    problem: str = ""
    site: str = ""
    reasons: Mapping[str, str] | None = None
    deaf: bool = False

    @property
    def missing(self) -> list[str]:
        """Packages that have to be installed, or installed again."""
        return [name for name, version in (self.versions or {}).items() if version in ("", "broken")]

    @property
    def usable(self) -> bool:
        """Whether the engine can run in it."""
        return not self.problem and self.versions is not None and not self.missing

    def text(self) -> str:
        """What is wrong with it and what to do, in words; empty when nothing is."""
        if self.problem:
            return self.problem
        if not self.missing:
            return ""
        if self.reasons:
            name, reason = next(iter(self.reasons.items()))
            text = _('{package} in "{program}" cannot be loaded ({reason}): install it again.')
            return text.format(package=name, program=self.program, reason=reason)
        if "torch" in self.missing and (self.versions or {}).get("torch") == "broken":
            text = _(
                'PyTorch in "{program}" is installed in part only: install it again with the PyTorch extension, or '
                'remove the folder "torch" of its packages first.'
            )
            return text.format(program=self.program)
        text = (
            _('"{program}" lacks {packages}: install it there, or set {variable} to a Python that has it.')
            if len(self.missing) == 1
            else _('"{program}" lacks {packages}: install them there, or set {variable} to a Python that has them.')
        )
        return text.format(program=self.program, packages=", ".join(self.missing), variable=VARIABLE)


def candidates(environment: Mapping[str, str], python_slicer: str | None = None) -> list[tuple[str, str]]:
    """(program, source) of the interpreters to be asked, in order.

    ``python_slicer`` is the path of PythonSlicer; without it, it is looked for on the search path.
    """
    found = []
    slicers = python_slicer or shutil.which("PythonSlicer", path=environment.get("PATH"))
    if slicers:
        found.append((slicers, "PythonSlicer"))
    if environment.get(VARIABLE):
        found.append((environment[VARIABLE], VARIABLE))
    return found


def engine_folder() -> Path:
    """The folder that holds the package ``semisam``: the module's own."""
    return Path(__file__).resolve().parents[1]


def engine_environment(
    source: str, current: Mapping[str, str], startup: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The variables for the engine.

    PythonSlicer is a launcher that sets what it needs. Another Python must not see Slicer's libraries, so it gets the
    environment that Slicer was started from (``startup``), or the present one without the variables that lead there.
    A Slicer that was started without its launcher has them in its start-up environment, too.
    """
    if startup is not None and "PYTHONHOME" in startup:
        startup = None
    if source == "PythonSlicer":
        result = dict(current)
        paths = [result.get("PYTHONPATH", "")]
    else:
        result = dict(startup if startup is not None else current)
        hidden = ["PYTHONHOME", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "QT_PLUGIN_PATH"]
        for name in hidden if startup is None else ():
            result.pop(name, None)
        paths = [] if startup is None else [result.get("PYTHONPATH", "")]
    result["PYTHONPATH"] = os.pathsep.join(part for part in (str(engine_folder()), *paths) if part)
    result["PYTHONIOENCODING"] = "utf-8"
    result["PYTHONUNBUFFERED"] = "1"
    # Found in the GUI's environment, these would make the child wait for a debugger or write into the module's folder.
    result.pop("PYTHONINSPECT", None)
    result["PYTHONDONTWRITEBYTECODE"] = "1"
    return result


def slicer_environments() -> tuple[dict[str, str], dict[str, str] | None]:
    """(present environment, start-up environment or None) of the running Slicer."""
    import slicer

    startup = None
    if hasattr(slicer, "app"):
        startup = {str(name): str(value) for name, value in slicer.util.startupEnvironment().items()}
    return dict(os.environ), startup


def engine_launch(probe: PythonProbe, arguments: Sequence[str], environment: Mapping[str, str]) -> Launch:
    """How to start a command of the engine, such as ("worker", folder), in a probed interpreter."""
    # -P: a file torch.py in the folder that we happen to be in is not torch.
    return Launch(probe.program, ("-P", "-m", "semisam", *arguments), dict(environment))


class PythonFinder:
    """Asks the candidates one after the other, each in a child process, until one is usable.

    Usage::

        finder = PythonFinder(QtProcess, QtScheduler(), *slicer_environments())
        finder.find(on_found=lambda probe: start(probe), on_nothing=lambda text, probes: show(text))
    """

    def __init__(
        self,
        make_process: ProcessFactory,
        scheduler: Scheduler,
        current: Mapping[str, str],
        startup: Mapping[str, str] | None = None,
        *,
        python_slicer: str | None = None,
    ) -> None:
        self._make_process = make_process
        self._scheduler = scheduler
        self._current = current
        self._startup = startup
        self._python_slicer = python_slicer
        self._thorough = False

    def environment(self, probe: PythonProbe) -> dict[str, str]:
        """The variables for the engine in this interpreter."""
        return engine_environment(probe.source, self._current, self._startup)

    def find(
        self,
        on_found: Callable[[PythonProbe], None],
        on_nothing: Callable[[str, list[PythonProbe]], None],
        *,
        thorough: bool = False,
    ) -> None:
        """Look for an interpreter; one of the callbacks is called later, from the event loop.

        ``on_nothing`` gets a text for the user, and the probes, whose ``missing`` tells what to install. ``thorough``
        imports the packages, which takes seconds but finds what is installed and does not work.
        """
        self._thorough = thorough
        self._next(candidates(self._current, self._python_slicer), [], on_found, on_nothing)

    @property
    def thorough(self) -> bool:
        """Whether the search of the moment imports the packages."""
        return self._thorough

    def _next(
        self,
        remaining: Sequence[tuple[str, str]],
        probes: list[PythonProbe],
        on_found: Callable[[PythonProbe], None],
        on_nothing: Callable[[str, list[PythonProbe]], None],
    ) -> None:
        if not remaining:
            self._scheduler.call_later(0, lambda: call_safely(on_nothing, _summary(probes), probes))
            return
        program, source = remaining[0]

        def probed(probe: PythonProbe) -> None:
            behind = _behind_launcher(program) if probe.deaf else None
            if probe.usable:
                call_safely(on_found, probe)
            elif behind is not None:
                self._next([(behind, source), *remaining[1:]], probes, on_found, on_nothing)
            else:
                self._next(remaining[1:], [*probes, probe], on_found, on_nothing)

        _Probing(self, program, source, probed).start(self._make_process, self._scheduler)


class _Probing:
    """One interpreter being asked; a listener of its process."""

    def __init__(self, finder: PythonFinder, program: str, source: str, done: Callable[[PythonProbe], None]) -> None:
        self._finder = finder
        self._program = program
        self._source = source
        self._done: Callable[[PythonProbe], None] | None = done
        self._output = b""
        self._errors = b""
        self._deadline: Timer | None = None

    def start(self, make_process: ProcessFactory, scheduler: Scheduler) -> None:
        process = make_process()
        environment = self._finder.environment(PythonProbe(self._program, self._source))

        def too_slow() -> None:
            process.kill()
            text = _('"{program}" does not answer.').format(program=self._program)
            self._tell(PythonProbe(self._program, self._source, problem=text))

        way = "thorough" if self._finder.thorough else "quick"
        self._deadline = scheduler.call_later(THOROUGH_SECONDS if self._finder.thorough else PROBE_SECONDS, too_slow)
        process.start(Launch(self._program, ("-c", _PROBE, way, *PACKAGES), environment), self)
        process.write(b"Do you hear me?\n")

    def on_output(self, data: bytes) -> None:
        self._output += data

    def on_error_output(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-2000:]

    def on_start_failed(self, reason: str) -> None:
        text = _('"{program}" ({source}) cannot be started ({reason}): correct the path.')
        text = text.format(program=self._program, source=self._source, reason=reason)
        self._tell(PythonProbe(self._program, self._source, problem=text))

    def on_finished(self, exit_code: int, crashed: bool) -> None:
        for line in self._output.decode("utf-8", "replace").splitlines():
            if line.startswith("PROBE "):
                try:
                    self._tell(self._read(json.loads(line[6:])))
                    return
                except (ValueError, KeyError, TypeError):
                    break
        words = self._errors.decode("utf-8", "replace").strip().splitlines()
        text = _('"{program}" ({source}) is no Python that works: {words}')
        last = words[-1] if words else _("it says nothing")
        text = text.format(program=self._program, source=self._source, words=last)
        self._tell(PythonProbe(self._program, self._source, problem=text))

    def _read(self, answer: dict) -> PythonProbe:
        python = tuple(int(part) for part in answer["version"])
        versions = {str(name): str(version) for name, version in answer["packages"].items()}
        deaf, problem = answer.get("hears") is False, ""
        if deaf:
            problem = _('"{program}" hears nothing of what is written to it: set {variable} to another Python.')
            problem = problem.format(program=self._program, variable=VARIABLE)
        if python < _OLDEST:
            problem = _('"{program}" is Python {version}; the engine needs {oldest} or newer.').format(
                program=self._program,
                version=".".join(map(str, python)),
                oldest=".".join(map(str, _OLDEST)),
            )
        reasons = {str(name): str(reason) for name, reason in answer.get("reasons", {}).items()}
        site = str(answer.get("site", ""))
        return PythonProbe(self._program, self._source, python, versions, problem, site, reasons, deaf)

    def _tell(self, probe: PythonProbe) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        done, self._done = self._done, None
        if done is not None:
            done(probe)


def _summary(probes: Sequence[PythonProbe]) -> str:
    if not probes:
        text = _(
            "No Python was found for the engine: neither PythonSlicer nor the environment variable {variable} leads to "
            "one. Set {variable} to a Python that has {packages}."
        )
        return text.format(variable=VARIABLE, packages=", ".join(PACKAGES))
    return "\n".join(probe.text() for probe in probes)


def _behind_launcher(program: str) -> str | None:
    """The interpreter that a PythonSlicer starts; the environment of the running Slicer has what it needs."""
    real = Path(program).with_name("python-real" + Path(program).suffix)
    return str(real) if real.is_file() else None


def python_slicer_path() -> str | None:
    """The PythonSlicer of the running Slicer, or None. It lies beside the application, or in its ``bin`` folder."""
    import slicer

    home = getattr(getattr(slicer, "app", None), "slicerHome", None)
    if not home:
        return None
    name = "PythonSlicer.exe" if sys.platform == "win32" else "PythonSlicer"
    for folder in (Path(home) / "bin", Path(home)):
        if (folder / name).is_file():
            return str(folder / name)
    return shutil.which("PythonSlicer")
