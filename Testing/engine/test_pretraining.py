"""Pre-training of nano: worlds, simulated prompts, and runs that can be stopped, resumed and repeated."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from semisam.errors import GeneralistError, TrainingError
from semisam.generalists.base import Context
from semisam.generalists.nano.generalist import Nano
from semisam.generalists.nano.network import NanoNetwork, click_maps, depth_to_space, space_to_depth
from semisam.pretraining.batches import make_sample, prompt_maps
from semisam.pretraining.pool import WorldPool
from semisam.pretraining.prompt_simulation import first_prompts, jittered_box, overlap, specialist_mask
from semisam.pretraining.synthesis import make_world
from semisam.pretraining.trainer import Recipe, Stage, pretrain

TINY = Recipe(world_size=20, stages=(Stage(0.5, 16, 2), Stage(1.0, 16, 2)), widths=(8, 8, 16), pool=8, bfloat16=False)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def samples(count, size=24):
    rng = np.random.default_rng(0)
    found = []
    index = 0
    while len(found) < count:
        sample = make_sample(rng, make_world(3, index, 24), size)
        found += [sample] if sample is not None else []
        index += 1
    return found


def test_a_world_is_the_same_for_the_same_numbers_and_another_for_others():
    first, again, other = make_world(1, 5, 24), make_world(1, 5, 24), make_world(1, 6, 24)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert not np.array_equal(first.image, other.image)


def test_worlds_are_finite_and_hold_targets_of_usable_size():
    for index in range(12):
        world = make_world(0, index, 24)
        assert np.isfinite(world.image).all()
        assert 0.001 < (world.targets & 1).mean() < 0.5


def test_worlds_and_training_read_no_file(monkeypatch, tmp_path):
    opened = []
    real_open = open

    def watching(file, mode="r", *args, **options):
        if "r" in mode and "+" not in mode:
            opened.append(str(file))
        return real_open(file, mode, *args, **options)

    monkeypatch.setattr("builtins.open", watching)
    monkeypatch.setattr("io.open", watching)
    make_world(0, 0, 24)
    pretrain(tmp_path / "run", steps=2, workers=0, recipe=TINY)
    assert [name for name in opened if not name.endswith((".py", ".pyc")) and str(tmp_path) not in name] == []


def test_clicks_lie_where_their_labels_say_and_boxes_touch_the_object():
    rng = np.random.default_rng(1)
    for sample in samples(12):
        target = sample.targets[0]
        for _ in range(4):
            prompts = first_prompts(rng, target, sample.image)
            for point, label in zip(prompts.points, prompts.labels, strict=True):
                assert bool(target[point]) == bool(label)
        k0, j0, i0, k1, j1, i1 = jittered_box(rng, target, 0.0)
        assert int(target[k0:k1, j0:j1, i0:i1].sum()) == int(target.sum())


def test_simulated_masks_range_from_poor_to_perfect():
    rng = np.random.default_rng(2)
    found = [
        overlap(specialist_mask(rng, sample.targets[0], sample.image) > 0.5, sample.targets[0])
        for sample in samples(20)
        for _ in range(3)
    ]
    assert min(found) < 0.6
    assert max(found) > 0.97
    assert 0.5 < np.median(found) < 0.95


def test_maps_carry_clicks_box_and_mask_in_their_channels():
    sample = samples(1)[0]
    prompts = first_prompts(np.random.default_rng(0), sample.targets[0], sample.image)
    prompts.points, prompts.labels = [(3, 4, 5), (9, 9, 9)], [1, 0]
    prompts.box, prompts.mask = (2, 2, 2, 6, 6, 6), torch.zeros(24, 24, 24)
    maps = prompt_maps([prompts], 24)[0]
    assert maps[0, 3, 4, 5] == 1 and maps[2, 9, 9, 9] == 1
    assert maps[4].max() == 1 and int((maps[4] > 0).sum()) == 64
    assert (maps[5] == -1).all()


def test_click_maps_of_no_clicks_are_zero():
    assert not click_maps(torch.zeros(2, 0, 3), torch.zeros(2, 0), (8, 8, 8)).any()


def test_space_to_depth_loses_nothing():
    x = torch.randn(2, 3, 4, 6, 8)
    torch.testing.assert_close(depth_to_space(space_to_depth(x)), x)


def test_the_network_answers_on_any_grid_of_multiples_of_eight():
    network = NanoNetwork((8, 8, 16))
    logits = network.decode(network.encode(torch.randn(1, 1, 16, 24, 32)), torch.zeros(1, 6, 16, 24, 32))
    assert logits.shape == (1, 1, 16, 24, 32)


def test_the_image_and_the_prompt_both_reach_the_answer():
    network = NanoNetwork((8, 8, 16))
    image = torch.randn(1, 1, 16, 16, 16, requires_grad=True)
    prompts = torch.rand(1, 6, 16, 16, 16, requires_grad=True)
    network.decode(network.encode(image), prompts).sum().backward()
    assert float(image.grad.abs().sum()) > 0 and float(prompts.grad.abs().sum()) > 0


def test_a_pool_keeps_the_newest_worlds_and_a_worker_makes_the_same_ones():
    with WorldPool(seed=4, size=20, capacity=3) as pool, WorldPool(seed=4, size=20, capacity=3, workers=1) as other:
        assert pool.advance(5) == range(2, 5) == other.advance(5)
        for index in range(2, 5):
            np.testing.assert_array_equal(pool[index].image, other[index].image)


def test_a_resumed_run_ends_like_one_that_was_never_interrupted(tmp_path):
    pretrain(tmp_path / "whole", steps=6, seed=3, workers=0, recipe=TINY)
    calls = iter([False, False, True])
    summary = pretrain(tmp_path / "parts", steps=6, seed=3, workers=0, recipe=TINY, should_stop=lambda: next(calls))
    assert summary["stopped"] and summary["steps"] == 3
    summary = pretrain(tmp_path / "parts", steps=6, seed=3, workers=0, recipe=TINY, resume=True)
    assert summary["steps"] == 6
    whole, parts = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=0, msg=name)


def test_other_seeds_give_other_weights(tmp_path):
    for seed in (0, 1):
        pretrain(tmp_path / str(seed), steps=1, seed=seed, workers=0, recipe=TINY)
    first, second = (load_file(tmp_path / name / "nano.safetensors") for name in ("0", "1"))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_run_can_start_from_the_weights_of_an_earlier_one(tmp_path):
    pretrain(tmp_path / "earlier", steps=2, workers=0, recipe=TINY)
    earlier = tmp_path / "earlier" / "nano.safetensors"
    still = replace(TINY, learning_rate=0.0, weight_decay=0.0)
    pretrain(tmp_path / "later", steps=1, workers=0, recipe=still, start_from=earlier)
    first, second = load_file(earlier), load_file(tmp_path / "later" / "nano.safetensors")
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0, msg=name)
    pretrain(tmp_path / "later", steps=2, workers=0, resume=True)  # with the recipe of the run
    state = json.loads((tmp_path / "later" / "checkpoint.json").read_text())
    assert state["started_from"] and state["recipe"]["learning_rate"] == 0.0
    with pytest.raises(TrainingError, match="either --resume or --start-from"):
        pretrain(tmp_path / "later", steps=3, resume=True, start_from=earlier)
    with pytest.raises(GeneralistError, match="missing"):
        pretrain(tmp_path / "other", steps=1, recipe=TINY, start_from=tmp_path / "nothing.safetensors")
    with pytest.raises(TrainingError, match="widths"):
        pretrain(tmp_path / "other", steps=1, start_from=earlier)


def test_the_weights_of_a_run_can_be_used_at_once_and_its_log_read(tmp_path):
    events = []
    recipe = Recipe(world_size=20, stages=(Stage(1.0, 16, 1),), widths=(8, 8, 16), pool=4)
    pretrain(tmp_path, steps=20, workers=0, recipe=recipe, on_event=events.append)
    assert Nano(Context(), tmp_path / "nano.safetensors").fingerprint.startswith("nano-")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0]["step"] == 20 and lines[0]["samples"] == 20
    assert {"metrics", "progress"} == {event["event"] for event in events}


@pytest.mark.parametrize("options", [{}, {"minutes": 1, "steps": 1}, {"steps": 0}, {"minutes": -1}])
def test_a_length_that_makes_no_sense_is_refused(tmp_path, options):
    with pytest.raises(TrainingError):
        pretrain(tmp_path, **options)


def test_resuming_nothing_another_seed_or_starting_over_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="no run to resume"):
        pretrain(tmp_path, steps=1, resume=True)
    pretrain(tmp_path, steps=1, seed=0, workers=0, recipe=TINY)
    with pytest.raises(TrainingError, match="already holds a run"):
        pretrain(tmp_path, steps=1, workers=0, recipe=TINY)
    with pytest.raises(TrainingError, match="another seed"):
        pretrain(tmp_path, steps=2, seed=1, workers=0, recipe=TINY, resume=True)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="damaged"):
        pretrain(tmp_path, steps=2, workers=0, recipe=TINY, resume=True)
