"""Plans fit the data and the machine, and survive as files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Study
from semisam.errors import PlanError, UsageError
from semisam.specialists.fingerprint import Fingerprint, take_fingerprint
from semisam.specialists.hardware import Hardware, detect
from semisam.specialists.plan import Plan, make_plan

CPU = Hardware("cpu", "CPU", 2, 24_000, False)
GPU = Hardware("cuda", "GPU", 16, 80_000, True)


def fingerprint(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    foreground: tuple[float, float, float] | None = None,
    volumes: tuple[float, ...] = (1000.0,),
) -> Fingerprint:
    extent = tuple(size * step for size, step in zip(shape, spacing, strict=True))
    volumes_ml = {f"organ{number}": volume for number, volume in enumerate(volumes)}
    return Fingerprint(30, 2, shape, spacing, foreground or extent, volumes_ml, {}, "MR or other")  # type: ignore[arg-type]


def test_a_small_volume_is_one_patch_at_its_own_spacing() -> None:
    plan = make_plan(fingerprint((35, 51, 35), (1.0, 1.0, 1.0)), CPU, ("organ",))
    assert plan.working_spacing == (1.0, 1.0, 1.0)
    assert plan.patch == (40, 56, 40)


def test_thick_slices_are_kept_and_not_halved_while_the_plane_is() -> None:
    plan = make_plan(fingerprint((10, 256, 216), (10.0, 1.5, 1.5)), CPU, ("organ",))
    assert plan.working_spacing[0] == 10.0
    assert plan.working_spacing[1] > 1.5
    assert plan.strides[0] == (1, 2, 2)


def test_a_patch_of_thick_slices_costs_no_more_than_one_of_cubes() -> None:
    """The first level is what costs: where slices are too thick to halve across, it has twice the voxels."""
    plan = make_plan(fingerprint((10, 256, 216), (10.0, 1.5, 1.5)), CPU, ("organ",))
    assert plan.strides[0] == (1, 2, 2)
    assert np.prod(plan.patch) / np.prod(plan.strides[0]) <= 1.25 * 131_072 / 8
    assert plan.on(GPU).on(CPU).patch == pytest.approx(plan.patch, rel=0.25)


def test_a_small_structure_in_a_large_volume_keeps_its_resolution_as_far_as_proposals_stay_affordable() -> None:
    small = make_plan(fingerprint((78, 512, 512), (3.0, 0.7, 0.7), (30.0, 30.0, 30.0)), CPU, ("organ",))
    large = make_plan(fingerprint((78, 512, 512), (3.0, 0.7, 0.7), (180.0, 200.0, 200.0)), CPU, ("organ",))
    assert np.prod(small.working_spacing) < np.prod(large.working_spacing)


def test_small_organs_all_over_a_large_volume_keep_their_resolution() -> None:
    """One patch cannot show all of them and each well."""
    trunk = (100, 120, 130), (3.0, 3.0, 3.0)
    large = make_plan(fingerprint(*trunk, volumes=(1000.0, 1500.0)), CPU, ("organ",))
    small = make_plan(fingerprint(*trunk, volumes=(5.0, 8.0, 20.0, 1500.0)), CPU, ("organ",))
    one_small = make_plan(fingerprint(*trunk, volumes=(5.0, 900.0, 1000.0, 1000.0, 1000.0, 1500.0)), CPU, ("organ",))
    unknown = make_plan(fingerprint(*trunk, volumes=(0.0, 0.0)), CPU, ("organ",))
    assert small.working_spacing == (3.0, 3.0, 3.0)
    assert large.working_spacing == one_small.working_spacing == unknown.working_spacing
    assert min(large.working_spacing) > 5
    assert small.patch == pytest.approx(large.patch, rel=0.3)


def test_a_chosen_spacing_is_taken_but_never_finer_than_the_images() -> None:
    data = fingerprint((10, 256, 216), (10.0, 1.5, 1.5), (60.0, 80.0, 80.0))
    assert make_plan(data, CPU, ("organ",), chosen_spacing=2.0).working_spacing == (10.0, 2.0, 2.0)
    assert make_plan(data, CPU, ("organ",), chosen_spacing=0.5).working_spacing == (10.0, 1.5, 1.5)


def test_a_spacing_at_which_the_structures_vanish_is_told_with_the_largest_that_works() -> None:
    data = fingerprint((40, 50, 40), (1.0, 1.0, 1.0), (10.0, 20.0, 20.0))
    assert make_plan(data, CPU, ("organ",), chosen_spacing=2.0).working_spacing == (2.0, 2.0, 2.0)
    with pytest.raises(UsageError, match="at most 2 mm"):
        make_plan(data, CPU, ("organ",), chosen_spacing=2.1)


def test_a_gpu_gets_a_wider_network_and_larger_patches() -> None:
    data = fingerprint((88, 140, 190), (0.625, 0.625, 0.625))
    on_cpu, on_gpu = make_plan(data, CPU, ("organ",)), make_plan(data, GPU, ("organ",))
    assert on_gpu.channels[0] > on_cpu.channels[0]
    assert np.prod(on_gpu.patch) > np.prod(on_cpu.patch)


def test_too_little_memory_is_told() -> None:
    with pytest.raises(PlanError, match="too little memory"):
        make_plan(fingerprint((35, 51, 35), (1.0, 1.0, 1.0)), replace(CPU, memory_mb=10), ("organ",))


@given(
    shape=st.tuples(*[st.integers(2, 700)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 12.0)] * 3),
    part=st.floats(0.02, 1.0),
    volumes=st.lists(st.one_of(st.just(0.0), st.floats(0.001, 5000.0)), min_size=1, max_size=20),
    memory=st.integers(2_000, 100_000),
)
@settings(deadline=None, max_examples=60)
def test_every_plan_has_patches_that_the_network_can_halve_within_the_budget(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], part: float, volumes: list[float], memory: int
) -> None:
    foreground = tuple(part * size * step for size, step in zip(shape, spacing, strict=True))
    data = fingerprint(shape, spacing, foreground, tuple(volumes))  # type: ignore[arg-type]
    plan = make_plan(data, replace(CPU, memory_mb=memory), ("organ",))
    assert all(size % step == 0 and size > 0 for size, step in zip(plan.patch, plan.total_stride, strict=True))
    assert np.prod(plan.patch) <= 1.25 * 131_072 or all(
        size <= 2 * step for size, step in zip(plan.patch, plan.total_stride, strict=True)
    )
    assert all(working >= step * 0.999 for working, step in zip(plan.working_spacing, spacing, strict=True))


def test_a_plan_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    plan = make_plan(fingerprint((35, 51, 35), (1.0, 1.0, 1.0)), detect("cpu"), ("organ",))
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan


@pytest.mark.parametrize(
    "name",
    [
        "left lung", "Right kidney", "kidney_left", "hip-right", "Kidney-L", "LeftKidney", "kidneyR", "LKidney",
        "rib7L", "lung (left)", "femur.rt", "LT HIP", "hip_left2", "HIP_LEFT2", "Niere links", "linke Niere",
        "Rechter Hoden", "rein gauche", "poumonDroit", "riñón izquierdo", "pulmón_derecho", "rene destro",
        "polmone sinistro", "rim direito", "mama esquerda",
    ],
)  # fmt: skip
def test_what_has_a_side_is_not_mirrored_however_it_is_spelled(name: str, tmp_path: Path) -> None:
    plan = make_plan(fingerprint((35, 51, 35), (1.0, 1.0, 1.0)), CPU, ("organ", name))
    assert not plan.mirror
    # Nor by a plan that was made when not all spellings were known.
    replace(plan, mirror=True).save(tmp_path / "plan.json")
    assert not Plan.load(tmp_path / "plan.json").mirror


@pytest.mark.parametrize("name", ["liver", "cleft", "brightness", "L5", "vertebraL1", "LV", "Leber", "lrp"])
def test_what_has_no_side_is_mirrored(name: str, tmp_path: Path) -> None:
    plan = make_plan(fingerprint((35, 51, 35), (1.0, 1.0, 1.0)), CPU, (name,))
    plan.save(tmp_path / "plan.json")
    assert plan.mirror and Plan.load(tmp_path / "plan.json").mirror


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"schema": 99}', '{"nonsense": 1}'],
    ids=["empty", "list", "nothing", "newer", "unknown"],
)
def test_a_damaged_or_newer_plan_is_told_in_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(PlanError, match="plan.json"):
        Plan.load(tmp_path / "plan.json")


def test_the_fingerprint_knows_sizes_and_takes_annotations_of_released_cases_only(study: Study) -> None:
    found = take_fingerprint(study.make_project(annotated=("case1",)))
    assert (found.cases, found.annotated) == (4, 1)
    assert found.spacing == pytest.approx((1.2, 1.0, 1.0))
    assert set(found.foreground_ml) == {"head", "tail"}
    json.dumps(found.to_dict())


def test_an_unknown_device_is_told() -> None:
    with pytest.raises(PlanError, match="Unknown device"):
        detect("abacus")


def test_bfloat16_is_not_used_where_the_smallest_level_would_be_too_short_for_it() -> None:
    able = replace(CPU, bfloat16=True)
    assert make_plan(fingerprint((35, 51, 35), (1.0, 1.0, 1.0)), able, ("organ",)).bfloat16
    assert not make_plan(fingerprint((14, 51, 35), (1.0, 1.0, 1.0)), able, ("organ",)).bfloat16
