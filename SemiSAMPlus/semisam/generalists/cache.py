"""Embeddings on disk: the slow half of a generalist's work is done once per volume, not once per prompt.

One safetensors file per embedding; its header carries the JSON meta. The file's name is made of the content of the
volume and the generalist's fingerprint, so nothing here ever needs to be invalidated: what has changed is not found,
and what is no longer asked for is the first to be removed when the folder grows beyond its limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from pathlib import Path

import numpy as np

from semisam.files.atomic import remove_orphans, replacing
from semisam.generalists.base import Embedding, Encoder
from semisam.volumes import Volume, content_hash

_logger = logging.getLogger(__name__)

_META = "semisam.meta"


class EmbeddingCache:
    """A folder of embeddings that may be deleted at any time.

    folder       made when the first embedding is written
    limit_bytes  beyond it, the embeddings that were not used for the longest time are removed
    """

    def __init__(self, folder: Path | str, limit_bytes: int = 4 * 1024**3) -> None:
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes

    def get(self, generalist: Encoder, volume: Volume) -> Embedding:
        """The embedding of ``volume``: from disk, or encoded now and kept. A damaged file is encoded again.

        A folder that cannot be written (disk full, read-only) costs the cache, not the embedding.
        """
        path = self.path(generalist, volume)
        embedding = _read(path)
        if embedding is not None:
            return embedding
        fresh = generalist.encode(volume)
        # Through JSON, so that a fresh embedding and one from disk are alike.
        embedding = Embedding(fresh.arrays, json.loads(json.dumps(fresh.meta)))
        try:
            _write(path, embedding)
            self._trim(keep=path)
        except OSError as error:
            _logger.warning("Cannot keep the embedding %s: %s.", path, error)
        return embedding

    def find(self, generalist: Encoder, volume: Volume) -> Embedding | None:
        """The embedding of ``volume`` if it is on the disk; nothing is encoded."""
        return _read(self.path(generalist, volume))

    def path(self, generalist: Encoder, volume: Volume) -> Path:
        """Where the embedding of ``volume`` by ``generalist`` is or would be."""
        key = "\n".join((generalist.name, generalist.fingerprint, content_hash(volume)))
        return self.folder / f"{generalist.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"

    def _trim(self, keep: Path) -> None:
        """Remove the longest unused embeddings beyond the limit; another program may be doing the same."""
        remove_orphans(self.folder)
        files: list[tuple[float, int, Path]] = []
        for path in self.folder.glob("[!.]*.safetensors"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in files) - self.limit_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                excess -= size


def _read(path: Path) -> Embedding | None:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="numpy") as file:
            meta = json.loads((file.metadata() or {})[_META])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        # The time of the last use, which decides what is removed first.
        os.utime(path)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        _logger.warning("The cached embedding %s cannot be read (%s); it is made again.", path, error)
        return None
    return Embedding(arrays, meta)


def _write(path: Path, embedding: Embedding) -> None:
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(array) for name, array in embedding.arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(arrays, str(temporary), metadata={_META: json.dumps(embedding.meta)})
