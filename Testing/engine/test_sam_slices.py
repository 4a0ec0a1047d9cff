"""Segment Anything and MedSAM as generalists: slices, prompts in them, masks carried from slice to slice."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from formula_weights import formula_weights
from semisam.errors import GeneralistError
from semisam.generalists import registry, weights
from semisam.generalists.base import Context
from semisam.generalists.sam_slices.frame import SliceFrame, eight_bits
from semisam.generalists.sam_slices.generalist import MedSam, Sam
from semisam.generalists.sam_slices.network import Sizes, SliceNetwork, check_layout
from semisam.generalists.sam_slices.walk import Walk
from semisam.generalists.weights_import import import_weights
from semisam.prompts import Prompts
from semisam.volumes import Geometry, Volume

SMALL = Sizes(channels=32, blocks=2, heads=2, global_blocks=(1,), window=3, image=128, outputs=256)
VIT_B = Sizes(channels=768, blocks=12, heads=12, global_blocks=(2, 5, 8, 11), window=14, image=1024, outputs=256)
VIT_L = Sizes(channels=1024, blocks=24, heads=16, global_blocks=(5, 11, 17, 23), window=14, image=1024, outputs=256)
VIT_H = Sizes(channels=1280, blocks=32, heads=16, global_blocks=(7, 15, 23, 31), window=14, image=1024, outputs=256)


def shapes_of(sizes):
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in SliceNetwork(sizes).state_dict().items()}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(formula_weights(shapes_of(SMALL)), path)
    return path


def volume_of(shape, spacing=(3.0, 1.0, 1.0), seed=0):
    voxels = np.random.default_rng(seed).gamma(4, 30, shape).astype(np.float32)
    return Volume(voxels, Geometry.simple(shape, spacing))


def ball(shape, center, radius, spacing=(1.0, 1.0, 1.0)):
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    squares = (((axis - at) * step) ** 2 for axis, at, step in zip(grid, center, spacing, strict=True))
    return (sum(squares) < radius**2).astype(np.float32)


def click(*point, label=1):
    return Prompts(np.array([point], np.float32), np.array([label], np.uint8))


# The network ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "name", "parameters"),
    [(VIT_B, "ViT-B", 93_735_472), (VIT_L, "ViT-L", 312_342_832), (VIT_H, "ViT-H", 641_090_608)],
)
def test_the_size_is_read_from_the_tensors(sizes, name, parameters):
    shapes = shapes_of(sizes)
    assert Sizes.of(shapes) == sizes and name in check_layout(shapes)
    matrix = 2 * 128  # of the positions, which is no parameter
    assert sum(int(np.prod(shape)) for shape in shapes.values()) - matrix == parameters


def test_other_tensors_are_told():
    with pytest.raises(ValueError, match="not the tensors of Segment Anything"):
        check_layout({"conv.weight": (3,)})
    shapes = shapes_of(VIT_B)
    del shapes["mask_decoder.iou_token.weight"]
    with pytest.raises(ValueError, match='"mask_decoder.iou_token.weight" is not as in Segment Anything ViT-B'):
        check_layout(shapes)


def test_logits_are_those_of_the_package(file):
    """The package's own model, from its own image preprocessing on, against ours."""
    generalist = Sam(Context(), file)
    modeling = importlib.import_module("segment_anything.modeling")
    network = generalist._network
    model = modeling.Sam(network.image_encoder, network.prompt_encoder, network.mask_decoder)
    picture = np.random.default_rng(0).integers(0, 255, (96, 128)).astype(np.uint8)
    frame = SliceFrame.of(Geometry.simple((4, 96, 128), (5.0, 1.0, 1.0)), 128, False)
    given = {
        "image": torch.from_numpy(picture).float().expand(3, -1, -1),
        "original_size": picture.shape,
        "boxes": torch.tensor([[20.0, 30.0, 60.0, 70.0]]),
        "point_coords": torch.tensor([[[40.0, 50.0], [90.0, 10.0]]]),
        "point_labels": torch.tensor([[1, 0]]),
    }
    expected = model([given], multimask_output=False)[0]["low_res_logits"]
    with torch.inference_mode():
        features = network.encode(frame.input(picture))
        points = frame.pixels(np.array([[50, 40], [10, 90]]))
        clicks = torch.from_numpy(points.copy()).float()[None], torch.tensor([[1, 0]])
        logits = network.decode(features, clicks, given["boxes"], None)
    assert torch.allclose(logits, expected, atol=1e-4)


# Slices ---------------------------------------------------------------------------------------------------------------


def test_slices_are_cut_across_the_thickest_axis():
    assert SliceFrame.of(Geometry.simple((10, 50, 60), (3.0, 1.0, 1.0)), 128, False).shape == (10, 50, 60)
    assert SliceFrame.of(Geometry.simple((50, 10, 60), (1.0, 3.0, 1.0)), 128, False).shape == (10, 50, 60)
    assert SliceFrame.of(Geometry.simple((50, 60, 10), (1.0, 1.0, 3.0)), 128, False).shape == (10, 50, 60)
    assert SliceFrame.of(Geometry.simple((50, 60, 70), (1.0, 1.0, 1.05)), 128, False).shape == (50, 60, 70)


def test_voxels_and_pixels_are_the_same_places():
    frame = SliceFrame.of(Geometry.simple((4, 32, 64), (5.0, 2.0, 1.0)), 128, False)
    assert frame.scale == (4.0, 2.0)  # two mm a row: as many pixels a mm as along columns
    assert frame.pixels(np.array([[0, 0], [31, 63]])).tolist() == [[0.5, 1.5], [126.5, 125.5]]
    picture = np.zeros((32, 64), np.uint8)
    picture[10, 20] = 255
    x, y = frame.pixels(np.array([[10, 20]]))[0]
    column = frame.input(picture)[0, 0, :, int(x)]
    assert abs(int(column.argmax()) - y) <= 2
    stretched = SliceFrame.of(Geometry.simple((4, 32, 64), (5.0, 1.0, 1.0)), 128, True)
    assert stretched.scale == (4.0, 2.0) and stretched.input(picture).max() == 1


def test_a_mask_comes_back_from_the_coarse_grid_where_it_was():
    for stretched in (False, True):
        frame = SliceFrame.of(Geometry.simple((4, 90, 120), (5.0, 1.0, 0.8)), 256, stretched)
        mask = ball((1, 90, 120), (0, 40, 70), 20)[0]
        found = frame.from_mask(frame.to_mask(mask)) > 0.5
        assert 2 * (found & (mask > 0)).sum() / (found.sum() + mask.sum()) > 0.95


def test_pictures_have_eight_bits():
    ct = np.array([-1024, -160, 40, 240, 3000], np.float32)
    assert eight_bits(ct).tolist() == [0, 0, 128, 255, 255] or eight_bits(ct).tolist() == [0, 0, 127, 255, 255]
    mr = np.concatenate([np.zeros(5000), np.linspace(10, 1000, 1000)])
    made = eight_bits(mr)
    assert made.min() == 0 and made.max() == 255 and 120 < made[5500] < 135
    assert not eight_bits(np.zeros((3, 3))).any()


# From slice to slice --------------------------------------------------------------------------------------------------


def walked(prompt, truth, spacing, most=24):
    """What a walk finds when every question is answered with the truth in its slice, and the slices it asked about."""
    frame = SliceFrame.of(Geometry.simple(truth.shape, spacing), 256, False)
    slices, walk = frame.turned(truth), Walk(prompt, frame, most)
    asked = []
    while walk.waiting:
        questions, walk.waiting = walk.waiting, []
        for question in questions:
            asked.append(question.slice)
            area = np.zeros(slices.shape[1:], bool)
            if question.box is not None:
                row0, column0, row1, column1 = question.box.astype(int)
                area[row0 : row1 + 1, column0 : column1 + 1] = True
            for row, column in question.points[question.labels == 1].astype(int):
                area[max(row - 40, 0) : row + 40, max(column - 40, 0) : column + 40] = True
            walk.receive(question, 16 * frame.to_mask(slices[question.slice] * area) - 8)
    found = np.zeros(truth.shape, bool)
    frame.turned(found)[...] = walk.volume() > 0
    return found, asked


@pytest.mark.parametrize("kind", ["click", "box", "mask", "rough mask"])
@pytest.mark.parametrize("spacing", [(3.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 4.0, 1.0)])
def test_an_object_is_followed_from_any_prompt(kind, spacing):
    shape = tuple(int(np.ceil(60 / step)) for step in spacing)
    center = tuple(28 / step for step in spacing)
    truth = ball(shape, center, 18, spacing)
    inside = np.argwhere(truth > 0)
    prompt = {
        "click": click(*center),
        "box": Prompts(box=(*inside.min(0), *(inside.max(0) + 1))),
        "mask": Prompts(mask=truth),
        "rough mask": Prompts(mask=ball(shape, center, 15, spacing)),
    }[kind]
    found, asked = walked(prompt, truth, spacing)
    assert 2 * (found & (truth > 0)).sum() / (found.sum() + truth.sum()) > 0.88
    assert len(asked) == len(set(asked)) <= 24


def test_few_slices_are_asked_where_a_slice_is_expensive():
    truth = ball((80, 40, 40), (40, 20, 20), 15, (0.5, 1, 1))
    found, asked = walked(Prompts(mask=truth), truth, (1.0, 1.0, 1.0), most=8)
    assert len(asked) <= 8 + 4
    assert 2 * (found & (truth > 0)).sum() / (found.sum() + truth.sum()) > 0.9


def test_a_mask_is_not_carried_on_to_another_object():
    truth = np.zeros((20, 60, 60), np.float32)
    truth[:10, 10:20, 10:20] = 1
    truth[10:, 18:50, 18:50] = 1
    found, _ = walked(click(4, 15, 15), truth, (3.0, 1.0, 1.0))
    assert found[2:9].any((1, 2)).all() and not found[12:].any()


# Answers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Sam, MedSam])
def test_answers_are_probabilities_on_the_grid_of_the_volume(file, kind):
    generalist = kind(Context(), file)
    volume = volume_of((30, 12, 34), (1.0, 4.0, 1.5))
    embedding = generalist.encode(volume)
    mask = ball(volume.shape, (15, 6, 17), 9, (1.0, 2.0, 1.0))
    both = np.array([[15, 6, 17], [3, 6, 3]], np.float32), np.array([1, 0], np.uint8)
    prompts = [click(15, 6, 17), Prompts(box=(8, 3, 9, 22, 9, 25)), Prompts(mask=mask), Prompts(*both, None, mask)]
    answers = generalist.predict(embedding, prompts)
    assert answers.shape == (4, *volume.shape) and answers.dtype == np.float32
    assert answers.min() >= 0 and answers.max() <= 1 and answers.any((1, 2, 3)).all()
    for index, prompt in enumerate(prompts):
        assert np.allclose(generalist.predict(embedding, [prompt])[0], answers[index], atol=1e-3)


def test_prompts_that_name_no_object_give_zeros(file):
    generalist, volume = Sam(Context(), file), volume_of((8, 20, 20))
    embedding = generalist.encode(volume)
    empty = [Prompts(), Prompts(mask=np.zeros(volume.shape, np.float32)), click(3, 3, 3, label=0)]
    assert not generalist.predict(embedding, empty).any()
    assert generalist.predict(embedding, []).shape == (0, *volume.shape)


def test_each_slice_is_encoded_once_and_kept_on_disk(file, tmp_path, monkeypatch):
    encoded = []
    encode = Sam._encode_picture
    monkeypatch.setattr(Sam, "_encode_picture", lambda self, part: encoded.append(1) or encode(self, part))
    volume = volume_of((12, 20, 20))
    mask = ball(volume.shape, (6, 10, 10), 8, (3.0, 1.0, 1.0))
    counts = []
    for _ in range(2):  # the second time as in a new process
        generalist = Sam(Context(cache=tmp_path), file)
        generalist.predict(generalist.encode(volume), [Prompts(mask=mask), Prompts(mask=mask), click(6, 10, 10)])
        counts.append(len(encoded))
    assert 0 < counts[0] <= 12 and counts[1] == counts[0]


def test_auto_leaves_them_out_without_a_gpu(file, monkeypatch, tmp_path):
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    monkeypatch.setattr("semisam.specialists.hardware.detect", lambda device: _Cpu())
    with pytest.raises(GeneralistError, match="Without a GPU"):
        Sam(Context(automatic=True), file)
    assert Sam(Context(), file).name == "sam"


class _Cpu:
    device, bfloat16 = "cpu", False


def test_a_missing_package_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    path = tmp_path / "sam.pth"
    torch.save({name: torch.zeros(1).expand(shape) for name, shape in shapes_of(VIT_B).items()}, path)
    for name in [name for name in sys.modules if name.startswith("segment_anything")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(GeneralistError, match='package "segment-anything": .* -m pip install segment-anything'):
        import_weights("sam", path)


@pytest.mark.slow
def test_a_published_file_loads_as_it_is(tmp_path, monkeypatch):
    """A checkpoint of the published size and layout. Encoding with it takes half a minute on two cores, so that is left
    to Testing/benchmarks/sam_med3d.py."""
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "weights"))
    path = tmp_path / "medsam_vit_b.pth"
    torch.save({name: torch.zeros(1).expand(shape) for name, shape in shapes_of(VIT_B).items()}, path)
    card = import_weights("medsam", path)
    assert "ViT-B" in card.architecture and card.bytes > 370e6
    generalist = registry.create("medsam", Context())
    assert generalist.name == "medsam" and generalist._network.sizes == VIT_B
