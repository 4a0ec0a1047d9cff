"""Any operations on a project in any order keep its invariants (property-based)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from semisam.errors import ProjectError
from semisam.project import Project, State
from semisam.project.states import WITH_ANNOTATION
from small_project import SEGMENTS, leftovers, make_image, make_mask

NUMBERS = st.integers(0, 60)
LETTERS = st.sampled_from("aAbc")


class ProjectMachine(RuleBasedStateMachine):
    """Compares a project, changed through two open objects, with a plain model of what it should hold."""

    cases = Bundle("cases")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.images = {letter: make_image(self.folder / f"{ord(letter)}.nii.gz") for letter in "aAbc"}
        self.one = Project.create(self.folder / "project", SEGMENTS)
        self.two = Project.open(self.folder / "project")
        self.annotations: dict[str, np.ndarray] = {}
        self.finished: dict[str, set[int]] = {}
        self.proposals: dict[str, np.ndarray] = {}
        self.names: set[str] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def swap(self) -> Project:
        """The next change is made by the other object, which has not seen the last one."""
        self.one, self.two = self.two, self.one
        return self.one

    @rule(target=cases, name=LETTERS, copy=st.booleans())
    def add(self, name: str, copy: bool) -> str:
        project = self.swap()
        if name.lower() in {other.lower() for other in self.names}:
            try:
                project.add_case(name, self.images[name], copy=copy)
            except ProjectError:
                return name
            raise AssertionError("a second case of one name was added")
        project.add_case(name, self.images[name], copy=copy)
        self.names.add(name)
        return name

    @rule(name=consumes(cases))
    def remove(self, name: str) -> None:
        if name in self.names:
            self.swap().remove_case(name)
            self.names.remove(name)
            for table in (self.annotations, self.finished, self.proposals):
                table.pop(name, None)  # type: ignore[attr-defined]

    @rule(name=cases, number=NUMBERS, state=st.sampled_from([State.ANNOTATED, State.IN_WORK]))
    def annotate(self, name: str, number: int, state: State) -> None:
        if name in self.names:
            self.swap().set_annotation(name, make_mask(number), author="Ada", source="drawn", state=state)
            was_in_work = self.finished.get(name, {1, 2}) != {1, 2}
            self.annotations[name] = make_mask(number).voxels
            if state is State.ANNOTATED:
                self.finished[name] = {1, 2}
            elif not was_in_work:
                self.finished[name] = set()

    @rule(name=cases, number=NUMBERS)
    def propose(self, name: str, number: int) -> None:
        if name in self.names:
            before = self.one.path / "annotations" / f"{name}.seg.nrrd"
            content = before.read_bytes() if before.exists() else b""
            self.swap().set_proposal(name, make_mask(number), model="m", confidence=0.5)
            assert (before.read_bytes() if before.exists() else b"") == content
            self.proposals[name] = make_mask(number).voxels

    @rule(name=cases, chosen=st.sampled_from([(1,), (2,), (1, 2)]))
    def accept(self, name: str, chosen: tuple[int, ...]) -> None:
        if name not in self.proposals:
            return
        self.swap().accept(name, author="Ada", segments=[SEGMENTS[value - 1].name for value in chosen])
        proposal = self.proposals[name]
        mask = self.annotations.get(name, np.zeros_like(proposal)).copy()
        mask[np.isin(mask, chosen)] = 0
        wanted = np.isin(proposal, chosen) & (mask == 0)
        mask[wanted] = proposal[wanted]
        self.annotations[name] = mask
        self.finished[name] = self.finished.get(name, set()) | set(chosen)

    @precondition(lambda self: self.proposals)
    @rule(name=cases)
    def reject(self, name: str) -> None:
        if name in self.proposals:
            self.swap().reject(name, author="Ada")
            if name not in self.annotations:
                self.one.reload()
                assert self.one.case(name).state is State.REJECTED

    @precondition(lambda self: self.annotations)
    @rule(name=cases)
    def remove_annotation(self, name: str) -> None:
        if name in self.annotations:
            self.swap().remove_annotation(name)
            before = self.annotations.pop(name)
            del self.finished[name]
            backup = self.one.path / "annotations" / "previous" / f"{name}.seg.nrrd"
            assert backup.exists() and before is not None

    @precondition(lambda self: self.proposals)
    @rule(name=cases)
    def remove_proposal(self, name: str) -> None:
        if name in self.proposals:
            self.swap().remove_proposal(name)
            del self.proposals[name]

    @invariant()
    def the_project_holds_what_the_model_holds(self) -> None:
        project = Project.open(self.folder / "project")
        assert set(project.cases) == self.names
        assert project.training_cases() == [name for name in project.cases if self.finished.get(name) == {1, 2}]
        for name, case in project.cases.items():
            assert (case.annotation is not None) == (name in self.annotations) == (case.state in WITH_ANNOTATION)
            assert (case.proposal is not None) == (name in self.proposals)
            if name in self.annotations:
                assert np.array_equal(project.annotation(name).voxels, self.annotations[name])
            if name in self.proposals:
                assert np.array_equal(project.proposal(name).voxels, self.proposals[name])
        assert project.check() == [] and leftovers(project.path) == []


TestAnyOrderOfOperations = ProjectMachine.TestCase
TestAnyOrderOfOperations.settings = settings(
    max_examples=8, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
