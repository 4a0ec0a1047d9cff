"""The specialist's network: MONAI's residual U-Net in the size of the plan."""

from __future__ import annotations

import torch
from monai.networks.nets import UNet

from semisam.specialists.plan import Plan


def make_network(plan: Plan) -> torch.nn.Module:
    """(batch, 1, k, j, i) normalized image -> (batch, 1 + segments, k, j, i) logits, background first.

    The first level already halves the grid, which on a CPU gives four times as many steps as a full-resolution level
    of the same width. channels_last_3d is what makes bfloat16 fast there.
    """
    network = UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=1 + len(plan.segments),
        channels=plan.channels,
        strides=plan.strides,  # type: ignore[arg-type]  # MONAI takes a triple for each level, too
        num_res_units=2,
    )
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
