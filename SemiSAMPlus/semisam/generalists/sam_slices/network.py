"""The network of Segment Anything and MedSAM, from the package segment-anything, in the size that its weights have.

A. Kirillov et al., Segment Anything, arXiv 2304.02643; J. Ma et al., Segment anything in medical images, Nature
Communications 15, 2024. Only the package's modules are used: the rest of it wants torchvision, in the one version that
fits torch.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

_NAMES = {(768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}
_PATCH = 16


@dataclass(frozen=True)
class Sizes:
    """What differs between the published networks. ``image`` is the side of their input in pixels."""

    channels: int
    blocks: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int
    image: int
    outputs: int

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]]) -> Sizes:
        """The sizes of the network whose tensors have these shapes. Raises KeyError, ValueError when they tell none."""
        tables: list[tuple[int, ...]] = []
        while (name := f"image_encoder.blocks.{len(tables)}.attn.rel_pos_h") in shapes:
            tables.append(shapes[name])
        _, tokens, _, channels = shapes["image_encoder.pos_embed"]
        everywhere = [length == 2 * tokens - 1 for length, _ in tables]
        return cls(
            channels=channels,
            blocks=len(tables),
            heads=channels // tables[0][1],
            global_blocks=tuple(index for index, whole in enumerate(everywhere) if whole),
            window=min((length + 1) // 2 for length, _ in tables),
            image=_PATCH * tokens,
            outputs=shapes["image_encoder.neck.0.weight"][0],
        )


class SliceNetwork(nn.Module):
    """Encoder, prompt encoder and mask decoder, with the key layout of the published checkpoints.

    Raises ImportError when the package segment-anything is missing.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        package = _modeling()
        tokens = sizes.image // _PATCH
        self.sizes = sizes
        self.image_encoder = package.ImageEncoderViT(
            img_size=sizes.image,
            patch_size=_PATCH,
            embed_dim=sizes.channels,
            depth=sizes.blocks,
            num_heads=sizes.heads,
            mlp_ratio=4,
            out_chans=sizes.outputs,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=sizes.window,
            global_attn_indexes=sizes.global_blocks,
        )
        self.prompt_encoder = package.PromptEncoder(
            embed_dim=sizes.outputs,
            image_embedding_size=(tokens, tokens),
            input_image_size=(sizes.image, sizes.image),
            mask_in_chans=16,
        )
        self.mask_decoder = package.MaskDecoder(
            num_multimask_outputs=3,
            transformer=package.TwoWayTransformer(depth=2, embedding_dim=sizes.outputs, mlp_dim=2048, num_heads=8),
            transformer_dim=sizes.outputs,
        )

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, outputs, tokens, tokens) for (1, 3, image, image)."""
        features: torch.Tensor = self.image_encoder(pixels)
        return features

    def decode(
        self,
        features: torch.Tensor,
        points: tuple[torch.Tensor, torch.Tensor] | None,
        boxes: torch.Tensor | None,
        masks: torch.Tensor | None,
    ) -> torch.Tensor:
        """(b, 1, image / 4, image / 4) logits.

        points  (b, n, 2) x, y in pixels and (b, n) labels: 1 inside, 0 outside, -1 none
        boxes   (b, 4) x0, y0, x1, y1
        masks   (b, 1, image / 4, image / 4) logits
        """
        sparse, dense = self.prompt_encoder(points=points, boxes=boxes, masks=masks)
        logits: torch.Tensor = self.mask_decoder(
            image_embeddings=features,
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )[0]
        return logits


def check_layout(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Whether these are the tensors of SAM or MedSAM. Raises ValueError with what does not fit, and ImportError."""
    try:
        sizes = Sizes.of(shapes)
        name = _NAMES[(sizes.channels, sizes.blocks)]
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ValueError("it has not the tensors of Segment Anything") from error
    with torch.device("meta"):
        expected = {key: tuple(tensor.shape) for key, tensor in SliceNetwork(sizes).state_dict().items()}
    for key in expected.keys() | shapes.keys():
        if key not in shapes or key not in expected or tuple(shapes[key]) != expected[key]:
            raise ValueError(f'its tensor "{key}" is not as in Segment Anything {name}')
    return f"Segment Anything, {name} with {sizes.image}^2 pixels"


def network_of(tensors: Mapping[str, torch.Tensor]) -> SliceNetwork:
    """The network with these weights (not copied), frozen. Raises KeyError, ValueError, RuntimeError for others."""
    sizes = Sizes.of({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    with torch.device("meta"):
        network = SliceNetwork(sizes)
    network.load_state_dict(dict(tensors), assign=True)
    return network.eval().requires_grad_(False)


def _modeling() -> Any:
    """``segment_anything.modeling`` without the rest of the package."""
    if "segment_anything.modeling" not in sys.modules and "segment_anything" not in sys.modules:
        spec = importlib.util.find_spec("segment_anything")
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError("No module named 'segment_anything'", name="segment-anything")
        shell = types.ModuleType("segment_anything")
        shell.__path__ = list(spec.submodule_search_locations)
        sys.modules["segment_anything"] = shell
        try:
            return importlib.import_module("segment_anything.modeling")
        finally:
            del sys.modules["segment_anything"]
    return sys.modules.get("segment_anything.modeling") or importlib.import_module("segment_anything.modeling")
