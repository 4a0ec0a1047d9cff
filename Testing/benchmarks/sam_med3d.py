"""SAM-Med3D and SAM with weights made by formula: agreement with published outputs, and time on this CPU.

    python Testing/benchmarks/sam_med3d.py [--golden ../shared/golden/sam_med3d] [--slices]

Times are processor seconds (all threads together), the best of some runs, so they hold on a busy machine, too.
``--slices`` measures Segment Anything ViT-B as well. Weights made by formula know nothing: no quality is measured here.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing" / "engine"))

from safetensors.torch import save_file  # noqa: E402

from formula_weights import formula_weights  # noqa: E402
from plain_attention import plain_attention  # noqa: E402
from semisam.console import table  # noqa: E402
from semisam.generalists.base import Context  # noqa: E402
from semisam.generalists.sam_med3d.attention import Attention  # noqa: E402
from semisam.generalists.sam_med3d.generalist import SamMed3D  # noqa: E402
from semisam.generalists.sam_med3d.network import SamMed3DNetwork, network_of, shapes_of  # noqa: E402
from semisam.prompts import perturbed_prompts  # noqa: E402
from semisam.volumes import Geometry, Volume  # noqa: E402


def best(run: Callable[[], Any], repeat: int) -> tuple[Any, float]:
    """The result, and the least processor seconds."""
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        result = run()
        seconds.append(time.process_time() - start)
    return result, min(seconds)


def agreement(network: SamMed3DNetwork, golden: Path) -> list[tuple[Any, ...]]:
    """Absolute errors against the published outputs."""
    rows: list[tuple[Any, ...]] = []
    for case, seed in (("a", 11), ("b", 12)):
        expected = np.load(golden / f"sam_med3d_case_{case}.npz")
        points = torch.from_numpy(expected["points_zyx"])[None]
        labels = torch.from_numpy(expected["labels"])[None]
        mask = torch.from_numpy(expected["mask_logits"])[None, None]
        features = network.encode(golden_image(seed))
        answers = {
            "embedding": features[0, ::8],
            "logits_one_point": network.decode(features, points[:, :1], labels[:, :1], None)[0, 0],
            "logits_three_points": network.decode(features, points, labels, None)[0, 0],
            "logits_point_and_mask": network.decode(features, points[:, :1], labels[:, :1], mask)[0, 0],
            "logits_mask_only": network.decode(features, points[:, :0], labels[:, :0], mask)[0, 0],
        }
        for name, answer in answers.items():
            error = np.abs(answer.numpy() - expected[name])
            scale = float(expected[name].std())
            numbers = (scale, float(error.mean()), float(np.quantile(error, 0.99)), float(error.max()))
            rows.append((case, name, *(f"{number:.1e}" for number in numbers)))
    return rows


def golden_image(seed: int) -> torch.Tensor:
    noise = np.random.RandomState(seed).standard_normal((1, 1, 16, 16, 16)).astype(np.float32)
    return functional.interpolate(torch.from_numpy(noise), size=(128,) * 3, mode="trilinear", align_corners=False)


def encoding(network: SamMed3DNetwork) -> list[tuple[Any, ...]]:
    image = golden_image(11)
    fast, seconds = best(lambda: network.encode(image), 5)
    ours = Attention.forward
    Attention.forward = plain_attention  # type: ignore[method-assign]
    plain, plain_seconds = best(lambda: network.encode(image), 2)
    Attention.forward = ours  # type: ignore[method-assign]
    with torch.autocast("cpu", torch.bfloat16):
        coarse, coarse_seconds = best(lambda: network.encode(image), 3)
    return [
        ("plain", plain_seconds, ""),
        ("shortcut", seconds, f"{float((fast - plain).abs().max()):.1e} from plain"),
        (
            "shortcut, bfloat16",
            coarse_seconds,
            f"{float((coarse.float() - fast).std() / fast.std()):.1e} relative, rms",
        ),
    ]


def asking(network: SamMed3DNetwork) -> list[tuple[Any, ...]]:
    features = network.encode(golden_image(11))
    rows = []
    for count in (1, 8):
        points, labels = torch.full((count, 1, 3), 60.0), torch.ones(count, 1, dtype=torch.int64)
        masks = torch.zeros(count, 1, 32, 32, 32)
        _, seconds = best(lambda: network.decode(features, points, labels, masks), 5)  # noqa: B023
        rows.append((f"{count} prompt(s), one click each", seconds))
    return rows


def whole(folder: Path) -> list[tuple[Any, ...]]:
    """The generalist from end to end, as a training asks it."""
    path = folder / "weights.safetensors"
    save_file(formula_weights(shapes_of()), path)
    generalist, loading = best(lambda: SamMed3D(Context(), path), 1)
    rows: list[tuple[Any, ...]] = [("load the weights", loading)]
    for shape, spacing in (((100, 180, 160), (1.2, 1.0, 1.0)), ((200, 256, 256), (1.5, 1.5, 1.5))):
        voxels = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
        grid = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
        mask = (sum(axis**2 for axis in grid) < 0.1).astype(np.float32)
        volume = Volume(voxels, Geometry.simple(shape, spacing))
        prompts = perturbed_prompts(mask, np.random.default_rng(0), 4, spacing=spacing)
        name = " x ".join(str(n) for n in shape)
        embedding, seconds = best(lambda: generalist.encode(volume), 1)  # noqa: B023
        rows.append((f"encode {name}", seconds))
        _, seconds = best(lambda: generalist.predict(embedding, prompts), 1)  # noqa: B023
        rows.append((f"4 perturbed prompts in {name}, first time", seconds))
        _, seconds = best(lambda: generalist.predict(embedding, prompts), 2)  # noqa: B023
        rows.append((f"4 perturbed prompts in {name}, again", seconds))
    return rows


def slices() -> list[tuple[Any, ...]]:
    from semisam.generalists.sam_slices import network as sam_slices_network
    from semisam.generalists.sam_slices.network import Sizes, SliceNetwork

    sizes = Sizes(768, 12, 12, (2, 5, 8, 11), 14, 1024, 256)
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in SliceNetwork(sizes).state_dict().items()}
    network = sam_slices_network.network_of(formula_weights(shapes))
    features, encode = best(lambda: network.encode(torch.zeros(1, 3, 1024, 1024)), 2)
    _, decode = best(lambda: network.decode(features, None, torch.tensor([[10.0, 10.0, 500.0, 500.0]]), None), 3)
    return [("SAM ViT-B, encode a slice", encode), ("SAM ViT-B, one box in it", decode)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=Path, default=ROOT.parent / "shared" / "golden" / "sam_med3d")
    parser.add_argument("--slices", action="store_true")
    arguments = parser.parse_args()
    published = {name: tuple(shape) for name, shape in json.loads((arguments.golden / "keys.json").read_text()).items()}
    print(f"key layout as published: {shapes_of() == published}\n")
    network = network_of(formula_weights(published))
    with torch.inference_mode():
        header = ("case", "output", "deviation", "mean error", "99 % of errors", "largest error")
        print(table(header, agreement(network, arguments.golden)), "\n")
        print(table(("encoding 128^3", "CPU s", "difference"), encoding(network)), "\n")
        print(table(("decoding", "CPU s"), asking(network)), "\n")
        del network
        with tempfile.TemporaryDirectory() as folder:
            print(table(("generalist", "CPU s"), whole(Path(folder))), "\n")
        if arguments.slices:
            print(table(("slice by slice", "CPU s"), slices()), "\n")
    print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB")


if __name__ == "__main__":
    main()
