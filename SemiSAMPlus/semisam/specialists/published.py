"""The two networks that the published semi-supervised methods train, in their sizes, for machines with a GPU.

Both work at full resolution, which costs a CPU more time than a short budget has. Their norms are those of groups of
channels instead of batches: batches here are two patches, and a norm that keeps statistics would need them averaged
for the teacher. MONAI has a V-Net, too: that of Milletari et al. with 5 x 5 x 5 kernels, five times as large, which
halves thick slices like all other axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semisam.specialists.encoder_decoder import SpecialistNetwork

Stride = tuple[int, int, int]

_VNET_CONVOLUTIONS = (1, 2, 3, 3, 3)


class _Block(nn.Module):
    """Convolutions of 3 x 3 x 3, each with norm and ReLU; ``residual`` adds a way round them."""

    def __init__(self, inputs: int, widths: Sequence[int], residual: bool) -> None:
        super().__init__()
        channels = (inputs, *widths)
        self.convolutions = nn.Sequential()
        for before, after in zip(channels[:-1], channels[1:], strict=True):
            self.convolutions.extend([nn.Conv3d(before, after, 3, padding=1), _norm(after), nn.ReLU()])
        self.shortcut = nn.Conv3d(inputs, channels[-1], 1) if residual else None

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.convolutions(features)
        return found if self.shortcut is None else found + self.shortcut(features)


class _EncoderDecoder(SpecialistNetwork):
    """Blocks that get coarser, then finer again; ``_join`` brings in what the encoder had at the same resolution."""

    encoder: nn.ModuleList
    downs: nn.ModuleList
    ups: nn.ModuleList
    decoder: nn.ModuleList
    output: nn.Conv3d

    @property
    def output_layer(self) -> nn.Module:
        return self.output

    @property
    def deepest_layer(self) -> nn.Module:
        return self.encoder[-1]

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 1, k, j, i) -> (batch, outputs, k, j, i)."""
        features = self.encoder[0](image)
        kept = []
        for down, block in zip(self.downs, self.encoder[1:], strict=True):
            kept.append(features)
            features = block(down(features))
        for up, block in zip(self.ups, self.decoder, strict=True):
            features = block(self._join(up(features), kept.pop()))
        found: Tensor = self.output(features)
        return found

    def _join(self, coarse: Tensor, fine: Tensor) -> Tensor:
        raise NotImplementedError


class VNet(_EncoderDecoder):
    """The V-Net of UA-MT, DTC, BCP and SDCL: 16 to 256 channels, 9.44 million parameters; resolutions are added.

    After Milletari et al., 3DV 2016 (arXiv:1606.04797), as Yu et al., MICCAI 2019, use it: 3 x 3 x 3 kernels and no
    residual connections. With ``residual`` it is the ResV-Net that SDCL trains beside it.
    """

    def __init__(
        self, outputs: int, channels: Sequence[int], strides: Sequence[Stride], inputs: int = 1, residual: bool = False
    ) -> None:
        super().__init__()
        # Deeper levels than the published five repeat the last number of convolutions.
        counts = [_VNET_CONVOLUTIONS[min(level, len(_VNET_CONVOLUTIONS) - 1)] for level in range(len(channels))]
        widths = [(width,) * count for width, count in zip(channels, counts, strict=True)]
        before = (inputs, *channels[1:])
        self.encoder = nn.ModuleList(_Block(*pair, residual) for pair in zip(before, widths, strict=True))
        self.downs, self.ups, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for fine, coarse, stride in zip(channels[:-1], channels[1:], strides, strict=True):
            self.downs.append(nn.Sequential(nn.Conv3d(fine, coarse, stride, stride), _norm(coarse), nn.ReLU()))
        for level in reversed(range(len(strides))):
            up = nn.ConvTranspose3d(channels[level + 1], channels[level], strides[level], strides[level])
            self.ups.append(nn.Sequential(up, _norm(channels[level]), nn.ReLU()))
            self.decoder.append(_Block(channels[level], widths[level], residual))
        self.output = nn.Conv3d(channels[0], outputs, 1)

    def _join(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return coarse + fine


class UNet3D(_EncoderDecoder):
    """The 3D U-Net: 64 to 512 channels, 19 million parameters; resolutions are concatenated.

    Çiçek et al., MICCAI 2016 (arXiv:1606.06650), with padded convolutions. ``channels`` are those at the end of each
    level, as in figure 2 there; the first convolution of a level of the encoder has half of them.
    """

    def __init__(
        self, outputs: int, channels: Sequence[int], strides: Sequence[Stride], inputs: int = 1, residual: bool = False
    ) -> None:
        super().__init__()
        self.encoder, self.downs, self.ups = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.decoder = nn.ModuleList()
        for before, width in zip((inputs, *channels), channels, strict=False):
            self.encoder.append(_Block(before, (max(1, width // 2), width), residual))
        for stride in strides:
            self.downs.append(nn.MaxPool3d(stride))
        for level in reversed(range(len(strides))):
            fine, coarse = channels[level], channels[level + 1]
            self.ups.append(nn.ConvTranspose3d(coarse, coarse, strides[level], strides[level], bias=False))
            self.decoder.append(_Block(fine + coarse, (fine, fine), residual))
        self.output = nn.Conv3d(channels[0], outputs, 1)

    def _join(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return torch.cat([fine, coarse], 1)


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(8, channels), channels)
