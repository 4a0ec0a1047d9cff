"""The report: one page, complete, without anything from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from conftest import Study
from semisam.project import Project
from semisam.report.figures import learning_curves
from semisam.report.report import make_report
from semisam.volumes import Volume

_VOID = {"meta", "input", "image", "path", "rect", "use", "circle", "line"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects classes and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.classes: list[str] = []
        self.links: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.classes += (values.get("class") or "").split()
        self.links += [value for key, value in attrs if key in ("href", "src", "xlink:href") and value]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self.open.pop() == tag


def write_history(project: Project, lines: int = 20) -> None:
    history = [
        {
            "seconds": 3.0 * n,
            "step": 10 * n,
            "round": 0,
            "phase": "supervised" if n < 5 else "semi-supervised",
            "learning_rate": 0.002,
            "loss": 2.0 / (n + 1),
            "loss_supervised": 1.5 / (n + 1),
            **({"trust": {"nano": {"head": 0.3, "tail": 0.0}}, "pseudo_label_agreement": 0.7} if n >= 5 else {}),
        }
        for n in range(1, lines)
    ]
    text = "\n".join(json.dumps(line) for line in history)
    (project.log_dir / "history.jsonl").write_text(text + "\n{cut sho")


@pytest.fixture
def page_of(proposed: Study, tmp_path: Path):
    def make(reference: bool) -> str:
        project = Project.open(proposed.project)
        write_history(project)
        output = tmp_path / "deep" / "report.html"
        make_report(project, output, reference=proposed.labels if reference else None)
        return output.read_text("utf-8")

    return make


def test_the_page_is_self_contained_and_well_formed(page_of):
    text = page_of(reference=True)
    page = Page(text)
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert not re.search(r"url\((?!#)", text)
    assert "currentColor" in text


def test_every_case_has_three_slices_with_outlines(page_of):
    page = Page(page_of(reference=False))
    assert page.classes.count("slice") == 3 * 4
    assert page.classes.count("case") == 4
    assert {"annotation", "proposal", "uncertainty"} <= set(page.classes)
    assert "reference" not in page.classes


def test_the_least_sure_case_comes_first(page_of):
    text = page_of(reference=False)
    names = re.findall(r'data-rank="\d+" data-name="(\w+)"', text)
    assert names == ["case4", "case3", "case1", "case2"]


def test_references_show_how_good_proposals_are(page_of):
    text = page_of(reference=True)
    assert "Proposals against the reference" in text
    assert "Dice 1.000" in text
    assert "true Dice" in text


def test_an_annotated_case_is_shown_with_the_volumes_of_its_annotation(proposed: Study, tmp_path: Path):
    project = Project.open(proposed.project)
    mask = project.proposal("case3")
    mask = Volume((mask.voxels == 1).astype("uint8"), mask.geometry)
    project.set_annotation("case3", mask, author="tester", source="drawn")
    make_report(project, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    case = text.partition('data-name="case3"')[2].partition("</article>")[0]
    assert "tail</td><td>0.00 ml" in case and "confidence</span>" not in case
    assert "median of the proposals, lowest 0.70" in text


def test_a_project_without_training_has_a_page_too(study: Study):
    project = study.make_project()
    make_report(project, study.folder / "report.html")
    text = (study.folder / "report.html").read_text("utf-8")
    Page(text)
    assert "Learning" not in text
    assert "2 new, 2 annotated" in text


def test_names_cannot_break_the_page(tmp_path, study: Study):
    (study.images / "case4.nii.gz").rename(study.images / "a&b'c.nii.gz")
    project = study.make_project()
    make_report(project, study.folder / "report.html")
    text = (study.folder / "report.html").read_text("utf-8")
    Page(text)
    assert "a&amp;b&#x27;c" in text


def test_a_case_that_cannot_be_read_is_shown_with_the_reason(proposed: Study):
    (proposed.images / "case3.nii.gz").unlink()
    project = Project.open(proposed.project)
    make_report(project, proposed.folder / "report.html")
    text = (proposed.folder / "report.html").read_text("utf-8")
    assert Page(text).classes.count("problem") == 1
    assert "case3.nii.gz" in text


def test_many_segments_have_one_curve_for_each_generalist():
    few, many = ["liver", "spleen"], [f"organ{number}" for number in range(30)]
    for segments, curves in ((few, 4), (many, 2)):
        trust = {name: {segment: 0.5 for segment in segments} for name in ("nano", "registration")}
        history = [{"seconds": 10.0 * step, "loss": 1.0, "trust": trust} for step in range(3)]
        page = learning_curves(history)
        assert page.count("nano, ") == curves / 2 and page.count("registration, ") == curves / 2
        assert ("mean of 30 segments" in page) == (segments is many)


def test_names_of_segments_are_no_formulas_in_the_curves():
    trust = {"nano": {"$\\broken{$": 0.5, "a$_b$": 0.4, "<&": 0.3}}
    page = learning_curves([{"seconds": 10.0 * step, "loss": 1.0, "trust": trust} for step in range(3)])
    assert "nano, $\\broken{$" in page and "nano, a$_b$" in page and "nano, &lt;&amp;" in page
