"""Embeddings of parts of a volume (tiles, slices), made when a prompt first needs them: in memory and on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from semisam.generalists.base import Embedding
from semisam.generalists.cache import EmbeddingCache
from semisam.kept import Kept
from semisam.volumes import Volume, content_hash

_MEMORY_BYTES = 256 << 20


class Parts:
    """Encodes each part once; follows ``semisam.generalists.base.Encoder``.

    name, fingerprint  as for a generalist
    encode             the slow step
    folder             of an embedding cache, or None: then parts are kept in memory only
    """

    def __init__(
        self, name: str, fingerprint: str, encode: Callable[[Volume], Embedding], folder: Path | None = None
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self._encode = encode
        self._disk = None if folder is None else EmbeddingCache(folder)
        self._kept = Kept(_MEMORY_BYTES)

    def encode(self, volume: Volume) -> Embedding:
        return self._encode(volume)

    def get(self, part: Volume) -> Embedding:
        """The embedding of a part: from memory, from disk, or made now."""
        key = (content_hash(part),)
        kept: Embedding | None = self._kept.get(key)
        if kept is None:
            kept = self.encode(part) if self._disk is None else self._disk.get(self, part)
            self._kept.put(key, kept, sum(array.nbytes for array in kept.arrays.values()))
        return kept
