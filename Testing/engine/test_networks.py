"""The networks by name: their shapes, their sizes, what they offer to frameworks, and how a plan names them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from frameworks_kit import tiny_plan
from semisam.errors import PlanError, UsageError
from semisam.specialists.fingerprint import Fingerprint
from semisam.specialists.hardware import Hardware
from semisam.specialists.network import make_head, make_network, make_sibling
from semisam.specialists.plan import Plan, make_plan
from semisam.specialists.published import UNet3D, VNet
from semisam.specialists.sizes import NETWORKS

CPU = Hardware("cpu", "CPU", 2, 24_000, False)
GPU = Hardware("cuda", "GPU", 16, 80_000, True)
HALVED = (2, 2, 2)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def published(name: str, hardware: Hardware = GPU, spacing: tuple[float, float, float] = (0.6, 0.6, 0.6)) -> Plan:
    """A plan for volumes as large as those of the left atrium."""
    extent = tuple(size * step for size, step in zip((88, 140, 190), spacing, strict=True))
    data = Fingerprint(80, 4, (88, 140, 190), spacing, extent, {"atrium": 50.0}, {}, "MR or other")  # type: ignore[arg-type]
    return make_plan(data, hardware, ("atrium",), name)


@pytest.mark.parametrize("strides", [((2, 2, 2), (2, 2, 2)), ((1, 2, 2), (2, 2, 2))])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_have_the_shape_of_the_image_and_a_head_that_of_the_logits(
    name: str, strides: tuple[tuple[int, int, int], ...]
) -> None:
    plan = tiny_plan(network=name, strides=strides)
    image = torch.randn(2, 1, 8, 12, 16)
    for network in (make_network(plan), make_sibling(plan)):
        features: list[torch.Tensor] = []
        network.output_layer.register_forward_pre_hook(lambda layer, inputs, kept=features: kept.append(inputs[0]))
        deepest: list[torch.Tensor] = []
        network.deepest_layer.register_forward_hook(lambda layer, inputs, found, kept=deepest: kept.append(found))
        assert network(image).shape == (2, 3, 8, 12, 16)
        assert (
            deepest[0].shape[2:]
            == tuple(size // step for size, step in zip(image.shape[2:], plan.total_stride, strict=True))
            or name == "unet"
        )
        assert make_head(plan, 5)(features[0]).shape == (2, 5, 8, 12, 16)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_keep_no_statistics_and_treat_the_items_of_a_batch_alike(name: str) -> None:
    """The teacher is an average of parameters, and batches are tiny: nothing may depend on the rest of a batch."""
    network = make_network(tiny_plan(network=name)).train()
    image = torch.randn(2, 1, 16, 16, 16)
    assert not list(network.buffers())
    with torch.no_grad():
        assert torch.allclose(network(image)[:1], network(image[:1]), atol=1e-5)


def test_the_v_net_has_the_size_that_the_papers_report() -> None:
    """9.44 million parameters, as BCP and its successors tell of their V-Net (two classes)."""
    with torch.device("meta"):
        network = make_network(published("vnet"))
    assert isinstance(network, VNet)
    assert int(parameters(network) / 1e4) / 100 == 9.44


def test_the_3d_u_net_has_the_size_that_its_paper_reports() -> None:
    """19,069,955 parameters (Çiçek et al. 2016, section 3) with three channels and three classes, norms left out."""
    plan = published("unet-3d")
    with torch.device("meta"):
        network = UNet3D(3, plan.channels, plan.strides, inputs=3)
    norms = sum(parameters(module) for module in network.modules() if isinstance(module, nn.GroupNorm))
    assert parameters(network) - norms == 19_069_955


def test_the_default_network_is_what_it_was() -> None:
    plan = replace(published("unet", CPU), segments=("head", "tail"))
    assert plan.channels == (16, 32, 64, 128)
    assert parameters(make_network(plan)) == 1_187_766


def test_a_plan_for_the_v_net_halves_four_times_but_not_thick_slices() -> None:
    plan = published("vnet")
    assert plan.network == "vnet" and plan.channels == (16, 32, 64, 128, 256) and plan.strides == (HALVED,) * 4
    assert all(size % 16 == 0 for size in plan.patch)
    thick = published("vnet", spacing=(6.0, 1.0, 1.0))
    assert thick.strides[0] == (1, 2, 2) and len(thick.strides) == 4


def test_full_resolution_costs_memory_that_the_patch_is_cut_for() -> None:
    small = replace(GPU, memory_mb=11_000)
    voxels = [torch.Size(published(name, small).patch).numel() for name in ("unet", "vnet", "unet-3d")]
    assert voxels[0] > voxels[1] > voxels[2]


def test_an_unknown_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='"nonet".*unet, vnet, unet-3d'):
        published("nonet")
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(tiny_plan().to_dict() | {"network": "nonet"}))
    with pytest.raises(PlanError, match='unknown network "nonet"'):
        Plan.load(path)


def test_a_plan_of_an_earlier_version_names_no_network_and_means_the_default(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({key: value for key, value in tiny_plan().to_dict().items() if key != "network"}))
    assert Plan.load(path).network == "unet"
