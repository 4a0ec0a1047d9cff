"""The annotated cases of a project as examples for generalists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

from semisam.generalists.base import Example

if TYPE_CHECKING:
    from semisam.project import Project


class ProjectExamples(Sequence[Example]):
    """The annotated cases of a project, read when somebody looks at them and not before: most generalists do not."""

    def __init__(self, project: Project | None) -> None:
        self._project = project
        self._read: list[Example] | None = None
        self._state = self._annotations()

    def outdated(self) -> bool:
        """Whether examples have been used that are no longer what the project has."""
        return self._read is not None and self._annotations() != self._state

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        return self._all()[index]

    def __iter__(self) -> Iterator[Example]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> list[Example]:
        if self._read is None:
            self._state = self._annotations()
            self._read = [] if self._project is None else [_example(self._project, name) for name, _ in self._state]
        return self._read

    def _annotations(self) -> list[tuple[str, int]]:
        if self._project is None:
            return []
        cases = self._project.cases
        return [(name, cases[name].annotation_count) for name in self._project.finished_cases()]


def _example(project: Project, name: str) -> Example:
    return Example(name, project.image(name), project.annotation(name).voxels)
