"""What a round starts from: the plan, the budget, and whether what was learned before goes with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from semisam.learning.schedule import Budget
from semisam.learning.working import clear_outdated
from semisam.model_exchange import keep_model
from semisam.project import Project
from semisam.specialists.fingerprint import take_fingerprint
from semisam.specialists.hardware import Hardware
from semisam.specialists.plan import Plan, make_plan
from semisam.specialists.sizes import DEFAULT_NETWORK

Say = Callable[[str], None]

_DEFAULT_MINUTES = 10.0


def choose_plan(
    project: Project, hardware: Hardware, network: str | None, spacing: float | None, fresh: bool, say: Say
) -> tuple[Plan, bool]:
    """The saved plan on today's hardware, or a new one for a new project, for other segments, network or spacing, or
    with ``fresh``; and whether what was learned before goes with it. Working copies for other plans are removed.

    network, spacing  what a person chose; None leaves it to the saved plan
    """
    plan, goes_on = _chosen(project, hardware, network, spacing, fresh, say)
    clear_outdated(project, plan)
    return plan, goes_on


def _chosen(
    project: Project, hardware: Hardware, network: str | None, spacing: float | None, fresh: bool, say: Say
) -> tuple[Plan, bool]:
    path = project.models_dir / "plan.json"
    names = tuple(segment.name for segment in project.segments)
    goes_on = not fresh
    if path.exists() and not fresh:
        plan = Plan.load(path)
        network = network or plan.network
        spacing = plan.chosen_spacing if spacing is None else spacing
        before, now = (plan.segments, plan.network, plan.chosen_spacing), (names, network, spacing)
        words = ("segments", "network", "working spacing")
        changed = [word for word, one, other in zip(words, before, now, strict=True) if one != other]
        if not changed:
            if not plan.is_for(hardware):
                say("The plan is from another kind of device; --fresh makes one for this and starts anew.")
            return plan.on(hardware), True
        say(f"Learning starts anew, because of other choices than before: {', '.join(changed)}.")
        goes_on = False
    say("Looking at the data.")
    plan = make_plan(take_fingerprint(project), hardware, names, network or DEFAULT_NETWORK, spacing or 0.0)
    plan.save(path)
    return plan, goes_on


def keep_specialist(project: Project, say: Say) -> None:
    """Learning starts anew: the model that its proposals will replace stays as a file that can be imported again."""
    kept = keep_model(project)
    if kept is not None:
        say(f'The model of before is kept in "{kept}".')


def choose_budget(
    state: Mapping[str, Any] | None, minutes: float | None, steps: int | None, say: Say
) -> tuple[Budget, int]:
    """The budget and number of the round: an unfinished one goes on, after a finished one the next begins.

    state  of the checkpoint; None begins anew
    """
    in_steps = steps is not None
    limit = float(steps or 60.0 * (minutes or _DEFAULT_MINUTES))
    if state is None:
        return Budget(limit, in_steps), 0
    if state["finished"]:
        say(f"Round {state['round'] + 1} is finished: starting round {state['round'] + 2} from its result.")
        return Budget(limit, in_steps), int(state["round"]) + 1
    if steps is None and minutes is None:
        limit, in_steps = float(state["limit"]), bool(state["in_steps"])
    budget = Budget(limit, in_steps, int(state["steps"]), float(state["seconds"]))
    say(f"Going on with round {state['round'] + 1} at {budget.fraction:.0%}.")
    return budget, int(state["round"])
