"""MetaImage files (.mha, .mhd): are the voxels all there? ITK complains of missing ones on the terminal only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semisam.errors import VolumeError

_BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4}
_BYTES |= {"FLOAT": 4, "DOUBLE": 8, "LONG_LONG": 8, "ULONG_LONG": 8}


def check_metaimage(path: Path) -> None:
    """Raise VolumeError unless the file has a MetaImage header and as many bytes of voxels as it names; OSError."""
    with open(path, "rb") as file:
        start = file.read(1 << 16)
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields:
        end = start.find(b"\n", position)
        if end < 0 or b"=" not in start[position:end]:
            raise VolumeError(f'The file "{path}" is no MetaImage file. Export the image again.')
        key, value = start[position:end].decode("latin-1").split("=", 1)
        fields[key.strip()] = value.strip()
        position = end + 1
    needed = _bytes_of_voxels(fields)
    name = fields["ElementDataFile"]
    if needed is None or name == "LIST" or "%" in name:
        return
    if name.upper() == "LOCAL":
        found = path.stat().st_size - position
    else:
        data = path.parent / name
        if not data.is_file():
            raise VolumeError(f'"{path}" refers to "{name}", which is not there. Put both files into one folder.')
        found = data.stat().st_size
    if found < needed:
        raise VolumeError(
            f'The voxels of "{path}" are cut off: {found} of {needed} bytes are there. Copy or export the file again.'
        )


def _bytes_of_voxels(fields: dict[str, str]) -> int | None:
    """What the header promises, or None where only ITK can tell."""
    try:
        if fields.get("CompressedData", "False").lower() == "true":
            return int(fields["CompressedDataSize"])
        count = int(np.prod([int(size) for size in fields["DimSize"].split()]))
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        return count * channels * _BYTES[fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")]
    except (KeyError, ValueError):
        return None
