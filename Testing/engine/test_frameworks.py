"""What every framework has to do: teach the student, leave the teacher and the other patches alone, learn along."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from frameworks_kit import SIZE, labelled, make, tiny_plan, unlabelled
from semisam.errors import UsageError
from semisam.learning.frameworks.registry import FRAMEWORKS, check_framework
from semisam.learning.sampling import LabelledPatch
from semisam.specialists.network import make_network

NAMES = list(FRAMEWORKS)
SEMI = [name for name in NAMES if name != "supervised"]
# Parts of each framework that only it has.
OWN = {"dan": "evaluator", "dtc": "distance", "sdcl": "second"}


def second(batch: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The batch with its second item from another one."""
    return torch.cat([batch[:1], other[1:]])


@pytest.mark.parametrize("name", NAMES)
def test_every_framework_teaches_the_student_and_its_own_networks_but_not_the_teacher(name: str) -> None:
    framework, student, teacher = make(name)
    result = framework.step(student, teacher, labelled(), unlabelled(), 0.5)
    (result.supervised + result.consistency + (0 if result.own is None else result.own)).backward()
    for parameter in (*student.module.parameters(), *framework.own.parameters()):
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
    assert all(parameter.grad is None for parameter in teacher.module.parameters())
    assert list(framework.own) == ([OWN[name]] if name in OWN else [])
    assert framework.uses_unlabelled == (result.student_probability is not None)
    if result.student_probability is not None:
        assert result.student_probability.shape == (2, 3, *SIZE) and result.student_probability.requires_grad
        assert torch.allclose(result.student_probability.sum(1), torch.ones(2, *SIZE), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_without_an_unannotated_case_every_framework_learns_from_the_annotated_ones(name: str) -> None:
    framework, student, _ = make(name)
    result = framework.supervised(student, labelled())
    result.supervised.backward()
    assert result.consistency == 0 and result.student_probability is None
    assert all(parameter.grad is not None for parameter in student.module.parameters())
    # The networks that do the task have to know it when the unannotated cases come in; E has nothing to judge yet.
    learned = [parameter.grad is not None for parameter in framework.own.parameters()]
    assert all(learned) if name != "dan" else not any(learned)


@pytest.mark.parametrize("name", SEMI)
@pytest.mark.parametrize("part", ["labelled", "unlabelled"])
def test_what_the_student_says_of_one_item_does_not_depend_on_the_others(name: str, part: str) -> None:
    """The second item of a batch is another one; the first one's probabilities stay."""
    answers = []
    for changed in (False, True):
        framework, student, teacher = make(name)
        one, other = labelled(), unlabelled()
        if changed and part == "labelled":
            swap = labelled(seed=7)
            one = LabelledPatch(second(one.image, swap.image), second(one.target, swap.target))
        if changed and part == "unlabelled":
            swapped = unlabelled(seed=8).weak
            other = replace(other, weak=second(other.weak, swapped), strong=second(other.strong, swapped))
        torch.manual_seed(1)
        found = framework.step(student, teacher, one, other, 0.5).student_probability
        assert found is not None
        answers.append(found.detach())
    assert torch.allclose(answers[0][0], answers[1][0], atol=1e-6)
    assert part == "labelled" or not torch.allclose(answers[0][1], answers[1][1], atol=1e-3)


@pytest.mark.parametrize("name", SEMI)
def test_the_consistency_of_two_equal_items_is_that_of_one(name: str) -> None:
    """No sum over the batch, no state carried from item to item. Dropout is off, for it differs from item to item."""
    values = []
    for batch in (1, 2):
        framework, student, teacher = make(name)
        one, other = labelled(batch=1), unlabelled(batch=1)
        if batch == 2:
            one = replace(one, image=one.image.repeat(2, 1, 1, 1, 1), target=one.target.repeat(2, 1, 1, 1, 1))
            other = replace(other, weak=other.weak.repeat(2, 1, 1, 1, 1), strong=other.strong.repeat(2, 1, 1, 1, 1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("torch.nn.functional.dropout3d", lambda features, rate: features)
            patch.setattr("torch.randn_like", torch.zeros_like)
            result = framework.step(student, teacher, one, other, 0.5)
        values.append((float(result.consistency.detach()), 0.0 if result.own is None else float(result.own.detach())))
    assert values[0] == pytest.approx(values[1], rel=2e-3)  # Dice of the whole batch is smoothed by 1 voxel


@pytest.mark.parametrize("name", NAMES)
def test_a_step_leaves_nothing_behind_in_the_networks(name: str) -> None:
    """Dropout and heads hang on them for the time of a step only: the weights are those of the plan's network."""
    framework, student, teacher = make(name)
    framework.supervised(student, labelled())
    framework.step(student, teacher, labelled(), unlabelled(), 1.0)
    for network in (student, teacher):
        assert network.module.state_dict().keys() == make_network(tiny_plan()).state_dict().keys()
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.module.modules())
        with torch.no_grad():
            assert torch.equal(network(labelled().image), network(labelled().image))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("network", "channels", "strides"),
    [
        ("vnet", (4, 8, 8), ((2, 2, 2), (1, 2, 2))),
        ("unet-3d", (4, 8, 8), ((1, 2, 2), (2, 2, 2))),
        ("unet", (4, 8), ((1, 2, 2),)),
    ],
)
def test_every_framework_trains_every_network_also_with_thick_slices(
    name: str, network: str, channels: tuple[int, ...], strides: tuple[tuple[int, int, int], ...]
) -> None:
    plan = tiny_plan(network=network, channels=channels, strides=strides, working_spacing=(3.0, 1.0, 1.0))
    framework, student, teacher = make(name, plan)
    result = framework.step(student, teacher, labelled(), unlabelled(), 0.0)
    (result.supervised + result.consistency).backward()
    assert torch.isfinite(result.supervised + result.consistency)
    assert all(parameter.grad is not None for parameter in student.module.parameters())


def test_an_unknown_framework_is_told_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match='"bcp".*auto, mean-teacher, ua-mt, dan, dtc, sdcl, copy-paste, supervised'):
        check_framework("bcp")


def test_the_panel_of_the_module_offers_the_frameworks_of_the_engine() -> None:
    """The module cannot import the engine, so it has their names written down."""
    source = Path(__file__).resolve().parents[2] / "SemiSAMPlus" / "SemiSAMPlusLib" / "parameter_node.py"
    (names,) = re.findall(r"^FRAMEWORKS = (\[.*?\])$", source.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert ast.literal_eval(names) == ["auto", *FRAMEWORKS]
