"""The network of SAM-Med3D: key layout, published outputs, and the shortcut through the windows' padding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from conftest import DATA
from formula_weights import formula_weights
from plain_attention import plain_attention
from semisam.generalists.sam_med3d.attention import Attention
from semisam.generalists.sam_med3d.network import Architecture, check_layout, network_of, shapes_of

GOLDEN = DATA.parent / "golden" / "sam_med3d"


@pytest.fixture(scope="module")
def golden() -> Path:
    if not GOLDEN.is_dir():
        pytest.skip(f"the published outputs are not at {GOLDEN}")
    return GOLDEN


def test_the_key_layout_is_that_of_the_published_checkpoints(golden):
    published = {name: tuple(shape) for name, shape in json.loads((golden / "keys.json").read_text()).items()}
    assert shapes_of() == published
    assert Architecture.of(published) == Architecture()
    assert "128^3" in check_layout(published)


@pytest.mark.slow
def test_the_outputs_are_those_of_the_published_code(golden):
    """The tolerances are what float32 leaves of the comparison: with these weights the decoder enlarges rounding errors
    of the features 200-fold, and the expected logits themselves are up to 2.7e-4 away from a computation in float64. A
    wrong constant shows at once: with 1e-6 instead of 1e-5 in the decoder's normalization the error is 6e-3."""
    network = network_of(formula_weights(shapes_of()))
    for case, seed in (("a", 11), ("b", 12)):
        expected = np.load(golden / f"sam_med3d_case_{case}.npz")
        noise = np.random.RandomState(seed).standard_normal((1, 1, 16, 16, 16)).astype(np.float32)
        image = functional.interpolate(torch.from_numpy(noise), size=(128,) * 3, mode="trilinear", align_corners=False)
        points = torch.from_numpy(expected["points_zyx"])[None]
        labels = torch.from_numpy(expected["labels"])[None]
        mask = torch.from_numpy(expected["mask_logits"])[None, None]
        questions = {
            "logits_one_point": (points[:, :1], labels[:, :1], None),
            "logits_three_points": (points, labels, None),
            "logits_point_and_mask": (points[:, :1], labels[:, :1], mask),
            "logits_mask_only": (points[:, :0], labels[:, :0], mask),
        }
        with torch.inference_mode():
            features = network.encode(image)
            assert np.abs(features[0, ::8].numpy() - expected["embedding"]).max() < 2e-5
            for name, question in questions.items():
                error = np.abs(network.decode(features, *question)[0, 0].numpy() - expected[name])
                assert error.mean() < 5e-5 and np.quantile(error, 0.98) < 1.5e-4 and error.max() < 5e-4, name


@pytest.mark.parametrize(("tokens", "window"), [((3, 3, 3), 5), ((4, 4, 4), 4), ((2, 3, 4), 6), ((8, 8, 8), 14)])
def test_attention_without_the_padding_is_the_same(tokens, window):
    torch.manual_seed(0)
    attention = Attention(16 if window > 10 else 24, 2, window)
    for name, parameter in attention.named_parameters():
        torch.nn.init.normal_(parameter, std=0.3 if "rel_pos" in name or "bias" in name else 0.2)
    values = torch.randn(2, *tokens, attention.proj.in_features)
    with torch.inference_mode():
        assert torch.allclose(attention(values), plain_attention(attention, values), atol=1e-5, rtol=1e-5)


def test_prompts_are_answered_together_as_one_by_one():
    sizes = Architecture(tokens=2, channels=24, heads=2, blocks=2, global_blocks=(1,), window=3, outputs=48, hidden=16)
    network = network_of(formula_weights(shapes_of(sizes)))
    assert network.sizes == sizes
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        features = network.encode(torch.randn(1, 1, 32, 32, 32, generator=generator))
        points = torch.rand(3, 2, 3, generator=generator) * 32
        labels, masks = torch.tensor([[1, 0], [1, -1], [0, 1]]), torch.randn(3, 1, 8, 8, 8, generator=generator)
        together = network.decode(features, points, labels, masks)
        for index in range(3):
            part = slice(index, index + 1)
            alone = network.decode(features, points[part], labels[part], masks[part])
            assert torch.allclose(alone, together[part], atol=1e-4)
    assert together.std(0).mean() > 0.01  # and differ from one another


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda shapes: shapes.pop("mask_decoder.iou_token.weight"), "iou_token.weight.* is missing"),
        (lambda shapes: shapes.update({"image_encoder.pos_embed": (1, 64, 64, 768)}), "has the shape"),
        (lambda shapes: shapes.update({"image_encoder.blocks.12.norm1.weight": (768,)}), "has no tensor"),
    ],
)
def test_another_layout_is_told(change, told):
    shapes = shapes_of()
    change(shapes)
    with pytest.raises(ValueError, match=told):
        check_layout(shapes)
