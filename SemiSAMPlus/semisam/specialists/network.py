"""The specialist's network, by the name and in the size of the plan.

    unet      MONAI's residual U-Net whose first level already halves the grid: the default, made for CPUs
    vnet      the V-Net of the published semi-supervised methods (published.py), for GPUs
    unet-3d   the 3D U-Net of Çiçek et al. (published.py), for GPUs

A name that is added here needs its line in ``sizes.NETWORKS``, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from monai.networks.nets import UNet as MonaiUNet
from torch import nn

from semisam.specialists.encoder_decoder import SpecialistNetwork
from semisam.specialists.plan import Plan
from semisam.specialists.published import UNet3D, VNet


def make_network(plan: Plan) -> SpecialistNetwork:
    """(batch, 1, k, j, i) normalized image -> (batch, 1 + segments, k, j, i) logits, background first."""
    return _BUILDERS[plan.network](plan, 1 + len(plan.segments), False)


def make_sibling(plan: Plan) -> SpecialistNetwork:
    """A network for the same task in the same size but of another structure: with residual connections where
    ``make_network`` has none, and the other way round."""
    return _BUILDERS[plan.network](plan, 1 + len(plan.segments), True)


def make_head(plan: Plan, outputs: int) -> nn.Module:
    """A second output layer, from the same features as that of ``make_network`` to ``outputs`` channels."""
    return _BUILDERS[plan.network](plan, outputs, False).output_layer


class UNet(MonaiUNet, SpecialistNetwork):
    """The first level already halves the grid, which on a CPU gives four times as many steps as a full-resolution level
    of the same width."""

    @property
    def output_layer(self) -> nn.Module:
        model: Any = self.model
        return cast(nn.Module, model[2])

    @property
    def deepest_layer(self) -> nn.Module:
        layer: Any = self.model
        while type(layer) is nn.Sequential:  # a level: down, the skip connection round all deeper ones, up
            layer = layer[1].submodule
        return cast(nn.Module, layer)


def _unet(plan: Plan, outputs: int, sibling: bool) -> SpecialistNetwork:
    return _channels_last(
        UNet(
            spatial_dims=3,
            in_channels=1,
            out_channels=outputs,
            channels=plan.channels,
            strides=plan.strides,  # type: ignore[arg-type]  # MONAI takes a triple for each level, too
            num_res_units=0 if sibling else 2,
        )
    )


def _vnet(plan: Plan, outputs: int, sibling: bool) -> SpecialistNetwork:
    return _channels_last(VNet(outputs, plan.channels, plan.strides, residual=sibling))


def _unet_3d(plan: Plan, outputs: int, sibling: bool) -> SpecialistNetwork:
    return _channels_last(UNet3D(outputs, plan.channels, plan.strides, residual=sibling))


def _channels_last(network: SpecialistNetwork) -> SpecialistNetwork:
    """The order of the weights that makes bfloat16 fast on a CPU."""
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


_BUILDERS: dict[str, Callable[[Plan, int, bool], SpecialistNetwork]] = {
    "unet": _unet,
    "vnet": _vnet,
    "unet-3d": _unet_3d,
}
