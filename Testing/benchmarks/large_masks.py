"""How long the window stands still for masks of a whole CT: reading, accepting, adding a prompt's answer.

    python Testing/benchmarks/large_masks.py [--shape 200x512x512] [--segments 8] [--write]

Needs slicer-core (``pip install -e '.[host]'``). Processor seconds, once each; ``--write`` puts the table into
large_masks.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "SemiSAMPlus"))
RESULT = Path(__file__).with_suffix(".md")


def measure(shape: tuple[int, int, int], count: int) -> dict[str, float]:
    """Seconds of what the module does with ``count`` balls in a CT of ``shape`` (k, j, i)."""
    import slicer
    import vtk

    from SemiSAMPlusLib.cases import SegmentInfo
    from SemiSAMPlusLib.scene.grids import Grid, Patch
    from SemiSAMPlusLib.scene.mask_files import read_into, write_segmentation
    from SemiSAMPlusLib.scene.nodes import Logics
    from SemiSAMPlusLib.scene.segments import (
        SegmentStatus,
        add_to_segment,
        copy_segments,
        find_segment,
        make_segmentation,
        read_segment,
        segment_ids,
    )

    scene = slicer.vtkMRMLScene()
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ct")
    image = vtk.vtkImageData()
    image.SetDimensions(*shape[::-1])
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    volume.SetAndObserveImageData(image)
    infos = [SegmentInfo(value, f"organ {value}", (10 * value % 256, 100, 50)) for value in range(1, count + 1)]
    names, logics, grid = [item.name for item in infos], Logics(scene), Grid.of_volume(volume)
    seconds: dict[str, float] = {}

    def made(name: str) -> Any:
        return make_segmentation(logics, volume, name, infos, SegmentStatus.IN_PROGRESS)

    def timed(words: str, action: Callable[[], Any]) -> None:
        start = time.process_time()
        action()
        seconds[words] = time.process_time() - start

    proposal, annotation, rng = made("proposal"), made("annotation"), np.random.default_rng(0)
    size = [round(0.15 * length) for length in shape]
    ball = sum(axis**2 for axis in np.ogrid[tuple(slice(-1, 1, length * 1j) for length in size)]) < 1
    for name in names:
        k, j, i = (int(rng.integers(whole - length)) for whole, length in zip(shape, size, strict=True))
        add_to_segment(proposal, find_segment(proposal, name) or "", Patch(grid, (k, j, i), ball))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.seg.nrrd"
        timed("write the annotation for the engine", lambda: write_segmentation(proposal, path, for_engine=True))
        write_segmentation(proposal, path)
        timed("read a proposal", lambda: read_into(path, made("read"), infos, grid))
    status = SegmentStatus.COMPLETED
    timed("accept it", lambda: copy_segments(proposal, annotation, names, grid, status))
    timed("accept it once more", lambda: copy_segments(proposal, annotation, names, grid, status))
    keys = segment_ids(annotation).values()
    timed("remember the annotation for Undo", lambda: [read_segment(annotation, key, grid) for key in keys])
    k, j, i = (length // 2 for length in shape)
    answer, first = Patch(grid, (k, j, i), np.ones((20, 40, 40), bool)), find_segment(annotation, names[0]) or ""
    timed("add a prompt's answer", lambda: add_to_segment(annotation, first, answer))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="200x512x512", help="k x j x i")
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    k, j, i = (int(size) for size in options.shape.split("x"))
    seconds = measure((k, j, i), options.segments)
    lines = [f"| {options.segments} organs in {k} x {j} x {i} voxels | processor seconds |", "|---|---|"]
    lines += [f"| {words} | {value:.2f} |" for words, value in seconds.items()]
    print("\n".join(lines))
    if options.write:
        RESULT.write_text(
            "# Masks of a whole CT in the window\n\nMade by `large_masks.py`.\n\n" + "\n".join(lines) + "\n"
        )


if __name__ == "__main__":
    main()
