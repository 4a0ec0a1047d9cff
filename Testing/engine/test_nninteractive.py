"""nnInteractive as a generalist: import of its model folder, its licence, and what reaches its network."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from nninteractive_folder import CONFIGURATION, network_weights, write_folder
from semisam.cli import main
from semisam.errors import GeneralistError
from semisam.generalists import registry, weights
from semisam.generalists.base import Context
from semisam.generalists.catalogue import ENTRIES, remedy
from semisam.generalists.weights_import import import_weights
from semisam.prompts import Prompts
from semisam.volumes import Geometry, Volume

NAME = "nninteractive"
SHAPE = (20, 24, 28)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def model(tmp_path):
    return write_folder(tmp_path / "nnInteractive_v1.0")


def add(model):
    return import_weights(NAME, model, accepted=True)


def change(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# Import; the package itself is not needed -----------------------------------------------------------------------------


def test_a_folder_becomes_one_file_that_holds_every_tensor_once(model, folder):
    card = add(model)
    path = folder / f"{NAME}.safetensors"
    assert card.source == "nnInteractive_v1.0/fold_0/checkpoint_final.pth"
    assert card.source_sha256 == weights.sha256_of(model / "fold_0" / "checkpoint_final.pth")
    assert card.accepted and "CC BY-NC-SA 4.0" in card.licence and "64x64x64" in card.architecture
    assert card.sha256 == weights.sha256_of(path) and weights.require(NAME) == (path, card)
    weights.check(NAME)
    with safe_open(path, "pt") as file:
        kept, notes = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    original = network_weights()
    assert len(kept) == len({tensor.data_ptr() for tensor in original.values()}) < len(original)
    assert all(torch.equal(kept[name], original[name]) for name in kept)
    assert notes["configuration"] == CONFIGURATION and CONFIGURATION in json.loads(notes["plans"])["configurations"]
    assert notes["session_file"] == "inference_session_class.json" and "CC BY-NC-SA" in notes["licence"]


def test_the_checkpoint_in_the_folder_names_the_folder(model):
    assert add(model / "fold_0" / "checkpoint_final.pth").source.startswith("nnInteractive_v1.0/")


def test_a_folder_of_links_is_read_as_one_of_files(model, tmp_path):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(path for path in model.rglob("*") if path.is_file())):
        link = tmp_path / "snapshot" / path.relative_to(model)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.replace(blobs / str(number)))
    assert add(tmp_path / "snapshot").source == "snapshot/fold_0/checkpoint_final.pth"


def test_without_accepting_its_licence_nothing_is_imported(model, folder):
    with pytest.raises(GeneralistError, match="CC BY-NC-SA 4.0.*creativecommons.org.*--accept-licence"):
        import_weights(NAME, model)
    assert not folder.exists()


def test_a_card_without_acceptance_does_not_serve(model):
    weights.write_card(replace(add(model), accepted=False))
    with pytest.raises(GeneralistError, match="licence.*has not been accepted.*add nninteractive FOLDER"):
        weights.require(NAME)
    assert NAME not in registry.at_hand()


def test_the_command_asks_for_acceptance_and_takes_it(model, capsys):
    assert main(["generalists", "add", NAME, str(model)]) == 1
    told = capsys.readouterr().err
    assert "CC BY-NC-SA 4.0, no commercial use" in told and "--accept-licence" in told
    assert main(["generalists", "add", NAME, str(model), "--accept-licence", "--json"]) == 0
    card = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert card["accepted"] and card["generalist"] == NAME
    assert main(["generalists", "verify"]) == 0
    assert main(["generalists", "add", "sam-med3d", str(model)]) == 2  # no folder there


def test_a_missing_package_is_told_with_the_command_that_installs_it(model, monkeypatch, capsys):
    monkeypatch.setitem(ENTRIES, NAME, replace(ENTRIES[NAME], package="no_such_package.part"))
    assert f'"{sys.executable}" -m pip install nnInteractive, then: get ' in remedy(NAME)
    assert main(["generalists", "add", NAME, str(model), "--accept-licence", "--json"]) == 0
    assert "needs a Python package" in json.loads(capsys.readouterr().out.splitlines()[-1])["remedy"]
    with pytest.raises(GeneralistError, match="needs a Python package: .* -m pip install nnInteractive"):
        registry.create(NAME, Context())


class Runs:
    """Unpickled blindly, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'echo harm > "{self.path}"',)


def test_a_hostile_checkpoint_is_refused_and_runs_nothing(tmp_path):
    harm = tmp_path / "harm"
    with pytest.raises(GeneralistError, match=r'not opened: it asks for "(posix|nt)\.system"'):
        add(write_folder(tmp_path / "model", beside=Runs(harm)))
    assert not harm.exists() and weights.find(NAME) is None


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("network_class_name", "os.system"),
        ("network_class_name", "dynamic_network_architectures.architectures.unet.nn"),
        ("network_class_name", "dynamic_network_architectures.architectures.unet.PlainConvUNet\n"),
        ("nonlin", "subprocess.Popen"),
        ("conv_op", "torch.nn.modules.module.torch"),
        ("norm_op", 3),
    ],
)
def test_plans_that_name_other_programs_are_refused(model, part, name):
    plans = json.loads((model / "plans.json").read_text())
    architecture = plans["configurations"][CONFIGURATION]["architecture"]
    (architecture if part in architecture else architecture["arch_kwargs"])[part] = name
    change(model / "plans.json", **plans)
    with pytest.raises(GeneralistError, match="is not a model of nnInteractive: its plans.json asks for"):
        add(model)
    assert weights.find(NAME) is None


def test_a_checkpoint_cut_short_anywhere_is_told(model):
    path = model / "fold_0" / "checkpoint_final.pth"
    whole = path.read_bytes()
    for share in (0.0, 0.01, 0.3, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(GeneralistError, match="cut short|not a PyTorch checkpoint|damaged"):
            add(model)


def test_folders_that_are_not_whole_are_told(model, tmp_path):
    with pytest.raises(GeneralistError, match="has no files fold_.*choose the model folder"):
        add(model / "fold_0")
    for name in ("plans.json", "dataset.json", "inference_session_class.json"):
        content = (model / name).read_text()
        (model / name).write_text(content[: len(content) // 2])
        with pytest.raises(GeneralistError, match=rf"{name}. is damaged"):
            add(model)
        (model / name).unlink()
        other = name.replace("inference_session_class", "inference_info")
        with pytest.raises(GeneralistError, match=rf"{other}. cannot be read.*whole model folder"):
            add(model)
        (model / name).write_text(content)
    add(model)


def test_models_of_another_kind_are_told(model, tmp_path):
    with pytest.raises(GeneralistError, match="not a model of nnInteractive: its patches are too small"):
        add(write_folder(tmp_path / "small", patch=48))
    content = (model / "dataset.json").read_text()
    change(model / "dataset.json", channel_names={"0": "T1", "1": "T2"})
    with pytest.raises(GeneralistError, match="not a model of nnInteractive: it is for images with 2 channels"):
        add(model)
    (model / "dataset.json").write_text(content)
    path = model / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["network_weights"]["decoder.seg_layers.0.weight"] = torch.zeros(5, 8, 1, 1, 1)
    torch.save(checkpoint, path)
    with pytest.raises(GeneralistError, match="not a model of nnInteractive: its checkpoint has not 8 inputs and 2"):
        add(model)
    torch.save({"state_dict": {"conv.weight": torch.ones(3)}}, path)
    with pytest.raises(GeneralistError, match="not a model of nnInteractive: it lacks 'init_args'"):
        add(model)


# What it answers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def package():
    pytest.importorskip("nnInteractive.inference.inference_session")


@pytest.fixture
def generalist(package, model):
    add(model)
    return registry.create(NAME, Context())


def volume(shape=SHAPE, spacing=(2.0, 1.0, 1.0), bright=None):
    """Dim noise, and a few voxels that stand out."""
    voxels = np.random.default_rng(0).normal(100, 1, shape).astype(np.float32)
    if bright is not None:
        voxels[bright] = 1000
    return Volume(voxels, Geometry.simple(shape, spacing))


def clicks(*points, labels=None):
    return Prompts(np.array(points, np.float32), np.array(labels or [1] * len(points), np.uint8))


def ask(generalist, *prompts, image=None):
    answers = generalist.predict(generalist.encode(image or volume()), prompts)
    assert answers.dtype == np.float32 and set(np.unique(answers)) <= {0.0, 1.0}
    return answers


def channel(generalist, name, side=0):
    """What the session was told of one kind, (k, j, i)."""
    session = generalist.session
    index = session.channel_mapping[name]
    return session.interactions[index if name == "prev_seg" else index[side]].float().numpy()


def center(answer):
    return np.argwhere(answer > 0).mean(0).tolist()


def test_a_click_reaches_its_voxel_on_distinct_axes(generalist):
    for point in ([5, 9, 21], [14, 6, 8]):
        (answer,) = ask(generalist, clicks(point))
        told = channel(generalist, "points")
        assert answer.shape == SHAPE and answer.any() and center(answer) == point
        assert list(np.unravel_index(told.argmax(), SHAPE)) == point
        assert not channel(generalist, "points", 1).any() and not channel(generalist, "bbox2d").any()


def test_the_image_keeps_its_axes(generalist):
    """A bright rod near the click is part of the answer: the network looked at the right voxels."""
    rod = (slice(8, 9), slice(12, 13), slice(6, 18))
    (answer,) = ask(generalist, clicks([8, 12, 12]), image=volume(bright=rod))
    (without,) = ask(generalist, clicks([8, 12, 12]))
    assert answer[rod].all() and 0 < (answer > without).sum() <= 12 and not (answer < without).any()


def test_a_click_outside_the_object_takes_away(generalist):
    (answer,) = ask(generalist, clicks([8, 12, 20], [8, 12, 15], labels=[0, 1]))
    (alone,) = ask(generalist, clicks([8, 12, 15]))
    assert channel(generalist, "points").any()
    assert answer.any() and answer.sum() < alone.sum() and not answer[8, 12, 20]
    ask(generalist, clicks([8, 12, 20], [8, 12, 15], labels=[0, 1]))
    assert list(np.unravel_index(channel(generalist, "points", 1).argmax(), SHAPE)) == [8, 12, 20]
    (nothing,) = ask(generalist, clicks([8, 12, 20], labels=[0]))
    assert not nothing.any()


def test_a_flat_box_goes_through_the_middle_across_the_coarsest_axis(generalist):
    prompt = Prompts(box=(4, 6, 8, 11, 15, 19))
    expected = np.zeros(SHAPE, bool)
    expected[7, 6:15, 8:19] = True
    (answer,) = ask(generalist, prompt)
    np.testing.assert_array_equal(answer > 0, expected)
    np.testing.assert_array_equal(channel(generalist, "bbox2d") > 0, expected)
    (across,) = ask(generalist, prompt, image=volume(spacing=(1.0, 1.0, 3.0)))
    expected = np.zeros(SHAPE, bool)
    expected[4:11, 6:15, 13] = True
    np.testing.assert_array_equal(across > 0, expected)


def test_a_network_that_knows_solid_boxes_gets_them(package, tmp_path):
    mapping = {"prev_seg": 0, "bbox2d": [1, 2], "bbox3d": [1, 2], "lasso": [1, 2], "points": [3, 4], "scribble": [5, 6]}
    newer = {"supported_interactions": {"bbox3d": True}, "channel_mapping": mapping, "interaction_channels": 6}
    add(write_folder(tmp_path / "newer", session=newer))
    generalist = registry.create(NAME, Context())
    # Half-open, and partly outside the image.
    (answer,) = ask(generalist, Prompts(box=(-3.0, 5.5, 8.0, 4.0, 15.0, 40.0)))
    expected = np.zeros(SHAPE, bool)
    expected[:4, 6:15, 8:] = True
    np.testing.assert_array_equal(channel(generalist, "bbox3d") > 0, expected)
    assert answer.any() and not answer[~expected].any()


def test_a_mask_is_the_segmentation_so_far(generalist):
    mask = np.zeros(SHAPE, np.float32)
    mask[6:12, 8:15, 9:20] = 0.9
    mask[6:12, 8:15, 20:22] = 0.2  # not the object
    (answer,) = ask(generalist, Prompts(mask=mask))
    np.testing.assert_array_equal(answer > 0, mask >= 0.5)
    np.testing.assert_array_equal(channel(generalist, "prev_seg"), mask >= 0.5)
    (more,) = ask(generalist, replace(clicks([9, 18, 14]), mask=mask, box=(6, 8, 9, 12, 15, 20)))
    assert (more > 0)[mask >= 0.5].all() and more[9, 18, 14] and channel(generalist, "bbox2d").sum() > 0


def test_prompts_do_not_influence_one_another(generalist):
    mask = np.zeros(SHAPE, np.float32)
    mask[2:8, 2:8, 2:8] = 1
    prompts = [Prompts(mask=mask), clicks([15, 18, 22]), Prompts(), Prompts(box=(10, 2, 15, 13, 8, 25))]
    together, reversed_ = ask(generalist, *prompts), ask(generalist, *prompts[::-1])
    np.testing.assert_array_equal(together, reversed_[::-1])
    for prompt, answer in zip(prompts, together, strict=True):
        np.testing.assert_array_equal(ask(generalist, prompt)[0], answer)
    assert [bool(answer.any()) for answer in together] == [True, True, False, True]


def test_prompts_that_name_no_object_give_zeros(generalist):
    nothing = [Prompts(), Prompts(mask=np.zeros(SHAPE, np.float32)), clicks([3, 3, 3], labels=[0])]
    assert not ask(generalist, *nothing).any()
    flat = Volume(np.full(SHAPE, 7, np.float32), Geometry.simple(SHAPE, (1.0, 1.0, 1.0)))
    assert not ask(generalist, clicks([5, 5, 5]), image=flat).any()
    assert ask(generalist).shape == (0, *SHAPE)
    # Without contrast where it is not zero: nothing to scale by.
    voxels = np.zeros(SHAPE, np.float32)
    voxels[5:10, 5:10, 5:10] = 1000
    (answer,) = ask(generalist, clicks([7, 7, 7]), image=Volume(voxels, Geometry.simple(SHAPE)))
    assert answer.shape == SHAPE


def test_prompts_as_large_as_the_image_and_images_of_one_slice(generalist):
    everything = [Prompts(mask=np.ones(SHAPE, np.float32)), Prompts(box=(0, 0, 0, *SHAPE))]
    mask, box = ask(generalist, *everything)
    assert mask.all() and box[SHAPE[0] // 2 - 1].all()
    slice_ = volume((1, 24, 28))
    answers = ask(generalist, clicks([0, 7, 7]), Prompts(box=(0, 3, 3, 1, 9, 9)), image=slice_)
    assert answers[0, 0, 7, 7] and answers[1].sum() == 36


def test_broken_voxels_and_clicks_beside_the_image_do_no_harm(generalist):
    image = volume()
    image.voxels[0, 0, :3] = np.nan, np.inf, -np.inf
    (answer,) = ask(generalist, clicks([-4, 12, 99]), image=image)
    assert answer[0, 12, SHAPE[2] - 1] and np.isfinite(answer).all()


def test_an_object_larger_than_a_patch_is_followed_the_same_way_each_time(package, tmp_path):
    add(write_folder(tmp_path / "larger", image=20.0))
    generalist = registry.create(NAME, Context())
    shape, block = (24, 26, 96), (slice(6, 18), slice(7, 19), slice(6, 88))
    image = volume(shape, bright=block)
    np.random.seed(3)
    answers = ask(generalist, clicks([12, 13, 47]), clicks([12, 13, 47]), image=image)
    assert np.random.rand() == np.random.RandomState(3).rand()  # nobody else's random numbers were taken
    np.testing.assert_array_equal(answers[0], answers[1])
    expected = image.voxels > 500
    overlap = 2 * (answers[0] * expected).sum() / (expected.sum() + answers[0].sum())
    assert overlap > 0.95


def test_the_image_goes_in_as_it_is_and_stays_so(generalist):
    image = volume()
    before = image.voxels.copy()
    embedding = generalist.encode(image)
    np.testing.assert_array_equal(embedding.arrays["image"], before)
    generalist.predict(embedding, [clicks([5, 5, 5])])
    np.testing.assert_array_equal(embedding.arrays["image"], before)
    assert generalist.raw_intensities and json.loads(json.dumps(embedding.meta)) == embedding.meta


def test_nothing_is_printed_and_torch_keeps_its_settings(package, model, capfd):
    add(model)
    before = torch.get_num_threads(), torch.backends.cudnn.benchmark
    ask(registry.create(NAME, Context()), clicks([5, 9, 21]), Prompts(box=(4, 6, 8, 11, 15, 19)))
    assert (torch.get_num_threads(), torch.backends.cudnn.benchmark) == before
    assert capfd.readouterr().out == ""


def test_auto_leaves_it_out_without_a_gpu(generalist):
    with pytest.raises(GeneralistError, match="Without a GPU it takes minutes"):
        registry.create(NAME, Context(automatic=True))
    assert weights.require(NAME)[1].sha256[:16] in generalist.fingerprint


def test_its_own_reader_agrees(package, generalist, model, capsys):
    """The published way, which unpickles: a file of ours may be read so."""
    from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

    theirs = nnInteractiveInferenceSession(torch.device("cpu"), torch_n_threads=torch.get_num_threads())
    theirs.initialize_from_trained_model_folder(str(model))
    ours = generalist.session
    expected, found = theirs.network.state_dict(), ours.network.state_dict()
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)
    for fact in ("interaction_decay", "channel_mapping", "supported_interactions", "num_interaction_channels"):
        assert getattr(ours, fact) == getattr(theirs, fact)
    assert ours.point_interaction.point_radius == theirs.point_interaction.point_radius
    assert ours.license and ours.configuration_manager.patch_size == theirs.configuration_manager.patch_size
    image = volume()
    theirs.set_image(image.voxels[None])
    theirs.set_target_buffer(torch.zeros(SHAPE, dtype=torch.uint8))
    theirs.add_point_interaction((8, 12, 15), True)
    np.testing.assert_array_equal(ask(generalist, clicks([8, 12, 15]), image=image)[0], theirs.target_buffer.numpy())


def test_weights_that_do_not_fit_their_plans_are_told(package, model):
    plans = json.loads((model / "plans.json").read_text())
    plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]["features_per_stage"] = [8, 12]
    change(model / "plans.json", **plans)
    add(model)
    with pytest.raises(GeneralistError, match="damaged or not for this version.*add nninteractive FOLDER"):
        registry.create(NAME, Context())


def test_a_model_for_a_newer_package_is_told(package, tmp_path):
    add(write_folder(tmp_path / "newer", session={"inference_class_min_version": "99.0"}))
    with pytest.raises(GeneralistError, match="not for this version of its package"):
        registry.create(NAME, Context())


def test_the_package_is_found_as_a_whole():
    """Its client alone, which is a package of the same name, is not enough."""
    whole = any((Path(folder) / "nnInteractive/inference/inference_session.py").is_file() for folder in sys.path)
    assert ENTRIES[NAME].package_missing is not whole
