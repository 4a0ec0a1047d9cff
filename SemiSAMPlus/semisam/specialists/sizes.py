"""The networks that a plan can name, and their sizes; network.py builds them."""

from __future__ import annotations

from dataclasses import dataclass

from semisam.errors import UsageError


@dataclass(frozen=True)
class Size:
    """Channels of a network's levels, and the memory of training: bytes for one patch voxel and one channel of the
    first level, all activations included."""

    cpu: tuple[int, ...]
    gpu: tuple[int, ...]
    bytes_per_voxel_and_channel: int


# "unet" was measured at 14 to 26 bytes in bfloat16 and 23 to 36 in float32, for patches of 90,000 to 260,000 voxels;
# what the others keep for the backward pass is 4 to 5 times that.
NETWORKS = {
    "unet": Size((16, 32, 64, 128), (32, 64, 128, 256), 40),
    "vnet": Size((16, 32, 64, 128, 256), (16, 32, 64, 128, 256), 200),
    "unet-3d": Size((64, 128, 256, 512), (64, 128, 256, 512), 200),
}
DEFAULT_NETWORK = "unet"


def check_network(name: str) -> None:
    """Raises UsageError for the name of a network that does not exist."""
    if name not in NETWORKS:
        raise UsageError(f'Unknown network "{name}": choose one of {", ".join(NETWORKS)}.')
