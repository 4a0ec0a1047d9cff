"""The generalist protocol: encode a volume once, then predict for as many prompts as wanted.

Anything with these two calls is a generalist: a neural network, registration of an annotated case, a random walker.
To add one, write one file with a class that follows ``Generalist`` and add one line to ``registry.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from semisam.prompts import Prompts
from semisam.volumes import Volume


@dataclass(frozen=True)
class Embedding:
    """What ``encode`` made of one volume: plain numpy arrays and JSON values, so that it can be cached on disk."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """An annotated case as context for generalists that work by example.

    ``mask`` is (k, j, i) uint8 with segment values on the grid of ``volume``.
    """

    name: str
    volume: Volume
    mask: np.ndarray


@dataclass(frozen=True)
class Context:
    """What a generalist may know of the project when it is made.

    cache      folder of embeddings, for generalists that encode parts of a volume when they are first asked about them
    automatic  nobody asked for this generalist by name: one that is too slow here raises GeneralistError
    """

    examples: Sequence[Example] = ()
    device: str = "cpu"
    cache: Path | None = None
    automatic: bool = False


class Encoder(Protocol):
    """The slow half.

    ``fingerprint`` changes whenever the same volume would be encoded or answered differently (weights, code version,
    annotated cases); with the content of the volume it is the key of the embedding cache.
    """

    name: str
    fingerprint: str

    def encode(self, volume: Volume) -> Embedding:
        """Slow, once per volume."""
        ...


class Generalist(Encoder, Protocol):
    """A frozen, promptable segmenter.

    A class may set ``raw_intensities = True``: then the training shows it images with the intensities of their files
    (on the working grid), instead of normalized ones.
    """

    def predict(self, embedding: Embedding, prompts: Sequence[Prompts]) -> np.ndarray:
        """Fast: (n, k, j, i) float32 probabilities, one for each of the n prompts, on the grid of the encoded volume.

        Prompts do not influence one another. Empty prompts give an all-zero answer; nothing here raises on an empty
        or tiny mask.
        """
        ...
