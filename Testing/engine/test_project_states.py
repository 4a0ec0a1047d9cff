"""The state machine of a case, on its own and as the store follows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from semisam.errors import ProjectError
from semisam.project import Project, State
from semisam.project.states import TRANSITIONS, WITH_ANNOTATION, Event, following
from small_project import make_mask, make_project

# Written out once more, by state: what may happen to it and what becomes of it. What is not here is refused.
EXPECTED = {
    State.NEW: {Event.ANNOTATE: State.ANNOTATED, Event.BEGIN: State.IN_WORK, Event.PROPOSE: State.PROPOSED},
    State.IN_WORK: {
        Event.ANNOTATE: State.ANNOTATED,
        Event.BEGIN: State.IN_WORK,
        Event.PROPOSE: State.IN_WORK,
        Event.ACCEPT: State.ACCEPTED,
        Event.ACCEPT_PART: State.IN_WORK,
        Event.REJECT: State.IN_WORK,
        Event.REMOVE_ANNOTATION: State.NEW,
        Event.REMOVE_PROPOSAL: State.IN_WORK,
    },
    State.ANNOTATED: {
        Event.ANNOTATE: State.ANNOTATED,
        Event.BEGIN: State.IN_WORK,
        Event.PROPOSE: State.ANNOTATED,
        Event.ACCEPT: State.ACCEPTED,
        Event.ACCEPT_PART: State.ACCEPTED,
        Event.REJECT: State.ANNOTATED,
        Event.REMOVE_ANNOTATION: State.NEW,
        Event.REMOVE_PROPOSAL: State.ANNOTATED,
    },
    State.PROPOSED: {
        Event.ANNOTATE: State.ANNOTATED,
        Event.BEGIN: State.IN_WORK,
        Event.PROPOSE: State.PROPOSED,
        Event.ACCEPT: State.ACCEPTED,
        Event.ACCEPT_PART: State.IN_WORK,
        Event.REJECT: State.REJECTED,
        Event.REMOVE_PROPOSAL: State.NEW,
    },
    State.ACCEPTED: {
        Event.ANNOTATE: State.ANNOTATED,
        Event.BEGIN: State.IN_WORK,
        Event.PROPOSE: State.ACCEPTED,
        Event.ACCEPT: State.ACCEPTED,
        Event.ACCEPT_PART: State.ACCEPTED,
        Event.REJECT: State.ACCEPTED,
        Event.REMOVE_ANNOTATION: State.NEW,
        Event.REMOVE_PROPOSAL: State.ACCEPTED,
    },
    State.REJECTED: {
        Event.ANNOTATE: State.ANNOTATED,
        Event.BEGIN: State.IN_WORK,
        Event.PROPOSE: State.PROPOSED,
        Event.ACCEPT: State.ACCEPTED,
        Event.ACCEPT_PART: State.IN_WORK,
        Event.REJECT: State.REJECTED,
        Event.REMOVE_PROPOSAL: State.NEW,
    },
}


def reach(project: Project, name: str, state: State) -> None:
    if state in (State.ANNOTATED, State.IN_WORK):
        project.set_annotation(name, make_mask(5), author="Ada", source="drawn", state=state)
    elif state is not State.NEW:
        project.set_proposal(name, make_mask(6), model="m", confidence=None)
        if state is State.ACCEPTED:
            project.accept(name, author="Ada")
        elif state is State.REJECTED:
            project.reject(name, author="Ada")


def actions(project: Project, name: str) -> dict[Event, Callable[[], None]]:
    return {
        Event.ANNOTATE: lambda: project.set_annotation(name, make_mask(7), author="Ada", source="drawn"),
        Event.BEGIN: lambda: project.set_annotation(
            name, make_mask(8), author="Ada", source="drawn", state=State.IN_WORK
        ),
        Event.PROPOSE: lambda: project.set_proposal(name, make_mask(9), model="m", confidence=None),
        Event.ACCEPT: lambda: project.accept(name, author="Ada"),
        Event.ACCEPT_PART: lambda: project.accept(name, author="Ada", segments=["anterior"]),
        Event.REJECT: lambda: project.reject(name, author="Ada"),
        Event.REMOVE_ANNOTATION: lambda: project.remove_annotation(name),
        Event.REMOVE_PROPOSAL: lambda: project.remove_proposal(name),
    }


def test_the_table_is_the_one_that_was_meant() -> None:
    for event in Event:
        for state in State:
            assert TRANSITIONS[event].get(state) == EXPECTED[state].get(event), (event, state)


def test_an_event_that_makes_no_sense_is_refused_in_words() -> None:
    with pytest.raises(ProjectError, match='Cannot accept the proposal of the case "x", which is new'):
        following("x", State.NEW, Event.ACCEPT)
    with pytest.raises(ProjectError, match="it has no annotation"):
        following("x", State.PROPOSED, Event.REMOVE_ANNOTATION)


@pytest.mark.parametrize("with_proposal", [False, True])
@pytest.mark.parametrize("state", list(State))
def test_the_store_follows_the_table(tmp_path: Path, state: State, with_proposal: bool) -> None:
    project = make_project(tmp_path, "abcdefgh")
    for name, event in zip("abcdefgh", Event, strict=True):
        reach(project, name, state)
        if with_proposal and state in WITH_ANNOTATION and event is not Event.PROPOSE:
            project.set_proposal(name, make_mask(9), model="m", confidence=None)
        has_proposal = project.case(name).proposal is not None
        needs_proposal = event in (Event.ACCEPT, Event.ACCEPT_PART, Event.REJECT, Event.REMOVE_PROPOSAL)
        expected = EXPECTED[state].get(event)
        if expected is None or (needs_proposal and not has_proposal):
            before = (project.path / "project.json").read_bytes()
            with pytest.raises(ProjectError):
                actions(project, name)[event]()
            assert (project.path / "project.json").read_bytes() == before
            continue
        if event is Event.REMOVE_ANNOTATION and has_proposal:
            expected = State.PROPOSED
        actions(project, name)[event]()
        assert Project.open(project.path).case(name).state is expected, event
