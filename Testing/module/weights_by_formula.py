"""Weights for SAM-Med3D made by formula: ``python weights_by_formula.py FILE``.

A program of its own, for the process that runs the module must never load torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from semisam.generalists.sam_med3d.network import shapes_of


def main(file: Path) -> None:
    weights = {
        name: np.sin(np.arange(np.prod(shape), dtype=np.float32)).astype(np.float16).reshape(shape)
        for name, shape in shapes_of().items()
    }
    save_file(weights, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
