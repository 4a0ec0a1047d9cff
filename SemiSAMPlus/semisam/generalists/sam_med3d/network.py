"""The network of SAM-Med3D as a whole, and its key layout. SAM-Med3D-turbo and SegAnyPET have the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from semisam.generalists.sam_med3d.decoder import MaskDecoder, PromptEncoder
from semisam.generalists.sam_med3d.encoder import ImageEncoder


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network; the defaults are those of the published checkpoints (``vit_b_ori``).

    tokens    along each side; an image has 16 times as many voxels along each side, a mask 4 times as many
    channels  of the encoder's tokens
    outputs   channels of the features
    """

    tokens: int = 8
    channels: int = 768
    heads: int = 12
    blocks: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    window: int = 14
    outputs: int = 384
    hidden: int = 2048

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]]) -> Architecture:
        """The sizes of the network whose tensors have these shapes. Raises KeyError when a decisive one is missing."""
        tables: list[tuple[int, ...]] = []
        while (name := f"image_encoder.blocks.{len(tables)}.attn.rel_pos_d") in shapes:
            tables.append(shapes[name])
        _, tokens, _, _, channels = shapes["image_encoder.pos_embed"]
        lengths = [table[0] for table in tables]
        return cls(
            tokens=tokens,
            channels=channels,
            heads=channels // tables[0][1],
            blocks=len(tables),
            global_blocks=tuple(n for n, length in enumerate(lengths) if length == 2 * tokens - 1),
            window=(max(lengths) + 1) // 2,
            outputs=shapes["image_encoder.neck.0.weight"][0],
            hidden=shapes["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
        )


class SamMed3DNetwork(nn.Module):
    """Encoder, prompt encoder and decoder; all arrays in the order of the image's tensor."""

    def __init__(self, sizes: Architecture | None = None) -> None:
        super().__init__()
        sizes = sizes or Architecture()
        self.sizes = sizes
        self.image_encoder = ImageEncoder(
            sizes.tokens, sizes.channels, sizes.heads, sizes.blocks, sizes.global_blocks, sizes.window, sizes.outputs
        )
        self.prompt_encoder = PromptEncoder(sizes.outputs, sizes.tokens)
        self.mask_decoder = MaskDecoder(sizes.outputs, sizes.hidden)

    def encode(self, voxels: torch.Tensor) -> torch.Tensor:
        """(b, outputs, m, m, m) features of normalized voxels (b, 1, 16m, 16m, 16m)."""
        features: torch.Tensor = self.image_encoder(voxels)
        return features

    def decode(
        self, features: torch.Tensor, points: torch.Tensor, labels: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        """(b, 1, 4m, 4m, 4m) logits for b prompts to one image.

        features  (1, outputs, m, m, m)
        points    (b, n, 3) voxel indices; n may be 0
        labels    (b, n): 1 inside the object, 0 outside, -1 no point at all
        masks     (b, 1, 4m, 4m, 4m) logits, or None
        """
        sparse = self.prompt_encoder.sparse(points, labels)
        dense = self.prompt_encoder.dense(masks, len(points))
        logits: torch.Tensor = self.mask_decoder(features, self.prompt_encoder.grid(), sparse, dense)
        return logits


def shapes_of(sizes: Architecture | None = None) -> dict[str, tuple[int, ...]]:
    """The key layout: names and shapes of all tensors. Nothing is allocated."""
    with torch.device("meta"):
        network = SamMed3DNetwork(sizes)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def check_layout(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Whether these are the tensors of a published checkpoint. Raises ValueError with what does not fit."""
    expected = shapes_of()
    for name, shape in expected.items():
        if name not in shapes:
            raise ValueError(f'the tensor "{name}" of SAM-Med3D is missing')
        if tuple(shapes[name]) != shape:
            raise ValueError(f'its tensor "{name}" has the shape {tuple(shapes[name])} instead of {shape}')
    for name in shapes:
        if name not in expected:
            raise ValueError(f'SAM-Med3D has no tensor "{name}"')
    return "SAM-Med3D, ViT-B with 128^3 voxels"


def network_of(tensors: Mapping[str, torch.Tensor]) -> SamMed3DNetwork:
    """The network with these weights (not copied), frozen. Raises KeyError, ValueError, RuntimeError for others."""
    sizes = Architecture.of({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    with torch.device("meta"):
        network = SamMed3DNetwork(sizes)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return network.eval().requires_grad_(False)
