"""What is chosen under "Advanced" is what the engine is asked for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from semisam.generalists import weights
from small_study import make_images, make_project, open_project


def test_every_choice_reaches_the_engine(widget: Any) -> None:
    ui = widget.ui
    ui.minutesBox.value = 2.5
    ui.frameworkBox.setCurrentText("ua-mt")
    ui.networkBox.setCurrentText("vnet")
    ui.spacingBox.value = 1.25
    ui.deviceBox.setCurrentText("cpu")
    options = widget.controller.training_options()
    assert (options.minutes, options.framework, options.network, options.spacing, options.device) == (
        2.5,
        "ua-mt",
        "vnet",
        1.25,
        "cpu",
    )


def test_the_list_of_generalists_follows_the_scene(widget: Any, host: Any, tmp_path: Path) -> None:
    import qt
    import slicer

    session = open_project(widget, host, make_project(tmp_path / "project", make_images(tmp_path / "images", 1)).path)
    assert host.process_events(until=lambda: session.generalists.known, timeout=30)

    def checked() -> set[str]:
        names = [info.name for info in session.generalists.known if info.at_hand]
        return {name for name in names if item_of(widget, name).checkState() == qt.Qt.Checked}

    everything = checked()
    widget._parameterNode.generalists = ["nano"]
    assert checked() == {"nano"} < everything
    slicer.mrmlScene.Clear(0)
    host.process_events()
    assert widget.controller.training_options().generalist == "auto" and checked() == everything


def test_unless_chosen_the_working_spacing_comes_from_the_data(widget: Any) -> None:
    assert widget.ui.spacingBox.text == "chosen from the data"
    assert widget.controller.training_options().spacing == 0.0


def test_a_spacing_that_makes_no_sense_is_told_with_the_remedy(
    widget: Any, host: Any, click: Callable[[Any], None], tmp_path: Path
) -> None:
    project = make_project(tmp_path / "project", make_images(tmp_path / "images", 3), annotated=1)
    session = open_project(widget, host, project.path)
    widget.ui.deviceBox.setCurrentText("cpu")
    widget.ui.spacingBox.value = 20.0
    click(widget.ui.learnButton)
    assert host.process_events(until=lambda: not session.jobs.training.active, timeout=120)
    text = widget.ui.learnStatusLabel.text
    assert text.startswith("At a working spacing of 20 mm") and "choose at most" in text


# Generalists ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def session(widget: Any, host: Any, weights_folder: Path, tmp_path: Path) -> Any:
    """A project, on a computer where no weights have been imported yet; the engine has described its generalists."""
    widget.ui.advancedSection.collapsed = False
    project = make_project(tmp_path / "project", make_images(tmp_path / "images", 1))
    opened = open_project(widget, host, project.path)
    folders: list[str] = []
    opened.client.request("generalists", on_done=lambda answer: folders.append(answer["folder"]))
    assert host.process_events(until=lambda: folders and item_of(widget, "sam-med3d"), timeout=60)
    assert folders == [str(weights_folder)]  # before anything is imported: not that of this computer's user
    yield opened
    widget.ui.advancedSection.collapsed = True
    shutil.rmtree(weights_folder, ignore_errors=True)


def item_of(widget: Any, name: str) -> Any:
    import qt

    shown = widget.ui.generalistsList
    items = [shown.item(row) for row in range(shown.count)]
    return next((item for item in items if item.data(qt.Qt.UserRole) == name), None)


def states(widget: Any) -> dict[str, bool | None]:
    """Whether each generalist of the list is checked; None for those that cannot be."""
    import qt

    shown, found = widget.ui.generalistsList, {}
    for item in (shown.item(row) for row in range(shown.count)):
        checkable = item.flags() & qt.Qt.ItemIsUserCheckable
        found[item.data(qt.Qt.UserRole)] = item.checkState() == qt.Qt.Checked if checkable else None
    return found


def offered_for_prompts(widget: Any) -> list[str]:
    box = widget.ui.promptGeneralistBox
    return [box.itemData(row) for row in range(box.count)]


def select(widget: Any, name: str) -> None:
    widget.ui.generalistsList.setCurrentItem(item_of(widget, name))


def choose(monkeypatch: pytest.MonkeyPatch, file: Path | str) -> None:
    """What the user answers to the file dialog."""
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", staticmethod(lambda *arguments: str(file)))


def wait_for_the_import(widget: Any, host: Any) -> None:
    assert host.process_events(until=lambda: widget.ui.addWeightsButton.enabled, timeout=240)
    assert not widget.ui.weightsBar.visible


BUILT_IN = ["nano", "registration", "random-walker", "grow-cut"]


def test_all_generalists_are_listed_and_a_missing_one_says_how_to_get_it(
    widget: Any, session: Any, screenshot: Callable[..., Path]
) -> None:
    found = states(widget)
    assert list(found)[: len(BUILT_IN)] == BUILT_IN and {"sam-med3d", "seganypet", "medsam"} <= set(found)
    assert all(found[name] is True for name in BUILT_IN) and found["sam-med3d"] is None
    missing, here = item_of(widget, "sam-med3d"), item_of(widget, "nano")
    assert "blueyo0/SAM-Med3D" in missing.toolTip() and "Licence: Apache-2.0" in missing.toolTip()
    assert "left atrium" in missing.toolTip() and "not at hand" in missing.text()
    assert missing.foreground().color() != here.foreground().color()
    assert here.text() == "nano" and "not on this computer" not in here.toolTip()
    assert offered_for_prompts(widget) == BUILT_IN
    screenshot("generalists", widget.parent)


def test_only_those_at_hand_can_be_chosen(widget: Any, session: Any) -> None:
    import qt

    item_of(widget, "nano").setCheckState(qt.Qt.Unchecked)
    assert list(widget._parameterNode.generalists) == BUILT_IN[1:]
    assert widget.controller.training_options().generalist == "registration,random-walker,grow-cut"
    item_of(widget, "nano").setCheckState(qt.Qt.Checked)
    assert list(widget._parameterNode.generalists) == []


def test_the_button_is_for_a_generalist_that_takes_weights(widget: Any, session: Any) -> None:
    button = widget.ui.addWeightsButton
    assert not button.enabled and button.toolTip.endswith("Select a generalist in the list first")
    select(widget, "nano")
    assert not button.enabled and "nano needs no weights" in button.toolTip
    select(widget, "seganypet")
    assert button.enabled and "\n" not in button.toolTip


def test_nothing_is_imported_without_a_file_or_without_accepting_the_licence(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    select(widget, "seganypet")
    choose(monkeypatch, "")
    click(widget.ui.addWeightsButton)
    assert not host.dialogs.shown
    choose(monkeypatch, tmp_path / "checkpoint.pth")
    host.dialogs.answers.append(False)
    click(widget.ui.addWeightsButton)
    (question,) = host.dialogs.texts("confirmOkCancelDisplay")
    assert "Licence: not stated by its publisher: ask before use" in question and "checkpoint.pth" in question
    assert widget.ui.addWeightsButton.enabled and not widget.ui.weightsLabel.text
    assert not session.jobs.training.active and not weights.folder().exists()


def test_a_wrong_file_is_told_and_changes_nothing(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ui, before = widget.ui, states(widget)
    page, other = tmp_path / "sam_med3d.pth", tmp_path / "sam_vit_b.safetensors"
    page.write_text("<html>Log in to download</html>")
    save_file({"image_encoder.pos_embed": np.zeros((1, 64, 64, 768), np.float32)}, other)
    for file, reason in ((page, "not a PyTorch checkpoint"), (other, 'is not a file for "sam-med3d"')):
        select(widget, "sam-med3d")
        choose(monkeypatch, file)
        host.dialogs.answers.append(True)
        click(ui.addWeightsButton)
        assert "being checked" in ui.weightsLabel.text and "wait" in ui.addWeightsButton.toolTip
        wait_for_the_import(widget, host)
        assert str(file) in ui.messageLabel.text and reason in ui.messageLabel.text
        assert ui.weightsLabel.text == "Nothing was imported."
        assert states(widget) == before and offered_for_prompts(widget) == BUILT_IN
    assert not weights.folder().exists()


@pytest.mark.slow
def test_imported_weights_are_at_hand_at_once(
    widget: Any,
    session: Any,
    host: Any,
    click: Callable[[Any], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    screenshot: Callable[..., Path],
) -> None:
    ui, file = widget.ui, tmp_path / "sam_med3d.safetensors"
    subprocess.run([sys.executable, Path(__file__).with_name("weights_by_formula.py"), file], check=True)
    process = session.client.hello.pid
    select(widget, "sam-med3d")
    choose(monkeypatch, file)
    host.dialogs.answers.append(True)
    click(ui.addWeightsButton)
    wait_for_the_import(widget, host)
    assert ui.weightsLabel.text.startswith("sam-med3d is at hand now: SAM-Med3D, ViT-B"), ui.messageLabel.text
    assert host.process_events(until=lambda: "sam-med3d" in offered_for_prompts(widget), timeout=60)
    assert states(widget)["sam-med3d"] is True and item_of(widget, "sam-med3d").text() == "sam-med3d"
    assert session.client.hello.pid == process and widget.controller.training_options().generalist == "auto"
    assert weights.find("sam-med3d").source == file.name
    screenshot("imported", widget.parent)
    # Once more: the question names what would be replaced.
    host.dialogs.answers.append(False)
    click(ui.addWeightsButton)
    assert "replaces what was imported from sam_med3d.safetensors" in host.dialogs.texts("confirmOkCancelDisplay")[-1]


def test_a_licence_that_must_be_accepted_is_shown_and_its_acceptance_kept(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ui, model = widget.ui, tmp_path / "nnInteractive_v1.0"
    program = "import sys, pathlib, nninteractive_folder as f; f.write_folder(pathlib.Path(sys.argv[1]))"
    engine_tests = Path(__file__).parents[1] / "engine"
    subprocess.run([sys.executable, "-c", program, model], cwd=engine_tests, check=True)
    select(widget, "nninteractive")
    choose(monkeypatch, model / "fold_0" / "checkpoint_final.pth")
    for answer in (False, True):
        host.dialogs.answers.append(answer)
        click(ui.addWeightsButton)
        assert "Licence: CC BY-NC-SA 4.0, no commercial use" in host.dialogs.texts("confirmOkCancelDisplay")[-1]
        assert answer or not weights.folder().exists()
    wait_for_the_import(widget, host)
    assert ui.messageLabel.text == "" and weights.find("nninteractive").accepted
    assert "nninteractive" in ui.weightsLabel.text and "Nothing was imported" not in ui.weightsLabel.text
