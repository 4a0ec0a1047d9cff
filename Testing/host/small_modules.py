"""`slicer.i18n`, `slicer.packaging`, `slicer.testing` and `SampleData`, as far as a module can meet them."""

from __future__ import annotations

import importlib.metadata
import re
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

REQUIREMENT_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


def tr(text: str) -> str:
    """The text itself: the host has no translations."""
    return text


def translate(context: str, text: str) -> str:
    """The text itself: the host has no translations."""
    return text


def getContext(sourceFile: str) -> str:
    """Name of a module by its source file."""
    return Path(sourceFile).stem


@dataclass
class PackagingRecord:
    """What the module asked `slicer.packaging` to do; tests set `installed` and `declined`."""

    installed: set[str] = field(default_factory=set)
    declined: bool = False
    requests: list[tuple[str, list[str]]] = field(default_factory=list)


packaging_record = PackagingRecord()


def load_requirements(path: str | Path) -> list[Any]:
    """The lines of a requirements file that are neither empty nor a comment."""
    from packaging.requirements import Requirement

    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [Requirement(line.split("#")[0].strip()) for line in lines if line.split("#")[0].strip()]


def _as_texts(requirements: Any) -> list[str]:
    listed = requirements if isinstance(requirements, list | tuple) else str(requirements).split()
    return [str(requirement) for requirement in listed]


def pip_check(req: Any) -> bool:
    """Whether all requirements are met, by this Python or by what a test declared installed."""
    from packaging.requirements import Requirement

    for text in _as_texts(req):
        requirement = Requirement(text)
        if requirement.name.lower() in packaging_record.installed:
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if not requirement.specifier.contains(version, prereleases=True):
            return False
    return True


def pip_install(requirements: Any, blocking: bool = True, **keywords: Any) -> None:
    """Records the wish and counts the packages as installed; the host never installs anything."""
    texts = _as_texts(requirements)
    packaging_record.requests.append(("install", texts))
    for text in texts:
        name = REQUIREMENT_NAME.match(text)
        if name is not None:
            packaging_record.installed.add(name.group().lower())
    completed: Callable[[int], None] | None = keywords.get("completedCallback")
    if not blocking and completed is not None:
        import qt

        qt.QTimer.singleShot(0, lambda: completed(0))


def pip_ensure(
    requirements: Any, requester: str | None = None, skip_in_testing: bool = True, **keywords: Any
) -> list[str] | None:
    """Installs what is missing after asking; does nothing in testing mode, raises RuntimeError if declined."""
    if skip_in_testing and slicer.app.testingEnabled():
        return None
    missing = [text for text in _as_texts(requirements) if not pip_check(text)]
    if missing and packaging_record.declined:
        raise RuntimeError("User declined package installation")
    if missing:
        pip_install(missing)
    return None


def pip_uninstall(requirements: Any, **keywords: Any) -> None:
    """Records the wish."""
    packaging_record.requests.append(("uninstall", _as_texts(requirements)))


@dataclass
class SampleDataSource:
    """One sample data set that was registered."""

    sampleName: str
    uris: Any
    fileNames: Any
    nodeNames: Any
    keywords: dict[str, Any]


class SampleDataLogic:
    """The registration of sample data; downloading is not emulated."""

    def __init__(self, logMessage: Callable[[str], None] | None = None) -> None:
        self._log = logMessage

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        **keywords: Any,
    ) -> None:
        """Adds a data set to a category, as `slicer.modules.sampleDataSources` shows."""
        sources = slicer.modules.__dict__.setdefault("sampleDataSources", {})
        sources.setdefault(category, []).append(
            SampleDataSource(sampleName or "", uris, fileNames, nodeNames, keywords)
        )

    @staticmethod
    def sourceForSampleName(sampleName: str) -> SampleDataSource | None:
        """The registered data set of a name."""
        for sources in slicer.modules.__dict__.get("sampleDataSources", {}).values():
            for source in sources:
                if source.sampleName == sampleName:
                    return source
        return None


def make_module(name: str, text: str, **content: Any) -> types.ModuleType:
    """A Python module with this content."""
    made = types.ModuleType(name, text)
    made.__dict__.update(content)
    return made
