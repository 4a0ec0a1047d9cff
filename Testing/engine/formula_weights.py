"""Weights for SAM-Med3D and SAM made by the formula of shared/golden/README.md, for any size of the network."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch

_NORMS = ("norm", ".neck.1", ".neck.3", "mask_downscaling.1", "mask_downscaling.4", "output_upscaling.1")


def formula_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """A tensor for each name, always the same for the same name and shape."""
    return {name: torch.from_numpy(_tensor(name, tuple(shape))) for name, shape in shapes.items()}


def _tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name == "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix":
        return noise
    if len(shape) <= 1:
        normalizes = name.endswith("weight") and any(part in name for part in _NORMS)
        return np.float32(1) + np.float32(0.1) * noise if normalizes else np.float32(0.02) * noise
    few_rows = "embed" in name and len(shape) == 2 and shape[0] <= 4
    if few_rows or any(part in name for part in ("pos_embed", "rel_pos", "token")):
        return np.float32(0.2) * noise
    return (noise / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
