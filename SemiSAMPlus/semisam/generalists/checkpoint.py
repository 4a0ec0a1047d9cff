"""Reads PyTorch checkpoints (.pth, .pt) without trusting them.

A checkpoint is a zip archive with a pickle inside, and a pickle can run any program. Here it runs nothing: the few
names that belong to tensors get stand-ins of ours that note down where the numbers are; names that are known to lie
beside weights in published files (options of the training, statistics) get one that holds nothing; any other name ends
the reading. Numbers are read only for the tensors that are wanted.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from semisam.errors import GeneralistError

# Descriptions of hundreds of tensors are some 100 kB.
_LARGEST_DESCRIPTION = 32 << 20

_STORAGES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
# What published checkpoints hold beside their weights. Nothing of it is looked at.
_BESIDE = {
    "argparse.Namespace",
    "_codecs.encode",
    "builtins.set",
    "collections.Counter",
    "collections.defaultdict",
    "datetime.datetime",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "torch.Size",
    "torch.device",
}


@dataclass(frozen=True)
class StoredTensor:
    """Where the numbers of a tensor are; ``offset`` and ``stride`` count numbers."""

    key: str
    dtype: torch.dtype
    count: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Checkpoint:
    """The content of a checkpoint; ``tensors`` are those of its state dictionary, by name.

    ``beside`` is the dictionary of the whole file: plain values, StoredTensor, and stand-ins that hold nothing.

    Raises GeneralistError for files that are no checkpoints, damaged, or want to run something.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as archive:
                described = [name for name in archive.namelist() if name.endswith("/data.pkl")]
                if len(described) != 1:
                    raise GeneralistError(
                        f'"{path}" is a zip file, but not a PyTorch checkpoint: choose the .pth file.'
                    )
                self._root = described[0].removesuffix("data.pkl")
                if archive.getinfo(described[0]).file_size > _LARGEST_DESCRIPTION:
                    raise GeneralistError(f'"{path}" describes itself in too many words to be a plain checkpoint.')
                content = _Reader(archive.open(described[0]), path).load()
        except GeneralistError:
            raise
        except OSError as error:
            raise GeneralistError(f'"{path}" cannot be read ({error.strerror or error}): correct its path.') from error
        except zipfile.BadZipFile as error:
            raise GeneralistError(_no_archive(path)) from error
        except Exception as error:  # whatever a broken or hostile pickle may lead to
            raise GeneralistError(f'"{path}" is damaged ({error}): get the file again from its publisher.') from error
        self.beside: Mapping[Any, Any] = content if isinstance(content, Mapping) else {}
        self.tensors = _state_dictionary(content)
        if not self.tensors:
            raise GeneralistError(f'"{path}" holds no weights: choose the checkpoint that its publisher offers.')

    def read(self, names: Collection[str] | None = None) -> dict[str, torch.Tensor]:
        """The tensors themselves, or those in ``names``, as float32 where they are numbers of another precision.

        Raises GeneralistError when the file is damaged.
        """
        try:
            with zipfile.ZipFile(self._path) as archive:
                wanted = self.tensors if names is None else names
                return {name: self._tensor(archive, self.tensors[name]) for name in wanted}
        except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, NotImplementedError) as error:
            raise GeneralistError(
                f'"{self._path}" is damaged ({error}): get the file again from its publisher.'
            ) from error

    def _tensor(self, archive: zipfile.ZipFile, stored: StoredTensor) -> torch.Tensor:
        entry = archive.getinfo(f"{self._root}data/{stored.key}")
        size = stored.count * stored.dtype.itemsize
        reach = stored.offset + sum((n - 1) * step for n, step in zip(stored.shape, stored.stride, strict=True))
        # Torch never compresses; an archive that does may unpack to anything.
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != size or not 0 <= reach < stored.count:
            raise ValueError(f"the numbers in {entry.filename} do not fit their description")
        numbers = torch.frombuffer(bytearray(archive.read(entry)), dtype=stored.dtype)
        tensor = numbers.as_strided(stored.shape, stored.stride, stored.offset)
        return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


def _no_archive(path: Path) -> str:
    with open(path, "rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":
        return f'"{path}" is cut short: get the whole file again from its publisher.'
    if start[:1] == b"\x80":
        return f'"{path}" is in the format of PyTorch before 1.6, which cannot be read safely: get a newer file.'
    return f'"{path}" is not a PyTorch checkpoint: choose the .pth file that its publisher offers.'


def _state_dictionary(content: Any) -> dict[str, StoredTensor]:
    """The tensors by name: of the file itself, or of the dictionary in it under one of the usual names."""
    places = [content]
    if isinstance(content, Mapping):
        places += [content.get(name) for name in ("model_state_dict", "state_dict", "model", "network_weights")]
    for place in places:
        if isinstance(place, Mapping):
            found = {
                name.removeprefix("module."): value
                for name, value in place.items()
                if isinstance(name, str) and isinstance(value, StoredTensor)
            }
            if found:
                return found
    return {}


class _Reader(pickle._Unpickler):  # the one in Python: damaged files end in exceptions, not in endless memory
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _STORAGES:
            return _Storage(_STORAGES[full])
        if full == "collections.OrderedDict":
            return collections.OrderedDict
        if full == "torch._utils._rebuild_tensor_v2":
            return _REBUILD
        if full == "torch._utils._rebuild_parameter":
            return _FIRST
        if full in _BESIDE or module.startswith(("torch.optim.", "numpy.dtypes")):
            return _Nothing
        raise GeneralistError(
            f'"{self._path}" is not opened: it asks for "{full}", which plain weights do not need and which could be '
            "harmful. Get the file from its publisher."
        )

    def persistent_load(self, pid: Any) -> Any:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _Storage) or not isinstance(key, str):
            raise ValueError("an unknown kind of reference")
        return storage, key, int(count)


class _Fixed:
    """A stand-in that the file cannot change."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise ValueError("an attempt to change what reads it")


class _Storage(_Fixed):
    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Rebuild(_Fixed):
    __slots__ = ()

    def __call__(self, reference: Any, offset: int, shape: Any, stride: Any, *_: Any) -> StoredTensor:
        storage, key, count = reference
        return StoredTensor(key, storage.dtype, count, int(offset), _whole(shape), _whole(stride))


class _First(_Fixed):
    __slots__ = ()

    def __call__(self, value: Any, *_: Any) -> Any:
        return value


_REBUILD, _FIRST = _Rebuild(), _First()


class _Nothing:
    """Takes whatever it is given, and keeps none of it."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...

    def update(self, *values: Any) -> None: ...


def _whole(numbers: Any) -> tuple[int, ...]:
    if not isinstance(numbers, tuple) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ValueError("a shape that is none")
    return numbers
