"""project.json: strict reading, migration, and words for what is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semisam.errors import ProjectError
from semisam.project import Project, State
from semisam.project import schema as project_schema
from semisam.project.schema import migrate
from small_project import make_mask, make_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_project(tmp_path)
    project.set_annotation("a", make_mask(5), author="Ada", source="drawn")
    project.set_proposal("b", make_mask(6), model="m", confidence=0.5)
    return project


def edit(project: Project, change: Callable[[dict[str, Any]], object]) -> None:
    path = project.path / "project.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize(
    "change, complaint",
    [
        (lambda d: d.pop("schema"), "no schema version"),
        (lambda d: d.update(schema="1"), "no schema version"),
        (lambda d: d.update(schema=0), "schema version 0 is not known"),
        (lambda d: d.update(schema=99), "newer version of this program.*schema 99.*install"),
        (lambda d: d.pop("segments"), 'lacks the entry "segments"'),
        (lambda d: d.update(segments=[]), "at least one segment"),
        (lambda d: d.update(segments=[{"value": 1}]), "a segment has not the form"),
        (lambda d: d["segments"][1].update(value=1), "same value"),
        (lambda d: d.update(cases=[]), '"cases" is not a JSON object'),
        (lambda d: d.update(revision=-1), '"revision".*not a whole number'),
        (lambda d: d.update(images_copied=1), '"images_copied".*not true or false'),
        (lambda d: d.update(extra=1), 'unknown entry "extra"'),
        (lambda d: d["cases"].update({"../x": d["cases"]["c"]}), "cannot be the name of a case"),
        (lambda d: d["cases"].update({"A": d["cases"]["c"]}), "differ only in their capitals"),
        (lambda d: d["cases"]["a"].update(state="done"), 'unknown state "done".*known: new, in work'),
        (lambda d: d["cases"]["a"].update(state="new"), 'the case "a" is "new", which does not fit'),
        (lambda d: d["cases"]["b"].update(state="rejected"), 'the case "b" is "rejected", which does not fit'),
        (lambda d: d["cases"]["a"].update(anotation=None), 'the case "a" has the unknown entry "anotation"'),
        (lambda d: d["cases"]["a"].pop("image"), 'the case "a" lacks the entry "image"'),
        (lambda d: d["cases"]["a"].update(image=""), '"image" of the case "a" is not a text'),
        (lambda d: d["cases"]["a"].update(confidence=2), '"confidence" of the case "a"'),
        (lambda d: d["cases"]["a"]["annotation"].update(path="/etc/passwd"), "does not lie in"),
        (lambda d: d["cases"]["a"]["annotation"].update(path="annotations/../../x"), "does not lie in"),
        (lambda d: d["cases"]["a"]["annotation"].update(revision="2"), '"revision" of the annotation of the case "a"'),
        (lambda d: d["cases"]["a"].update(annotation=3), 'the annotation of the case "a" is not a JSON object'),
    ],
)
def test_a_document_edited_badly_is_told_in_words(
    project: Project, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    edit(project, change)
    with pytest.raises(ProjectError, match=complaint) as caught:
        Project.open(project.path)
    assert "project.json" in str(caught.value) and "To repair it" in str(caught.value)
    with pytest.raises(ProjectError, match=complaint):
        project.set_annotation("c", make_mask(1), author="Ada", source="drawn")


@pytest.mark.parametrize(
    "content, complaint",
    [
        (b"", "no valid JSON at line 1"),
        (b'{"schema": 1,\n "revision": }', "no valid JSON at line 2, column 14"),
        (b"[]", "is not a JSON object"),
        (b"\xff\xfe\x00", "no UTF-8 text"),
        (b'{"schema": NaN}', "NaN, which is no number"),
        (b'{"schema": 1, "schema": 1}', 'the entry "schema" appears twice'),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_damaged_file_is_told_in_words(project: Project, content: bytes, complaint: str) -> None:
    (project.path / "project.json").write_bytes(content)
    with pytest.raises(ProjectError, match=complaint):
        Project.open(project.path)


def test_the_document_before_the_last_change_is_there_for_a_repair(project: Project) -> None:
    before = (project.path / "project.json").read_bytes()
    project.set_annotation("c", make_mask(1), author="Ada", source="drawn")
    assert (project.path / "project.previous.json").read_bytes() == before
    (project.path / "project.json").write_bytes(b"{")
    with pytest.raises(ProjectError, match="project.previous.json"):
        project.reload()
    (project.path / "project.json").unlink()
    with pytest.raises(ProjectError, match="rename.*project.previous.json"):
        Project.open(project.path)


def test_a_byte_order_mark_of_a_windows_editor_does_no_harm(project: Project) -> None:
    path = project.path / "project.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Project.open(project.path).training_cases() == ["a"]


def from_schema_minus_1(document: dict[str, Any]) -> dict[str, Any]:
    """A made-up old version, which called the segments labels and had none of the counts."""
    document["segments"] = document.pop("labels")
    return document


def from_schema_0(document: dict[str, Any]) -> dict[str, Any]:
    for case in document["cases"].values():
        case["annotation_count"] = case["annotation"]["revision"] if case["annotation"] else 0
        case["proposal_count"] = case["proposal"]["revision"] if case["proposal"] else 0
    return document


def make_old(document: dict[str, Any]) -> None:
    document["schema"] = -1
    document["labels"] = document.pop("segments")
    for case in document["cases"].values():
        del case["annotation_count"], case["proposal_count"]


def test_an_older_document_is_read_and_written_anew_at_the_next_change(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(project, make_old)
    old = (project.path / "project.json").read_bytes()
    monkeypatch.setitem(project_schema.MIGRATIONS, -1, from_schema_minus_1)
    monkeypatch.setitem(project_schema.MIGRATIONS, 0, from_schema_0)
    opened = Project.open(project.path)
    assert opened.case("a").state is State.ANNOTATED and opened.case("a").annotation_count == 1
    assert (project.path / "project.json").read_bytes() == old, "looking at a project does not change it"
    opened.set_annotation("c", make_mask(1), author="Ada", source="drawn")
    assert json.loads((project.path / "project.json").read_text(encoding="utf-8"))["schema"] == 1
    assert (project.path / "project.schema--1.json").read_bytes() == old
    assert Project.open(project.path).training_cases() == ["a", "c"]


def test_migration_goes_step_by_step_and_leaves_its_input_alone() -> None:
    steps = {1: lambda d: {**d, "one": True}, 2: lambda d: {**d, "two": d["one"]}}
    document = {"schema": 1}
    assert migrate(document, 3, steps) == {"schema": 3, "one": True, "two": True}
    assert document == {"schema": 1}
    with pytest.raises(ProjectError, match="schema version 1 is not known"):
        migrate({"schema": 1}, 3, {2: steps[2]})
