"""``sam`` and ``medsam``: published generalists for pictures, asked slice by slice.

Segment Anything (A. Kirillov et al., arXiv 2304.02643) and MedSAM (J. Ma et al., Nature Communications 15, 2024),
ViT-B, L and H, through the package segment-anything: ``pip install segment-anything``. Their weights do not come with
SemiSAM+: ``semisam generalists list`` tells how to get them.

A slice is encoded when it is first asked about, and kept. Without a GPU that takes seconds each, so "auto" leaves these
two out there; asked for by name they work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semisam.errors import GeneralistError
from semisam.generalists import weights
from semisam.generalists.base import Context, Embedding
from semisam.generalists.parts import Parts
from semisam.generalists.sam_slices.frame import SliceFrame, eight_bits
from semisam.generalists.sam_slices.network import network_of
from semisam.generalists.sam_slices.walk import Question, Walk
from semisam.prompts import Prompts
from semisam.volumes import Geometry, Volume

_VERSION = 1
_BATCH = 16
# Slices that one prompt may ask about: without a GPU, and with one.
_MOST = (24, 96)


class Sam:
    """The generalist ``sam``; follows ``semisam.generalists.base.Generalist``. Ignores prompts' ``segment``.

    context  device, and the folder where embeddings of slices are kept
    file     weights (safetensors), or None for those that were imported

    Raises GeneralistError when the weights are missing or damaged, or when "auto" should not take it.
    """

    name = "sam"
    raw_intensities = True
    boxes_only = False

    def __init__(self, context: Context, file: Path | None = None) -> None:
        from semisam.specialists.hardware import detect

        hardware = detect(context.device)
        file, digest = weights.chosen(self.name, file)
        if context.automatic and hardware.device == "cpu":
            raise GeneralistError(
                "Without a GPU it takes seconds for every slice: name it with --generalist to use it all the same."
            )
        self._device = torch.device(hardware.device)
        self._most = _MOST[hardware.device != "cpu"]
        self._network = weights.load(file, self.name, network_of).to(self._device)
        self.fingerprint = f"{self.name}-{_VERSION}-{digest[:16]}"
        self._parts = Parts(f"{self.name}-slice", self.fingerprint, self._encode_picture, context.cache)

    def encode(self, volume: Volume) -> Embedding:
        """The slices in 8 bits. They are encoded when a prompt first needs them."""
        frame = SliceFrame.of(volume.geometry, self._network.sizes.image, self.boxes_only)
        pictures = np.ascontiguousarray(frame.turned(eight_bits(volume.voxels)))
        return Embedding({"pictures": pictures}, {"frame": asdict(frame)})

    def predict(self, embedding: Embedding, prompts: Sequence[Prompts]) -> np.ndarray:
        """(n, k, j, i) float32 probabilities for the n prompts; prompts that name no object give zeros."""
        frame = SliceFrame.from_dict(embedding.meta["frame"])
        pictures = embedding.arrays["pictures"]
        walks = [Walk(prompt, frame, self._most) for prompt in prompts]
        while any(walk.waiting for walk in walks):
            # All prompts ask about a slice together, so that it is encoded, or fetched, once.
            groups: dict[int, list[tuple[Walk, Question]]] = defaultdict(list)
            for walk in walks:
                for question in walk.waiting:
                    groups[question.slice].append((walk, question))
                walk.waiting = []
            for index, group in sorted(groups.items()):
                features = self._features(frame, pictures[index])
                for start in range(0, len(group), _BATCH):
                    part = group[start : start + _BATCH]
                    answers = self._decode(frame, features, [question for _, question in part])
                    for (walk, question), answer in zip(part, answers, strict=True):
                        walk.receive(question, answer)
        shape = [0, 0, 0]
        for axis, old in enumerate(frame.order):
            shape[old] = frame.shape[axis]
        result = np.zeros((len(prompts), *shape), np.float32)
        for answer, walk in zip(result, walks, strict=True):
            frame.turned(answer)[...] = torch.sigmoid(torch.from_numpy(walk.volume())).numpy()
        return result

    @torch.inference_mode()
    def _decode(self, frame: SliceFrame, features: torch.Tensor, questions: Sequence[Question]) -> np.ndarray:
        """(n, m, m) logits for questions about one slice. Those of one kind are answered together."""
        answers: list[np.ndarray | None] = [None] * len(questions)
        kinds: dict[tuple[bool, bool, bool], list[int]] = defaultdict(list)
        for index, question in enumerate(questions):
            box = question.box is not None
            alone = self.boxes_only and box
            kinds[(box, question.mask is not None and not alone, len(question.points) > 0 and not alone)].append(index)
        for (box, mask, points), members in kinds.items():
            asked = [questions[index] for index in members]
            boxes = self._tensor([_pixel_box(frame, question) for question in asked]) if box else None
            masks = self._tensor([question.mask for question in asked])[:, None] if mask else None
            clicks = self._clicks(frame, asked) if points else None
            for index, logits in zip(members, self._network.decode(features, clicks, boxes, masks), strict=True):
                answers[index] = logits[0].float().cpu().numpy()
        return np.stack(answers)  # type: ignore[arg-type]

    def _clicks(self, frame: SliceFrame, questions: Sequence[Question]) -> tuple[torch.Tensor, torch.Tensor]:
        """Clicks of several questions, filled up with "no point" to the same number."""
        count = max(len(question.points) for question in questions)
        points = np.zeros((len(questions), count, 2), np.float32)
        labels = np.full((len(questions), count), -1, np.int64)
        for index, question in enumerate(questions):
            points[index, : len(question.points)] = frame.pixels(question.points)
            labels[index, : len(question.labels)] = question.labels
        return torch.from_numpy(points).to(self._device), torch.from_numpy(labels).to(self._device)

    def _tensor(self, arrays: Sequence[Any]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays).astype(np.float32)).to(self._device)

    def _features(self, frame: SliceFrame, picture: np.ndarray) -> torch.Tensor:
        # The size of a pixel decides how the picture is scaled, so it belongs to what is kept.
        spacing = (1.0, *frame.spacing[1:])
        part = Volume(picture[None], Geometry.simple((1, *picture.shape), spacing))
        stored = self._parts.get(part).arrays["features"]
        return torch.from_numpy(stored)[None].to(self._device, torch.float32)

    def _encode_picture(self, part: Volume) -> Embedding:
        frame = SliceFrame.of_picture(part.geometry, self._network.sizes.image, self.boxes_only)
        with torch.inference_mode():
            features = self._network.encode(frame.input(part.voxels[0]).to(self._device))
        return Embedding({"features": features[0].float().cpu().numpy().astype(np.float16)})


class MedSam(Sam):
    """The generalist ``medsam``. It was trained with boxes only: where there is a box, nothing else is said."""

    name = "medsam"
    boxes_only = True


def _pixel_box(frame: SliceFrame, question: Question) -> np.ndarray:
    assert question.box is not None
    edges = frame.pixels(question.box.reshape(2, 2) - 0.5) + 0.5
    return edges.reshape(4)
