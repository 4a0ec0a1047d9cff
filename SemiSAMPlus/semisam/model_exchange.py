"""Models on their way between projects: out of one into a file, and out of a file into another one.

Nothing heavy is loaded before the weights themselves are to be tried, which only ``import_model`` does.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semisam import __version__
from semisam.errors import ModelError
from semisam.model_card import Card
from semisam.model_file import SUFFIX, ModelFile, is_whole_safetensors, read_model, write_model
from semisam.project import Project
from semisam.project.importing import check_empty
from semisam.project.lock import TrainingLock
from semisam.segments import Segment, are_called
from semisam.specialists.plan import Plan

if TYPE_CHECKING:
    from torch import nn

_TITLE_LENGTH = 200
_PATIENCE = 3  # training may write another specialist while one is being read


@dataclass(frozen=True)
class Imported:
    """What an import did. ``kept`` is the file with the model that the project had before, or None."""

    project: Path
    model: str
    created: bool
    kept: Path | None


def export_model(
    project: Project, path: Path, *, title: str = "", description: str = "", licence: str = ""
) -> ModelFile:
    """Write the project's model to ``path``. Raises ModelError when there is none, it is damaged, or it is for other
    segments than the project has now; UsageError for a path that does not end in ``.semisam``, and for words that do
    not fit into a file."""
    model = _own_model(project)
    card = replace(
        model.card,
        title=title or model.card.title,
        description=description or model.card.description,
        licence=licence or model.card.licence,
        exported=_now(),
        engine=__version__,
    )
    model = replace(model, card=card)
    write_model(path, model)
    return model


def import_model(folder: Path, path: Path, *, replace_model: bool = False) -> Imported:
    """Make the model of a file that of the project in ``folder``, which is made if there is none.

    A project without cases takes over the segments of the file; any other must have the same, by name. A model that
    the project has is replaced with ``replace_model`` only, and kept as a file in ``models/previous``.
    Raises ModelError when the file or the model cannot be used there, ProjectError for a folder that holds something
    else, LockError while the project is being trained.
    """
    model = read_model(path)
    exists = (folder / "project.json").exists()
    if exists:
        project = Project.open(folder)
        problem = difference(project, model)
        if problem:
            raise ModelError(f'The model "{path}" does not fit the project "{project.path}": {problem}')
        if project.has_learned and not replace_model:
            raise ModelError(
                f'The project "{project.path}" has learned something already: import with --replace (its model is kept '
                'in the folder "models/previous"), or import into another project.'
            )
    else:
        check_empty(folder)
    network = _tried(path, model)
    if not exists:
        project = Project.create(folder, model.segments)
    with TrainingLock(project.path):
        kept = keep_model(project)
        model = _fitted(project, model)
        name = _install(project, model, network)
    return Imported(project.path, name, not exists, kept)


def keep_model(project: Project) -> Path | None:
    """A file in ``models/previous`` with the model that the project has, before another takes its place.

    None when it has none, or one that nobody can use any more. Raises UsageError when the names of its segments are
    not fit for a file: without a copy that can be read, it must not be replaced.
    """
    name = project.model_name
    with suppress(ModelError):
        model = _own_model(project)
        for number in count(1):
            path = project.models_dir / "previous" / f"{name}{f'-{number}' if number > 1 else ''}{SUFFIX}"
            if not path.exists():
                write_model(path, replace(model, card=replace(model.card, exported=_now(), engine=__version__)))
                return path
            if _holds(path, model):
                return path  # what was to replace it the last time never came
    return None


def _holds(path: Path, model: ModelFile) -> bool:
    try:
        return read_model(path).weights == model.weights
    except ModelError:
        return False


def difference(project: Project, model: ModelFile) -> str:
    """Why the project cannot have this model, as the end of a sentence; "" when it can."""
    if not project.cases:
        return ""
    own = {segment.name.casefold(): segment.name for segment in project.segments}
    theirs = {segment.name.casefold(): segment.name for segment in model.segments}
    lacking = [_quoted(theirs, set(theirs) - set(own)), _quoted(own, set(own) - set(theirs))]
    parts = [
        f"{subject} {names}"
        for subject, names in zip(("the project lacks", "the model does not know"), lacking, strict=True)
        if names
    ]
    if not parts:
        return ""
    return (
        f"the segments differ, {' and '.join(parts)}. Import it into a new project, or into one with the segments "
        f"{_quoted(theirs, set(theirs))}."
    )


def _quoted(names: dict[str, str], chosen: set[str]) -> str:
    return ", ".join(f'"{name}"' for key, name in names.items() if key in chosen)


# Out ------------------------------------------------------------------------------------------------------------------


def _own_model(project: Project) -> ModelFile:
    facts, weights = _specialist(project)
    try:
        plan = Plan.from_dict(facts["plan"])
        single = tuple(bool(value) for value in facts["single_component"])
        # What the segments were once called is nobody's business.
        segments = tuple(replace(segment, former_names=()) for segment in project.segments)
        if not are_called(project.segments, plan.segments) or len(single) != len(segments):
            raise ModelError(
                f'The model of "{project.path}" was trained for other segments ({", ".join(plan.segments)}) than the '
                "project has now: train again, then export."
            )
        plan = replace(plan, segments=tuple(segment.name for segment in segments))
        return ModelFile(_card(project, facts, segments), plan, segments, single, weights)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(project) from error


def _card(project: Project, facts: dict[str, Any], segments: Sequence[Segment]) -> Card:
    if "card" in facts:  # imported, and not trained since
        return Card.from_dict(facts["card"])
    model = str(facts["weights"]).removesuffix(".safetensors")
    confidences = [
        case.confidence
        for case in project.cases.values()
        if case.proposal is not None and case.proposal.provenance.get("model") == model and case.confidence is not None
    ]
    written = (project.models_dir / "specialist.json").stat().st_mtime
    return Card(
        title=_title([segment.name for segment in segments]),
        segments=tuple(segment.name for segment in segments),
        annotated_cases=len(facts.get("annotated", ())),
        other_cases=facts.get("unannotated"),
        rounds=int(facts.get("round", 0)) + 1,
        steps=int(facts.get("steps", 0)),
        seconds=facts.get("seconds"),
        framework=str(facts.get("framework", "")),
        generalists=tuple(str(name) for name in facts.get("generalists", ())),
        origin=str(facts.get("origin", "")),
        trained=str(facts.get("created") or datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")),
        proposals=len(confidences),
        confidence=round(sum(confidences) / len(confidences), 4) if confidences else None,
        lowest_confidence=min(confidences, default=None),
        highest_confidence=max(confidences, default=None),
    )


def _title(names: Sequence[str]) -> str:
    """All names, or, where that is no title any more, their number and the first few."""
    title = " and ".join(names)
    if len(title) <= _TITLE_LENGTH:
        return title
    few = next((few for few in (3, 2) if len(", ".join(names[:few])) <= _TITLE_LENGTH), 1)
    return f"{len(names)} segments: {', '.join(names[:few])}, ..."


def _specialist(project: Project) -> tuple[dict[str, Any], bytes]:
    """Facts and weights that belong together."""
    for _ in range(_PATIENCE):
        facts = _facts(project.models_dir)
        if facts is None:
            raise ModelError(f'"{project.path}" has no trained model yet: train first, or import one.')
        try:
            weights = (project.models_dir / Path(str(facts["weights"])).name).read_bytes()
        except (OSError, KeyError):
            continue
        if is_whole_safetensors(weights):
            return facts, weights
    raise _damaged(project)


def _facts(folder: Path) -> dict[str, Any] | None:
    """What stands beside the weights; None when there is no specialist."""
    try:
        facts = json.loads((folder / "specialist.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _damaged(project: Project) -> ModelError:
    return ModelError(
        f'The model of "{project.path}" is damaged: train again with --fresh, or import another with --replace.'
    )


# In -------------------------------------------------------------------------------------------------------------------


def _tried(path: Path, model: ModelFile) -> nn.Module:
    """The network with the weights of the file. Raises ModelError when the two do not belong together."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from semisam.specialists.network import make_network

    try:
        weights = load(model.weights)
        # First without memory for it: what the plan asks for may be larger than any machine.
        with torch.device("meta"):
            wanted = {name: tuple(value.shape) for name, value in make_network(model.plan).state_dict().items()}
        if wanted != {name: tuple(value.shape) for name, value in weights.items()}:
            raise ValueError("its weights are for another network than its plan")
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            raise ValueError("its weights are not all numbers")
        network = make_network(model.plan)
        network.load_state_dict(weights)
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f'The model file "{path}" cannot be used ({error}): ask for another one.') from error
    return network


def _fitted(project: Project, model: ModelFile) -> ModelFile:
    """The model with the project's own segments; a project without cases is given those of the model."""
    if not project.cases:
        project.replace_segments(model.segments)
        return model
    own = {segment.name.casefold(): segment for segment in project.segments}
    segments = tuple(own[segment.name.casefold()] for segment in model.segments)
    # The order of a project's segments means nothing to people, and to a network it is that of its channels.
    project.replace_segments(segments)
    plan = replace(model.plan, segments=tuple(segment.name for segment in segments))
    return replace(model, segments=segments, plan=plan)


def _install(project: Project, model: ModelFile, network: nn.Module) -> str:
    """Write what prediction and training start from; the specialist last, so that until then the old one is in force.

    Returns the name of the model.
    """
    import torch

    from semisam.learning.checkpoints import save_specialist, save_training

    folder, card = project.models_dir, model.card
    (folder / "training.json").unlink(missing_ok=True)
    (project.log_dir / "history.jsonl").unlink(missing_ok=True)  # it tells of the model that was there before
    model.plan.save(folder / "plan.json")
    state = {
        "finished": True,
        "round": max(0, card.rounds - 1),
        "limit": 1.0,
        "in_steps": True,
        "steps": card.steps,
        "seconds": card.seconds or 0.0,
        "proposed_first": True,
        "origin": card.as_origin(),
    }
    # Student and teacher begin alike, and the optimizer anew: the next round goes on from here.
    save_training(folder, copy.deepcopy(network), network, torch.optim.AdamW(network.parameters()), state)
    facts = {
        "single_component": list(model.single_component),
        "round": state["round"],
        "steps": card.steps,
        "annotated": [],
        "framework": card.framework,
        "card": card.to_dict(),
    }
    return save_specialist(folder, network, model.plan, facts)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
