"""``sam-med3d``, ``sam-med3d-turbo`` and ``seganypet``: published 3D generalists of one architecture.

H. Wang et al., SAM-Med3D: Towards general-purpose segmentation models for volumetric medical images, arXiv 2310.15161;
Y. Zhang et al., SegAnyPET, arXiv 2502.14351. Their weights do not come with SemiSAM+: ``semisam generalists list``
tells how to get them. SAM-Med3D was trained on many public data sets, the left atrium challenge and BraTS among them.

The image goes in as in training: RAS axes, 1.5 mm, 128^3 voxels, CT clamped, zero mean and unit deviation of the voxels
above zero. The answer comes on a grid of 6 mm and is interpolated; finer details the network does not know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from semisam.generalists import weights, windows
from semisam.generalists.base import Context, Embedding
from semisam.generalists.parts import Parts
from semisam.generalists.sam_med3d.frame import COARSE, Frame, Tile
from semisam.generalists.sam_med3d.network import network_of
from semisam.generalists.sam_med3d.prompts import Telling, Told
from semisam.prompts import Prompts
from semisam.volumes import Geometry, Volume

_VERSION = 1
_BATCH = 8
# Images that go below this can only be CT, in Hounsfield units.
_CT_BELOW = -200.0
_CT_LIMIT = 1000.0


class SamMed3D:
    """The generalist ``sam-med3d``; follows ``semisam.generalists.base.Generalist``. Ignores prompts' ``segment``.

    context  device, and the folder where embeddings of tiles are kept
    file     weights (safetensors), or None for those that were imported

    Raises GeneralistError when the weights are missing or damaged.
    """

    name = "sam-med3d"
    raw_intensities = True

    def __init__(self, context: Context, file: Path | None = None) -> None:
        from semisam.specialists.hardware import detect

        self._device = torch.device(detect(context.device).device)
        file, digest = weights.chosen(self.name, file)
        self._network = weights.load(file, self.name, network_of).to(self._device)
        self._side = 16 * self._network.sizes.tokens
        self.fingerprint = f"{self.name}-{_VERSION}-{digest[:16]}"
        self._parts = Parts(f"{self.name}-tile", self.fingerprint, self._encode_tile, context.cache)

    def encode(self, volume: Volume) -> Embedding:
        """Features of a volume that fits into one tile; of a larger one the 1.5 mm image, float16.

        The tiles of large volumes are encoded when a prompt first needs them, and kept.
        """
        frame = Frame.of(volume.geometry, self._side)
        image = _image(volume, frame)
        meta = {"frame": asdict(frame)}
        if max(image.shape) > self._side:
            return Embedding({"image": image}, meta)
        only = frame.cut(image, _origin(frame))
        return Embedding({"features": self._features(only)}, meta)

    def predict(self, embedding: Embedding, prompts: Sequence[Prompts]) -> np.ndarray:
        """(n, k, j, i) float32 probabilities for the n prompts; prompts that name no object give zeros."""
        frame = Frame.from_dict(embedding.meta["frame"])
        answers = np.zeros((len(prompts), *frame.shape), np.float32)
        weight = np.zeros_like(answers)
        waiting: dict[Tile, list[tuple[int, Told]]] = defaultdict(list)
        for index, prompt in enumerate(prompts):
            telling = Telling(prompt, frame)
            for tile in telling.tiles:
                told = telling.told(tile)
                if told is not None:
                    waiting[tile].append((index, told))
        for tile, group in waiting.items():
            features = self._tile_features(embedding, frame, tile)
            for start in range(0, len(group), _BATCH):
                part = group[start : start + _BATCH]
                for (index, _), logits in zip(part, self._answers(features, [told for _, told in part]), strict=True):
                    frame.add(tile, logits, answers[index], weight[index])
        for answer, share in zip(answers, weight, strict=True):
            seen = share > 0
            answer[seen] = torch.sigmoid(torch.from_numpy(answer[seen] / share[seen])).numpy()
        return answers

    @torch.inference_mode()
    def _answers(self, features: torch.Tensor, told: Sequence[Told]) -> np.ndarray:
        """(n, m, m, m) logits. Each prompt's clicks go in one after the other, each beside the answer so far."""
        cells = self._side // COARSE
        logits = torch.zeros(len(told), 1, cells, cells, cells, device=self._device)
        for index, one in enumerate(told):
            if one.mask is not None:
                logits[index, 0] = torch.from_numpy(one.mask)
        for turn in range(max(1, *(len(one.points) for one in told))):
            clicks = [index for index, one in enumerate(told) if turn < len(one.points)]
            mask_alone = [index for index, one in enumerate(told) if turn == 0 and len(one.points) == 0]
            for group, count in ((clicks, 1), (mask_alone, 0)):
                if group:
                    points = np.stack([told[index].points[turn : turn + count] for index in group])
                    labels = np.stack([told[index].labels[turn : turn + count] for index in group])
                    where = torch.from_numpy(points).to(self._device), torch.from_numpy(labels).to(self._device)
                    logits[group] = self._network.decode(features, *where, logits[group])
        return logits[:, 0].cpu().numpy()

    def _tile_features(self, embedding: Embedding, frame: Frame, tile: Tile) -> torch.Tensor:
        stored = embedding.arrays.get("features")
        if stored is None:
            cut = frame.cut(embedding.arrays["image"], tile)
            stored = self._parts.get(Volume(cut, Geometry.simple(cut.shape))).arrays["features"]
        return torch.from_numpy(stored)[None].to(self._device, torch.float32)

    def _encode_tile(self, tile: Volume) -> Embedding:
        return Embedding({"features": self._features(tile.voxels)})

    def _features(self, tile: np.ndarray) -> np.ndarray:
        """(channels, m, m, m) float16 for the voxels of a tile."""
        voxels = torch.from_numpy(normalized(tile))[None, None].to(self._device)
        # In float32: bfloat16 is no faster on CPUs, and 1.5 % off (Testing/benchmarks/sam_med3d.md).
        with torch.inference_mode():
            features = self._network.encode(voxels)
        return features[0].cpu().numpy().astype(np.float16)


class SamMed3DTurbo(SamMed3D):
    """The generalist ``sam-med3d-turbo``."""

    name = "sam-med3d-turbo"


class SegAnyPET(SamMed3D):
    """The generalist ``seganypet``."""

    name = "seganypet"


def normalized(tile: np.ndarray) -> np.ndarray:
    """float32 with zero mean and unit deviation of the voxels above zero; of all voxels if there are none."""
    tile = tile.astype(np.float32)
    counted = tile[tile > 0]
    if counted.size < 2:
        counted = tile.ravel()
    deviation = float(counted.std(ddof=1, dtype=np.float64))
    return (tile - counted.mean(dtype=np.float64).astype(np.float32)) / np.float32(deviation if deviation > 0 else 1)


def _image(volume: Volume, frame: Frame) -> np.ndarray:
    """(x, y, z) float16 on the 1.5 mm grid: Hounsfield units, or other intensities in units that float16 can hold."""
    voxels = np.nan_to_num(frame.turned(np.asarray(volume.voxels)).astype(np.float32), posinf=0.0, neginf=0.0)
    if voxels.min() < _CT_BELOW:
        voxels = np.clip(voxels, -_CT_LIMIT, _CT_LIMIT)
    largest = max(float(np.abs(voxels).max()), 1e-30)
    return (windows.sample(voxels, frame.voxels, frame.grid) * (_CT_LIMIT / largest)).astype(np.float16)


def _origin(frame: Frame) -> Tile:
    x, y, z = (starts[0] for starts in frame.starts())
    return x, y, z
