"""The prompt encoder and the mask decoder of SAM-Med3D: from features and prompts to logits, a quarter of the size.

H. Wang et al., SAM-Med3D, arXiv 2310.15161, after A. Kirillov et al., Segment Anything, arXiv 2304.02643. Names of
modules are those of the published checkpoints; some of their parts are never used here, but belong to the key layout.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from semisam.generalists.sam_med3d.encoder import ChannelNorm, TwoLayers

_MASKS = 4


class PromptEncoder(nn.Module):
    """Points and masks become vectors.

    channels  of all vectors
    tokens    image features along each side; images are 16 times as many voxels, masks 4 times as many
    """

    def __init__(self, channels: int = 384, tokens: int = 8) -> None:
        super().__init__()
        self.tokens = tokens
        self.pe_layer = _Places(channels // 3)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, channels) for _ in range(2))
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.mask_downscaling = nn.Sequential(
            nn.Conv3d(1, 4, 2, stride=2),
            ChannelNorm(4),
            nn.GELU(),
            nn.Conv3d(4, 16, 2, stride=2),
            ChannelNorm(16),
            nn.GELU(),
            nn.Conv3d(16, channels, 1),
        )
        self.no_mask_embed = nn.Embedding(1, channels)

    def sparse(self, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(b, n + 1, channels) for points (b, n, 3), voxel indices, and labels (b, n): 1 inside, 0 outside, -1 none.

        The last vector says "not a point", as in training. Without any point (n = 0) there are no vectors at all.
        """
        if points.shape[1] == 0:
            return points.new_zeros(len(points), 0, self.no_mask_embed.weight.shape[1])
        places = self.pe_layer((points + 0.5) / (16 * self.tokens))
        outside, inside = self.point_embeddings
        kinds = torch.cat([layer.weight for layer in (self.not_a_point_embed, outside, inside)])  # type: ignore[misc]
        vectors = torch.where((labels >= 0)[..., None], places, 0) + kinds[labels + 1]
        return torch.cat([vectors, kinds[:1].expand(len(points), 1, -1)], 1)

    def dense(self, masks: torch.Tensor | None, batch: int) -> torch.Tensor:
        """(b, channels, m, m, m) for mask logits (b, 1, 4m, 4m, 4m), or for none."""
        if masks is not None:
            vectors: torch.Tensor = self.mask_downscaling(masks)
            return vectors
        return self.no_mask_embed.weight.view(1, -1, 1, 1, 1).expand(batch, -1, *(self.tokens,) * 3)

    def grid(self) -> torch.Tensor:
        """(1, channels, m, m, m): the places of the image features.

        The first two axes are exchanged against those of points, as in the code that published weights come from.
        """
        center = (
            torch.arange(self.tokens, device=self.no_mask_embed.weight.device).to(self.no_mask_embed.weight) + 0.5
        ) / self.tokens
        x, y, z = torch.meshgrid(center, center, center, indexing="ij")
        return self.pe_layer(torch.stack([y, x, z], -1)).movedim(-1, 0)[None]


class _Places(nn.Module):
    """Positions in 0..1 as sines and cosines of random directions (M. Tancik et al., arXiv 2006.10739)."""

    positional_encoding_gaussian_matrix: torch.Tensor

    def __init__(self, directions: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(3, directions))

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """(..., 3) to (..., 3 * directions)."""
        angles = 2 * math.pi * ((2 * positions - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angles.sin(), angles.cos(), angles.sin()], -1)


class MaskDecoder(nn.Module):
    """Image features and prompts become one mask an object."""

    def __init__(self, channels: int = 384, hidden: int = 2048, heads: int = 8) -> None:
        super().__init__()
        self.transformer = _TwoWay(channels, hidden, heads)
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(_MASKS, channels)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(channels, channels // 4, 2, stride=2),
            ChannelNorm(channels // 4),
            nn.GELU(),
            nn.ConvTranspose3d(channels // 4, channels // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            _Layers(channels, channels, channels // 8) for _ in range(_MASKS)
        )
        # Never trained by the authors, so never asked; it is in the published files.
        self.iou_prediction_head = _Layers(channels, 256, _MASKS)

    def forward(
        self, features: torch.Tensor, places: torch.Tensor, sparse: torch.Tensor, dense: torch.Tensor
    ) -> torch.Tensor:
        """(b, 1, 4m, 4m, 4m) logits.

        features, places  (1, channels, m, m, m) of one image
        sparse, dense     (b, n, channels) and (b, channels, m, m, m) of b prompts
        """
        batch, side = len(sparse), features.shape[-1]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(batch, -1, -1), sparse], 1)
        image = (features + dense).flatten(2).transpose(1, 2)
        tokens, image = self.transformer(tokens, image, places.flatten(2).transpose(1, 2))
        upscaled = self.output_upscaling(image.transpose(1, 2).unflatten(2, (side, side, side)))
        # Of the four masks the first is meant for prompts that leave no doubt.
        mixture = self.output_hypernetworks_mlps[0](tokens[:, 1])
        return torch.einsum("bc,bcxyz->bxyz", mixture, upscaled)[:, None]


class _TwoWay(nn.Module):
    """Prompts look at the image and the image at the prompts, twice; then prompts look once more."""

    def __init__(self, channels: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_TwoWayLayer(channels, hidden, heads, first=index == 0) for index in range(2))
        self.final_attn_token_to_image = _Attention(channels, heads, 2)
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(
        self, prompts: torch.Tensor, image: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both as (b, n, channels); ``places`` are those of the image."""
        tokens = prompts
        for layer in self.layers:
            tokens, image = layer(tokens, image, prompts, places)
        tokens = tokens + self.final_attn_token_to_image(tokens + prompts, image + places, image)
        return self.norm_final_attn(tokens), image


class _TwoWayLayer(nn.Module):
    def __init__(self, channels: int, hidden: int, heads: int, first: bool) -> None:
        super().__init__()
        self._first = first
        self.self_attn = _Attention(channels, heads, 1)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = _Attention(channels, heads, 2)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = TwoLayers(channels, hidden, nn.ReLU())
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = _Attention(channels, heads, 2)

    def forward(
        self, tokens: torch.Tensor, image: torch.Tensor, prompts: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self._first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            tokens = tokens + self.self_attn(tokens + prompts, tokens + prompts, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + prompts, image + places, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(image + places, tokens + prompts, tokens))
        return tokens, image


class _Attention(nn.Module):
    """Multi-head attention whose inside is ``shrink`` times narrower than ``channels``."""

    def __init__(self, channels: int, heads: int, shrink: int) -> None:
        super().__init__()
        self._heads = heads
        inside = channels // shrink
        self.q_proj = nn.Linear(channels, inside)
        self.k_proj = nn.Linear(channels, inside)
        self.v_proj = nn.Linear(channels, inside)
        self.out_proj = nn.Linear(inside, channels)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        parts = (self.q_proj(query), self.k_proj(key), self.v_proj(value))
        heads = (part.unflatten(-1, (self._heads, -1)).transpose(1, 2) for part in parts)
        answer = nn.functional.scaled_dot_product_attention(*heads)
        return self.out_proj(answer.transpose(1, 2).flatten(2))


class _Layers(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)])

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            values = layer(values).relu()
        return self.layers[-1](values)
