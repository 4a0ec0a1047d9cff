"""The worker's requests that look at or change the project store: open, annotations, cases, accept and reject."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semisam.ranking import kept_order
from semisam.worker.protocol import Request

if TYPE_CHECKING:
    from semisam.project import Case, Project


class Store:
    """Serves one request at a time, from one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._project: Project | None = None
        self._own: dict[str, int] = {}  # by case, the revision of the annotation that was written last through us
        self._served: dict[str, Callable[[Project, Request], dict[str, Any]]] = {
            "case": self._case,
            "annotation-changed": self._annotation_changed,
            "remove-annotation": self._remove_annotation,
            "restore-annotation": self._restore_annotation,
            "add-case": self._add_case,
            "remove-case": self._remove_case,
            "accept": self._accept,
            "reject": self._reject,
            "take-back-reject": self._take_back_reject,
        }

    @property
    def requests(self) -> tuple[str, ...]:
        """The requests that ``serve`` serves."""
        return tuple(self._served)

    def open(self, path: Path | None) -> dict[str, Any]:
        """Open the project (another one, if ``path`` is given) and describe it with all its cases."""
        from semisam.project import Project

        self._project = Project.open(path or self.path)
        if self._project.path != self.path:
            self._own.clear()
        self.path = self._project.path
        return self.describe()

    def create(self, request: Request) -> dict[str, Any]:
        """Make an empty project in our folder and describe it."""
        from semisam.project import Project

        copied = bool(request["copy"])
        self._project = Project.create(self.path, request["segments"], images_copied=copied)
        return self.describe()

    def change_segments(self, request: Request) -> dict[str, Any]:
        """Give the project other segments, as far as its masks allow, and describe it."""
        project = self._current()
        project.change_segments(request["segments"])
        return self.describe()

    def describe(self) -> dict[str, Any]:
        """The project as it is on disk now: segments, cases, and the name of its model."""
        project = self._current()
        cases = [describe_case(project, case) for case in project.cases.values()]
        return {
            "project": project.path,
            "revision": project.revision,
            "segments": [segment.to_dict() for segment in project.segments],
            "model": project.model_name,
            "plan": _choices(project),
            "suggested": kept_order(project.cache_dir),
            "counts": Counter(case["state"] for case in cases),
            "cases": cases,
        }

    def show_model(self, request: Request) -> dict[str, Any]:
        """What a model file holds, and what importing it here would mean. The project need not exist yet."""
        from semisam.model_exchange import difference
        from semisam.model_file import read_model

        model = read_model(request["file"])
        exists = (self.path / "project.json").exists()
        project = self._current() if exists else None
        return {
            "card": model.card.to_dict(),
            "text": model.card.in_words(),
            "segments": [segment.to_dict() for segment in model.segments],
            "problem": "" if project is None else difference(project, model),
            "replaces": project is not None and project.has_learned,
        }

    def serve(self, request: Request) -> dict[str, Any]:
        """Do what ``request`` wants; the fields of its ``done`` event. Raises SemiSAMError and OSError.

        A client that tells which annotation it has ``seen`` is told whether one by somebody else was replaced.
        """
        project = self._current()
        name = request["case"]
        before = _annotation_revision(project, name)
        answer = self._served[request.name](project, request)
        seen = request.values.get("seen")
        if seen is not None:
            answer["replaced_unseen"] = before > seen and before != self._own.get(name)
        after = _annotation_revision(project, name)
        if after != before:
            self._own[name] = after
        return {"revision": project.revision, **answer}

    def _current(self) -> Project:
        if self._project is None:
            from semisam.project import Project

            self._project = Project.open(self.path)
        else:
            self._project.reload()
        return self._project

    def _case(self, project: Project, request: Request) -> dict[str, Any]:
        return {"case": describe_case(project, project.case(request["case"]))}

    def _annotation_changed(self, project: Project, request: Request) -> dict[str, Any]:
        from semisam.project import State
        from semisam.project.files import file_hash
        from semisam.project.masks import read_given, shows_enough

        name, path = request["case"], request["path"]
        state = State(request["state"] or State.ANNOTATED.value)
        if path is None:
            # Written through the store, it is known already; saved over by another program, it is taken in now.
            record = project.case(name).annotation
            if record is None or file_hash(project.annotation_path(name)) != record.sha256:
                project.adopt_annotation(name, author=_author(request), state=state)
        else:
            mask, known = read_given(path, project.segments, project.image_geometry(name), request["unknown"])
            if known is not None and not shows_enough(mask, known):
                known, state = None, State.IN_WORK  # nothing to learn from yet, but a person's work
            project.set_annotation(name, mask, author=_author(request), source=str(path), state=state, known=known)
        return {"case": describe_case(project, project.case(name))}

    def _remove_annotation(self, project: Project, request: Request) -> dict[str, Any]:
        project.remove_annotation(request["case"])
        return {"case": describe_case(project, project.case(request["case"]))}

    def _restore_annotation(self, project: Project, request: Request) -> dict[str, Any]:
        project.restore_annotation(request["case"], author=_author(request))
        return {"case": describe_case(project, project.case(request["case"]))}

    def _add_case(self, project: Project, request: Request) -> dict[str, Any]:
        project.add_case(request["case"], request["image"], copy=request["copy"], check=bool(request["check"]))
        return {"case": describe_case(project, project.case(request["case"]))}

    def _remove_case(self, project: Project, request: Request) -> dict[str, Any]:
        project.remove_case(request["case"])
        return {}

    def _accept(self, project: Project, request: Request) -> dict[str, Any]:
        project.accept(
            request["case"], author=_author(request), segments=request["segments"], revision=request["revision"]
        )
        return {"case": describe_case(project, project.case(request["case"]))}

    def _reject(self, project: Project, request: Request) -> dict[str, Any]:
        project.reject(request["case"], author=_author(request))
        return {"case": describe_case(project, project.case(request["case"]))}

    def _take_back_reject(self, project: Project, request: Request) -> dict[str, Any]:
        project.take_back_reject(request["case"])
        return {"case": describe_case(project, project.case(request["case"]))}


def _annotation_revision(project: Project, name: str) -> int:
    """0 without an annotation, or without such a case."""
    case = project.cases.get(name)
    return 0 if case is None or case.annotation is None else case.annotation.revision


def describe_case(project: Project, case: Case) -> dict[str, Any]:
    """A case as JSON values, with paths in full."""
    annotation, proposal = case.annotation, case.proposal
    return {
        "name": case.name,
        "image": case.image,
        "state": case.state.value,
        "confidence": case.confidence,
        "annotation": annotation
        and {
            "path": project.path / annotation.path,
            "revision": annotation.revision,
            "provenance": annotation.provenance,
        },
        "proposal": proposal
        and {
            "path": project.path / proposal.path,
            "uncertainty": proposal.uncertainty and project.path / proposal.uncertainty,
            "revision": proposal.revision,
            "provenance": proposal.provenance,
        },
    }


def _choices(project: Project) -> dict[str, Any] | None:
    """What a person chose for the network that learns, or was left to the program; None before the first training."""
    from semisam.errors import PlanError
    from semisam.specialists.plan import Plan

    try:
        plan = Plan.load(project.models_dir / "plan.json")
    except PlanError:  # there is none, or training will say what is wrong with it
        return None
    return {"network": plan.network, "spacing": plan.chosen_spacing}


def _author(request: Request) -> str:
    if request["author"]:
        return str(request["author"])
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in this container or on this system
        return "unknown"
