"""Model files: what is written comes back, and nothing damaged, hostile or newer is taken for a model."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from semisam.errors import ModelError, UsageError
from semisam.model_card import Card
from semisam.model_file import ModelFile, is_whole_safetensors, read_model, write_model
from semisam.segments import Segment
from semisam.specialists.plan import Plan

NAMES = ("manifest.json", "card.json", "card.txt", "plan.json", "segments.json", "weights.safetensors")


def safetensors(values: bytes = bytes(range(8))) -> bytes:
    """One tensor of two float32."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, len(values)]}}).encode()
    return struct.pack("<Q", len(header)) + header + values


def make_model() -> ModelFile:
    plan = Plan(
        segments=("head", "tail"),
        modality="CT",
        working_spacing=(1.5, 1.0, 1.0),
        patch=(32, 32, 32),
        channels=(4, 8, 16),
        strides=((2, 2, 2), (1, 2, 2)),
        intensity={"mean": 40.0, "std": 12.0, "low": -100.0, "high": 300.0},
        device="cpu",
        bfloat16=False,
        threads=2,
        memory_mb=4000,
    )
    segments = (Segment(1, "head", (200, 10, 10), "SCT^1^Liver"), Segment(3, "tail", (10, 200, 10)))
    card = Card("Liver", ("head", "tail"), 2, 7, licence="CC BY 4.0", confidence=0.9, trained="2026-11-23T10:00:00")
    return ModelFile(card, plan, segments, (True, False), safetensors())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "liver.semisam"
    write_model(written, make_model())
    return written


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, contents: dict[str, bytes], *, honest: bool = True, compression: int = zipfile.ZIP_STORED) -> None:
    """Write entries, with a manifest that says what is in them: whoever makes a hostile file can do that, too."""
    if honest:
        manifest = json.loads(contents["manifest.json"])
        manifest["files"] = {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
            if name != "manifest.json"
        }
        contents = {**contents, "manifest.json": json.dumps(manifest).encode()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def refused(path: Path) -> str:
    """The sentence of the refusal, which names the file."""
    with pytest.raises(ModelError) as caught:
        read_model(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_is_written_comes_back_and_the_same_model_makes_the_same_file(path: Path, tmp_path: Path) -> None:
    assert read_model(path) == make_model()
    again = tmp_path / "again.semisam"
    write_model(again, make_model())
    assert again.read_bytes() == path.read_bytes()
    assert tuple(entries(path)) == NAMES
    text = entries(path)["card.txt"].decode()
    assert "2 annotated and 7 unannotated cases" in text and "CC BY 4.0" in text


def test_one_case_is_not_many() -> None:
    estimate = {"confidence": 0.9, "lowest_confidence": 0.8, "highest_confidence": 1.0}
    card = replace(make_model().card, annotated_cases=1, other_cases=None, rounds=1, proposals=1, **estimate)
    text = card.in_words()
    assert "Learned from 1 annotated case in 1 round (" in text and "on 1 case without annotation" in text
    assert "1 annotated case, trained" in card.as_origin()
    assert "1 annotated and 1 unannotated case in" in replace(card, other_cases=1).in_words()


def test_another_ending_and_a_place_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.semisam"):
        write_model(tmp_path / "liver.zip", make_model())
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="Cannot write"):
        write_model(tmp_path / "file" / "liver.semisam", make_model())


def test_a_failed_write_leaves_the_older_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(ModelError, match="no space left"):
        write_model(path, make_model())
    assert path.read_bytes() == before
    assert [other.name for other in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["a\nb", "x" * 201, " ", "\ud800"])
def test_names_that_could_not_be_read_again_are_not_written(tmp_path: Path, name: str) -> None:
    model = make_model()
    segments = (replace(model.segments[0], name=name), model.segments[1])
    plan = replace(model.plan, segments=(name, "tail"))
    with pytest.raises(UsageError, match="names of its segments"):
        write_model(tmp_path / "m.semisam", replace(model, segments=segments, plan=plan))
    assert not list(tmp_path.iterdir())


def test_texts_that_are_too_long_and_damaged_weights_are_not_written(tmp_path: Path) -> None:
    model = make_model()
    for text in ("title", "description", "licence"):
        with pytest.raises(UsageError, match="shorten"):
            write_model(tmp_path / "m.semisam", replace(model, card=replace(model.card, **{text: "x" * 4001})))
    with pytest.raises(ModelError, match="damaged"):
        write_model(tmp_path / "m.semisam", replace(model, weights=model.weights[:-1]))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_cut_anywhere_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        refused(path)


def test_a_changed_byte_anywhere_is_refused_or_changes_nothing(path: Path) -> None:
    content, model = path.read_bytes(), make_model()
    for place in range(0, len(content), 11):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            assert read_model(path) == model, place
        except ModelError as error:
            assert str(path) in str(error)


def test_missing_files_folders_and_other_files_are_told_apart(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.semisam")
    assert "does not exist" in refused(tmp_path)
    other = tmp_path / "other.semisam"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("holiday.jpg", b"...")
    assert "no model file" in refused(other)
    other.write_bytes(pickle.dumps({"weights": 1}))
    assert "damaged" in refused(other)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "C:\\x.json", "weights.pkl", "__init__.py", "a/"])
def test_entries_that_do_not_belong_there_are_refused_and_nothing_is_unpacked(path: Path, name: str) -> None:
    pack(path, {**entries(path), name: pickle.dumps(print)})
    before = sorted(path.parent.rglob("*"))
    assert "does not belong" in refused(path)
    assert sorted(path.parent.rglob("*")) == before


def test_a_pickle_in_the_place_of_the_weights_is_refused(path: Path) -> None:
    pack(path, {**entries(path), "weights.safetensors": pickle.dumps({"a": 1})})
    assert "no safetensors" in refused(path)


def test_compressed_and_huge_entries_are_refused_unread(path: Path) -> None:
    contents = entries(path)
    pack(path, {**contents, "card.txt": bytes(50 << 20)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert "another program" in refused(path)
    pack(path, {**contents, "card.txt": bytes(2 << 20)})
    assert "too large" in refused(path)


def test_missing_and_doubled_entries_are_refused(path: Path) -> None:
    contents = entries(path)
    pack(path, {name: content for name, content in contents.items() if name != "plan.json"})
    assert "missing or doubled" in refused(path)
    pack(path, contents)
    with pytest.warns(UserWarning), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("plan.json", contents["plan.json"])
    assert "missing or doubled" in refused(path)


def test_an_entry_that_is_not_what_was_written_is_refused(path: Path) -> None:
    card = entries(path)["card.json"].replace(b"CC BY 4.0", b"CC0------")
    pack(path, {**entries(path), "card.json": card}, honest=False)
    assert "card.json is not what was written" in refused(path)


def test_a_file_of_a_newer_version_says_so(path: Path) -> None:
    contents = entries(path)
    manifest = {**json.loads(contents["manifest.json"]), "schema": 2, "engine": "9.0"}
    pack(path, {**contents, "manifest.json": json.dumps(manifest).encode(), "more.json": b"{}"})
    assert "newer version" in refused(path) and "9.0" in refused(path)


def change(name: str, key: str, value: Any) -> Callable[[dict[str, bytes]], None]:
    def apply(contents: dict[str, bytes]) -> None:
        data = json.loads(contents[name])
        (data[0] if isinstance(data, list) else data)[key] = value
        contents[name] = json.dumps(data).encode()

    return apply


@pytest.mark.parametrize(
    "apply",
    [
        change("plan.json", "segments", ["head", "body"]),
        change("plan.json", "channels", [4, 10**9, 16]),
        change("plan.json", "channels", [4] * 1000),
        change("plan.json", "channels", "4,8"),
        change("plan.json", "strides", [[2, 2, 2], [0, 1, 1]]),
        change("plan.json", "strides", [[2, 2, 2]]),
        change("plan.json", "patch", [4096, 4096, 4096]),
        change("plan.json", "patch", [31, 32, 32]),
        change("plan.json", "working_spacing", [0, 1, 1]),
        change("plan.json", "intensity", {"mean": 0, "std": 0, "low": 0, "high": 1}),
        change("plan.json", "intensity", [1, 2, 3]),
        change("plan.json", "refresh_every", 0),
        change("plan.json", "mirror", "yes"),
        change("plan.json", "learning_rate", "fast"),
        change("plan.json", "device", 7),
        change("plan.json", "schema", 99),
        change("plan.json", "network", "transformer"),
        change("plan.json", "network", ["unet"]),
        change("plan.json", "extra", 1),
        change("segments.json", "value", 0),
        change("segments.json", "color", [1, 2, 300]),
        change("segments.json", "name", "he\x1bad"),
        change("segments.json", "single_component", 1),
        change("segments.json", "terminology", "a\x1bb"),
        change("segments.json", "former_names", ["Doe"]),
        change("card.json", "annotated_cases", "many"),
        change("card.json", "title", 5),
        change("card.json", "surprise", "x"),
        lambda contents: contents.update({"plan.json": b"[" * 100_000}),
        lambda contents: contents.update({"plan.json": b'{"patch": NaN}'}),
        lambda contents: contents.update({"segments.json": b"[]"}),
        lambda contents: contents.update({"card.json": b"\xff\xfe"}),
        lambda contents: contents.update({"weights.safetensors": safetensors()[:-1]}),
    ],
)
def test_values_that_make_no_sense_are_refused(path: Path, apply: Callable[[dict[str, bytes]], None]) -> None:
    contents = entries(path)
    apply(contents)
    pack(path, contents)
    assert "damaged" in refused(path)


def test_the_words_of_a_card_cannot_steer_a_terminal(path: Path) -> None:
    contents = entries(path)
    change("card.json", "licence", "free\x1b[2J\x07")(contents)
    pack(path, contents)
    assert "\x1b" not in read_model(path).card.in_words()


def test_a_header_of_safetensors_promises_the_bytes_that_follow() -> None:
    whole = safetensors()
    assert is_whole_safetensors(whole)
    for content in (b"", whole[:4], whole[:-1], whole + b"x", struct.pack("<Q", 1 << 60) + whole, bytes(64)):
        assert not is_whole_safetensors(content)
