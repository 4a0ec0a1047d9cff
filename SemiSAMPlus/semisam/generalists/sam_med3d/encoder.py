"""The image encoder of SAM-Med3D: a 3D vision transformer, from 128^3 voxels to 8^3 vectors.

H. Wang et al., SAM-Med3D, arXiv 2310.15161. Names of modules are those of the published checkpoints.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from semisam.generalists.sam_med3d.attention import Attention


class ImageEncoder(nn.Module):
    """(b, 1, n, n, n) normalized voxels to (b, outputs, m, m, m) features, m = n / 16.

    tokens  along each side (m)
    window  of the blocks that are not in ``global_blocks``; it may reach beyond the tokens
    """

    def __init__(
        self,
        tokens: int = 8,
        channels: int = 768,
        heads: int = 12,
        blocks: int = 12,
        global_blocks: tuple[int, ...] = (2, 5, 8, 11),
        window: int = 14,
        outputs: int = 384,
    ) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, tokens, tokens, channels))
        self.patch_embed = _Patches(channels)
        self.blocks = nn.ModuleList(
            _Block(channels, heads, tokens if index in global_blocks else window) for index in range(blocks)
        )
        self.neck = nn.Sequential(
            nn.Conv3d(channels, outputs, 1, bias=False),
            ChannelNorm(outputs),
            nn.Conv3d(outputs, outputs, 3, padding=1, bias=False),
            ChannelNorm(outputs),
        )

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        tokens = self.patch_embed(voxels) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        features: torch.Tensor = self.neck(tokens.movedim(-1, 1))
        return features


class _Patches(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(1, channels, 16, stride=16)

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        """(b, 1, n, n, n) to (b, m, m, m, channels)."""
        return self.proj(voxels).movedim(1, -1)


class _Block(nn.Module):
    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = Attention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = TwoLayers(channels, 4 * channels, nn.GELU())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class TwoLayers(nn.Module):
    """Linear, activation, linear."""

    def __init__(self, channels: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.lin1 = nn.Linear(channels, hidden)
        self.lin2 = nn.Linear(hidden, channels)
        self._activation = activation

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.lin2(self._activation(self.lin1(values)))


class ChannelNorm(nn.Module):
    """Layer normalization over the channels of (b, c, x, y, z)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        last = values.movedim(1, -1)
        return functional.layer_norm(last, last.shape[-1:], self.weight, self.bias, 1e-6).movedim(-1, 1)
