"""The states of a case, and which event leads from which state to which.

The state says what a person has done: an annotation always wins over a proposal, so the program's proposals never
change the state of a case that a person works on or has finished.
"""

from __future__ import annotations

from enum import StrEnum

from semisam.errors import ProjectError


class State(StrEnum):
    """NEW: nothing but the image. IN_WORK: an unfinished annotation. ANNOTATED, ACCEPTED: a finished annotation, drawn
    or accepted from a proposal. PROPOSED, REJECTED: a proposal that nobody has judged, or that was refused."""

    NEW = "new"
    IN_WORK = "in work"
    ANNOTATED = "annotated"
    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Event(StrEnum):
    """What can happen to a case."""

    ANNOTATE = "annotate"
    BEGIN = "save unfinished work on"
    PROPOSE = "propose a mask for"
    ACCEPT = "accept the proposal of"
    ACCEPT_PART = "accept a part of the proposal of"
    REJECT = "reject the proposal of"
    REMOVE_ANNOTATION = "remove the annotation of"
    REMOVE_PROPOSAL = "remove the proposal of"


# States in which an annotation exists, and those of them whose annotation may be learned from.
WITH_ANNOTATION = frozenset({State.IN_WORK, State.ANNOTATED, State.ACCEPTED})
FINISHED = frozenset({State.ANNOTATED, State.ACCEPTED})

_KEPT = {state: state for state in WITH_ANNOTATION}
_PROPOSAL_SEEN = {State.PROPOSED, State.REJECTED}

TRANSITIONS: dict[Event, dict[State, State]] = {
    Event.ANNOTATE: {state: State.ANNOTATED for state in State},
    Event.BEGIN: {state: State.IN_WORK for state in State},
    Event.PROPOSE: {State.NEW: State.PROPOSED, State.PROPOSED: State.PROPOSED, State.REJECTED: State.PROPOSED, **_KEPT},
    Event.ACCEPT: {state: State.ACCEPTED for state in WITH_ANNOTATION | _PROPOSAL_SEEN},
    # Some segments are still open, unless the case was finished before.
    Event.ACCEPT_PART: {
        State.ANNOTATED: State.ACCEPTED,
        State.ACCEPTED: State.ACCEPTED,
        **{state: State.IN_WORK for state in _PROPOSAL_SEEN | {State.IN_WORK}},
    },
    Event.REJECT: {State.PROPOSED: State.REJECTED, State.REJECTED: State.REJECTED, **_KEPT},
    # What the case falls back to when it has no proposal; ``without_annotation`` looks at the proposal.
    Event.REMOVE_ANNOTATION: {state: State.NEW for state in WITH_ANNOTATION},
    Event.REMOVE_PROPOSAL: {State.PROPOSED: State.NEW, State.REJECTED: State.NEW, **_KEPT},
}


def following(name: str, state: State, event: Event) -> State:
    """The state of case ``name`` after ``event``. Raises ProjectError when the event makes no sense in ``state``."""
    try:
        return TRANSITIONS[event][state]
    except KeyError:
        missing = "annotation" if event is Event.REMOVE_ANNOTATION else "proposal"
        raise ProjectError(
            f'Cannot {event.value} the case "{name}", which is {state.value}: it has no {missing}.'
        ) from None


def without_annotation(has_proposal: bool, rejected: bool) -> State:
    """The state that the proposal alone gives a case."""
    if not has_proposal:
        return State.NEW
    return State.REJECTED if rejected else State.PROPOSED
