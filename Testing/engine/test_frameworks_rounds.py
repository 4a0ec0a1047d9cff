"""Rounds of training with each framework: killed and resumed, with and without generalists, and what is saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import semisam.learning.loop
from conftest import Study, make_study
from semisam.cli import main
from semisam.learning.frameworks.registry import FRAMEWORKS
from semisam.learning.loop import TrainOptions, train
from semisam.model_exchange import import_model
from semisam.predict import Specialist
from semisam.project import Project
from semisam.specialists.fingerprint import take_fingerprint
from semisam.specialists.hardware import detect
from semisam.specialists.network import make_network
from semisam.specialists.plan import Plan, make_plan

NEW = ["ua-mt", "dan", "dtc", "sdcl"]
STEPS = 10
OWN = {"dan": "network.evaluator.", "dtc": "network.distance.", "sdcl": "network.second."}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for one another cost tiny networks more than they bring."""
    monkeypatch.setattr(semisam.learning.loop, "detect", lambda device: replace(detect(device), cores=1))


def prepare(study: Study, annotated: tuple[str, ...] = ("case1", "case2"), **changes: Any) -> Project:
    project = study.make_project(annotated)
    plan = make_plan(take_fingerprint(project), detect("cpu"), tuple(segment.name for segment in project.segments))
    tiny: dict[str, Any] = {"channels": (4, 8), "strides": ((2, 2, 2),), "patch": (16, 16, 16), "bfloat16": False}
    replace(plan, **(tiny | {"refresh_every": 2} | changes)).save(project.models_dir / "plan.json")
    return project


def run(
    project: Project, framework: str, stop: Any = lambda: False, **options: Any
) -> tuple[dict[str, Any], list[Any]]:
    events: list[Any] = []
    values: dict[str, Any] = {"steps": STEPS, "generalist": "none", "device": "cpu", "framework": framework} | options
    return train(project, TrainOptions(**values), events.append, stop), events


def weights(project: Project, name: str) -> dict[str, Any]:
    facts = json.loads((project.models_dir / f"{name}.json").read_text("utf-8"))
    return load_file(project.models_dir / facts["weights"])


@pytest.mark.parametrize("name", NEW)
def test_a_killed_round_goes_on_with_the_frameworks_own_networks(study: Study, name: str) -> None:
    """Killed at step 7, it goes on from the checkpoint at the end of the warm-up, after step 2; with a generalist."""
    project = prepare(study)
    calls = iter(range(1000))

    def killed() -> bool:
        if next(calls) == 7:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        run(project, name, killed, generalist="random-walker")
    state = json.loads((project.models_dir / "training.json").read_text("utf-8"))
    assert not state["finished"] and state["steps"] == 2
    before = weights(project, "training")
    summary, events = run(project, name, generalist="random-walker")
    assert summary["finished"] and summary["steps"] == STEPS
    assert any("Going on with round 1 at 20%" in event.get("text", "") for event in events)
    after = weights(project, "training")
    own = [key for key in after if key.startswith(f"own.{name}.")]
    assert {key for key in before if key.startswith("own.")} <= set(own)
    assert bool(own) == (name in OWN)
    if own:
        assert any(key.startswith(f"own.{name}.{OWN[name]}") for key in own)
        # The moments went on, too: Adam counts the steps since the network was new, from the end of the warm-up (DAN)
        # or from the first step on.
        counted = {
            float(after[key]) for key in own if key.startswith(f"own.{name}.optimizer.") and key.endswith(".step")
        }
        assert counted == {STEPS - 2.0 if name == "dan" else float(STEPS)}


@pytest.mark.parametrize("name", NEW)
def test_the_specialist_is_the_network_of_the_plan_and_nothing_else(study: Study, name: str) -> None:
    project = prepare(study)
    run(project, name, steps=4)
    plan = Plan.load(project.models_dir / "plan.json")
    assert weights(project, "specialist").keys() == make_network(plan).state_dict().keys()
    specialist, _ = Specialist.load(project, "cpu")
    assert specialist.plan.network == "unet"
    project.reload()
    assert {case for case in project.cases if project.cases[case].proposal} == {"case3", "case4"}


def test_the_own_networks_that_are_resumed_are_those_that_were_saved(study: Study) -> None:
    """With a learning rate of 0 nothing may move between two rounds: what was random at the start stays."""
    project = prepare(study, learning_rate=0.0)
    run(project, "sdcl", steps=1)
    before = weights(project, "training")
    run(project, "sdcl", steps=1, seed=5)
    after = weights(project, "training")
    keys = [key for key in before if key.startswith("own.sdcl.network.")]
    assert keys and all(before[key].equal(after[key]) for key in keys)


def test_another_framework_in_between_does_not_lose_them(study: Study) -> None:
    project = prepare(study)
    run(project, "dtc", steps=4)
    before = {key: value for key, value in weights(project, "training").items() if key.startswith("own.dtc.")}
    run(project, "supervised", steps=2)
    after = weights(project, "training")
    assert before and all(value.equal(after[key]) for key, value in before.items())
    # Without a place for them, as after a change of the plan, they start anew.
    prepared = Plan.load(project.models_dir / "plan.json")
    replace(prepared, channels=(4, 6)).save(project.models_dir / "plan.json")
    assert run(project, "dtc", steps=2)[0]["finished"]


@pytest.mark.parametrize("name", NEW)
def test_rounds_of_steps_repeat_bit_for_bit(tmp_path: Path, name: str) -> None:
    """Dropout, noise and own networks are seeded as well."""
    found = []
    for number in range(2):
        project = prepare(make_study(tmp_path / str(number)))
        run(project, name, steps=4)
        found.append(weights(project, "training"))
    assert all(found[0][key].equal(found[1][key]) for key in found[0])


@pytest.mark.parametrize("name", NEW)
def test_a_round_without_unannotated_cases_learns_all_the_same(tmp_path: Path, name: str) -> None:
    project = prepare(make_study(tmp_path / "study", cases=2))
    summary, events = run(project, name)
    assert summary["finished"] and summary["annotated"] == 2
    losses = [event for event in events if event["event"] == "metrics"]
    assert losses and all("loss_consistency" not in line for line in losses)


def test_the_command_names_frameworks_and_networks_and_takes_them(
    capsys: pytest.CaptureFixture[str], study: Study
) -> None:
    assert main(["train", "--help"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in (*FRAMEWORKS, "unet", "vnet", "unet-3d"))
    project = prepare(study)
    assert main(["train", str(project.path), "--steps", "1", "--network", "nonet"]) == 2
    assert "unet, vnet, unet-3d" in capsys.readouterr().err
    command = ["train", str(project.path), "--steps", "2", "--generalist", "none", "--framework", "dan", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["finished"]


def test_another_network_than_that_of_the_plan_starts_anew_with_a_new_plan(study: Study) -> None:
    project = prepare(study)
    path = project.models_dir / "plan.json"
    plan = Plan.load(path)
    assert [run(project, "supervised", steps=1, network=network)[0]["round"] for network in (None, "unet")] == [0, 1]
    assert Plan.load(path) == plan
    summary, events = run(project, "supervised", lambda: True, network="vnet")
    assert summary["round"] == 0 and Plan.load(path).network == "vnet"
    assert {"event": "log", "text": "Learning starts anew, because of other choices than before: network."} in events


def test_what_was_learned_before_is_kept_once_when_learning_starts_anew(study: Study) -> None:
    project = prepare(study)
    run(project, "supervised", steps=1)
    learned, previous = weights(project, "specialist"), project.models_dir / "previous"
    for _ in range(2):  # begun anew and stopped before there is another model: the same one is kept
        _, events = run(project, "supervised", lambda: True, network="vnet", fresh=True)
        (kept,) = previous.iterdir()
        assert {"event": "log", "text": f'The model of before is kept in "{kept}".'} in events
    run(project, "supervised", steps=1)  # goes on, and its model takes the place
    assert list(previous.iterdir()) == [kept]
    imported = import_model(project.path, kept, replace_model=True)
    assert imported.kept is not None and imported.kept != kept
    back = weights(project, "specialist")
    assert learned.keys() == back.keys() and all(back[name].equal(value) for name, value in learned.items())


def test_another_working_spacing_than_that_of_the_plan_starts_anew_and_is_kept(study: Study) -> None:
    project = prepare(study)
    path = project.models_dir / "plan.json"
    assert run(project, "supervised", steps=1)[0]["round"] == 0
    summary, events = run(project, "supervised", lambda: True, spacing=2.0)
    assert summary["round"] == 0 and Plan.load(path).working_spacing == (2.0, 2.0, 2.0)
    assert any("other choices than before: working spacing" in event.get("text", "") for event in events)
    assert run(project, "supervised", steps=1)[0]["round"] == 0  # the stopped round goes on at the same spacing
    assert run(project, "supervised", steps=1, spacing=2.0)[0]["round"] == 1
    assert run(project, "supervised", lambda: True, spacing=0.0)[0]["round"] == 0
    assert Plan.load(path).chosen_spacing == 0.0
