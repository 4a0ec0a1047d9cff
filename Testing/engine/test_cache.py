"""The embedding cache: encode once, survive damage, stay within its limit."""

import os
import threading

import numpy as np
import pytest

from semisam.generalists.base import Embedding
from semisam.generalists.cache import EmbeddingCache
from semisam.volumes import Geometry, Volume


class Counting:
    """A generalist that counts how often it encodes."""

    name = "counting"

    def __init__(self, fingerprint="one", size=10):
        self.fingerprint, self.size, self.encoded = fingerprint, size, 0

    def encode(self, volume):
        self.encoded += 1
        arrays = {
            "half": np.full(self.size, volume.voxels.mean(), np.float16),
            "labels": np.arange(24, dtype=np.uint8).reshape(2, 3, 4).transpose(2, 0, 1),
        }
        return Embedding(arrays, {"spacing": (1.0, 2.0), "names": ["å", "b"], "none": None})

    def predict(self, embedding, prompts):
        return np.zeros((len(prompts), 4, 4, 4), np.float32)


def volume(value=0.0):
    return Volume(np.full((4, 4, 4), value, np.float32), Geometry.simple((4, 4, 4)))


def test_a_volume_is_encoded_once(tmp_path):
    generalist, cache = Counting(), EmbeddingCache(tmp_path / "embeddings")
    first = cache.get(generalist, volume())
    again = EmbeddingCache(tmp_path / "embeddings").get(generalist, volume())
    assert generalist.encoded == 1
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)
        assert again.arrays[name].dtype == array.dtype
    assert again.meta == {"spacing": [1.0, 2.0], "names": ["å", "b"], "none": None}


def test_a_fresh_embedding_looks_like_one_from_disk(tmp_path):
    generalist, cache = Counting(), EmbeddingCache(tmp_path)
    assert cache.get(generalist, volume()).meta == cache.get(generalist, volume()).meta


def test_other_content_or_another_fingerprint_is_encoded_anew(tmp_path):
    cache = EmbeddingCache(tmp_path)
    generalist, other = Counting("one"), Counting("two")
    cache.get(generalist, volume(0))
    cache.get(generalist, volume(1))
    cache.get(other, volume(0))
    assert (generalist.encoded, other.encoded) == (2, 1)


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xff" * 100])
def test_a_damaged_file_is_made_again(tmp_path, damage):
    generalist, cache = Counting(), EmbeddingCache(tmp_path)
    expected = cache.get(generalist, volume())
    path = cache.path(generalist, volume())
    path.write_bytes(damage)
    np.testing.assert_array_equal(cache.get(generalist, volume()).arrays["half"], expected.arrays["half"])
    cache.get(generalist, volume())
    assert generalist.encoded == 2


def test_a_truncated_file_is_made_again(tmp_path):
    generalist, cache = Counting(), EmbeddingCache(tmp_path)
    cache.get(generalist, volume())
    path = cache.path(generalist, volume())
    path.write_bytes(path.read_bytes()[:-5])
    cache.get(generalist, volume())
    assert generalist.encoded == 2


def test_the_longest_unused_embeddings_are_removed_first(tmp_path):
    generalist = Counting(size=50_000)
    cache = EmbeddingCache(tmp_path, limit_bytes=350_000)
    for value in range(3):
        cache.get(generalist, volume(value))
        os.utime(cache.path(generalist, volume(value)), (value, value))
    cache.get(generalist, volume(0))  # used again: now the youngest
    cache.get(generalist, volume(3))
    kept = [value for value in range(4) if cache.path(generalist, volume(value)).exists()]
    assert kept == [0, 2, 3]


def test_an_embedding_beyond_the_limit_is_still_returned(tmp_path):
    cache = EmbeddingCache(tmp_path, limit_bytes=10)
    assert cache.get(Counting(), volume()).arrays["half"].shape == (10,)


def test_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    generalist = Counting()
    assert EmbeddingCache(blocked / "embeddings").get(generalist, volume()).arrays["half"].shape == (10,)
    assert generalist.encoded == 1


def test_several_threads_share_a_folder(tmp_path):
    generalist, failures = Counting(size=5000), []

    def work():
        try:
            for value in range(8):
                EmbeddingCache(tmp_path, limit_bytes=30_000).get(generalist, volume(value))
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
