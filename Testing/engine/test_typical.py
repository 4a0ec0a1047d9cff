"""Which cases to annotate first: those most like the others, as thumbnails see it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from semisam import typical
from semisam.cli import main
from semisam.files.volume_files import write_image
from semisam.project import Project
from semisam.ranking import kept_order, ranked_cases
from semisam.segments import parse_segments
from semisam.typical import choose, coverage_order, similarities, thumbnail
from semisam.volumes import Geometry, Volume

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)


def image(kind: str, number: int, shape=(24, 30, 26), spacing=(1.5, 1.0, 1.2)) -> Volume:
    """One of two kinds of anatomy, each at another place and with other noise for every number."""
    rng = np.random.default_rng(number)
    k, j, i = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in shape)]
    shift = rng.uniform(-0.15, 0.15, 3)
    inside = ((k - shift[0]) / 0.6) ** 2 + ((j - shift[1]) / 0.5) ** 2 + ((i - shift[2]) / 0.4) ** 2
    voxels = np.where(inside < 1, 1.0, 0.0) if kind == "solid" else np.where(np.abs(inside - 0.8) < 0.4, -1.0, 0.0)
    voxels = voxels * rng.uniform(50, 200) + rng.normal(0, 5, shape) + rng.uniform(-500, 500)
    return Volume(voxels.astype(np.float32), Geometry(shape, spacing, (0.0, 0.0, 0.0), IDENTITY))


def test_alike_are_those_of_one_kind_wherever_and_however_bright_they_are():
    kinds = ["solid"] * 4 + ["hollow"] * 4
    alike = similarities(np.stack([thumbnail(image(kind, number)) for number, kind in enumerate(kinds)]))
    np.testing.assert_allclose(alike, alike.T)
    np.testing.assert_allclose(np.diag(alike), 1)
    same = np.array(kinds)[:, None] == np.array(kinds)
    others = ~np.eye(8, dtype=bool)
    assert alike[same & others].min() > alike[~same].max() + 0.1


def test_a_thumbnail_does_not_depend_on_how_a_file_is_stored():
    volume = image("solid", 1)
    geometry = volume.geometry
    turned = Volume(
        np.ascontiguousarray(volume.voxels[:, ::-1]),
        Geometry(
            geometry.shape,
            geometry.spacing,
            (0.0, (geometry.shape[1] - 1) * geometry.spacing[1], 0.0),
            (1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0),
        ),
    )
    np.testing.assert_allclose(thumbnail(turned), thumbnail(volume), atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 40, 40), (3, 200, 16), (16, 16, 16), (2, 2, 2)])
def test_any_volume_has_a_thumbnail(shape):
    rng = np.random.default_rng(0)
    geometry = Geometry(shape, (5.0, 0.5, 0.5), (0.0, 0.0, 0.0), IDENTITY)
    for voxels in (rng.normal(0, 1, shape), np.zeros(shape)):
        assert np.isfinite(thumbnail(Volume(voxels.astype(np.float32), geometry))).all()


def test_the_first_is_the_most_typical_and_the_next_covers_what_is_left():
    # Two groups, the larger one round index 0 and the smaller one round 4, and one case like no other.
    place = np.array([0.0, 0.3, -0.3, 0.5, 5.0, 5.2, 4.7, 20.0])
    alike = -np.abs(place[:, None] - place)
    order = coverage_order(alike)
    assert sorted(order) == list(range(8))
    assert order[0] in (0, 1, 2, 3) and order[1] in (4, 5, 6)
    assert coverage_order(alike, given=[0])[0] in (4, 5, 6)
    assert 0 not in coverage_order(alike, given=[0])


def test_the_order_of_many_cases_is_whole():
    place = np.random.default_rng(0).normal(size=300)
    order = coverage_order(-np.abs(place[:, None] - place))
    assert sorted(order) == list(range(300))
    assert abs(place[order[0]]) < 0.3


@pytest.fixture
def project(tmp_path):
    """Four cases of one kind and three of another, whose names come first."""
    project = Project.create(tmp_path / "project", parse_segments("1=thing"))
    for number in range(7):
        name = f"{'a' if number < 3 else 'b'}{number}"
        write_image(tmp_path / f"{name}.nii.gz", image("hollow" if number < 3 else "solid", number))
        project.add_case(name, tmp_path / f"{name}.nii.gz")
    return project


def quiet(done, total, text):
    pass


def test_a_project_is_told_which_to_annotate_first(project):
    assert kept_order(project.cache_dir) == []
    order = choose(project, quiet, lambda: False)
    assert sorted(order) == sorted(project.cases)
    assert order[0].startswith("b")
    assert any(name.startswith("a") for name in order[:2])
    assert kept_order(project.cache_dir) == order
    assert [case.name for case in ranked_cases(project)] == order

    geometry = project.image_geometry(order[0])
    mask = np.zeros(geometry.shape, np.uint8)
    mask[8:16, 8:16, 8:16] = 1
    project.set_annotation(order[0], Volume(mask, geometry), author="test", source="made up")
    again = choose(project, quiet, lambda: False)
    assert order[0] not in again and len(again) == 6


def test_images_are_read_once_and_again_when_they_change(project, tmp_path, monkeypatch):
    choose(project, quiet, lambda: False)
    read = []
    original = typical.thumbnail
    monkeypatch.setattr(typical, "thumbnail", lambda volume: read.append(volume) or original(volume))
    choose(project, quiet, lambda: False)
    assert read == []
    write_image(tmp_path / "b3.nii.gz", image("solid", 33, shape=(20, 30, 26)))
    choose(project, quiet, lambda: False)
    assert len(read) == 1


def test_an_image_that_cannot_be_read_comes_last(project, tmp_path):
    (tmp_path / "b4.nii.gz").write_bytes(b"nothing")
    (tmp_path / "b3.nii.gz").unlink()
    order = choose(project, quiet, lambda: False)
    assert sorted(order[-2:]) == ["b3", "b4"] and len(order) == 7


def test_it_can_be_stopped_and_a_damaged_file_says_nothing(project):
    assert choose(project, quiet, lambda: True) == []
    (project.cache_dir / "annotate-first.json").parent.mkdir(parents=True, exist_ok=True)
    for text in ("", "{", "3", '{"order": 1}'):
        (project.cache_dir / "annotate-first.json").write_text(text)
        assert [case.name for case in ranked_cases(project)] == sorted(project.cases)


def test_on_the_command_line(project, capsys):
    assert main(["suggest", str(project.path), "--json"]) == 0
    order = json.loads(capsys.readouterr().out.splitlines()[-1])["order"]
    assert len(order) == 7
    assert main(["suggest", str(project.path)]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in order[:4]) and order[5] not in said
    assert main(["status", str(project.path)]) == 0
    assert f'annotate "{order[0]}"' in capsys.readouterr().out
