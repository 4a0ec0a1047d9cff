"""The data set of the module's own: registered with Sample Data, and a project to try with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from small_study import make_images, make_project, open_project


def source(name: str) -> Any:
    import slicer

    return next(item for item in slicer.modules.sampleDataSources["SemiSAM+"] if item.sampleName == name)


@pytest.fixture
def documents(host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's documents, in an empty folder."""
    import slicer

    folder = tmp_path / "Dokumente von Ärzten"
    folder.mkdir()
    slicer.app.defaultScenePath = str(folder)
    return folder


@pytest.fixture
def answer_dialog(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Accept the next dialog for the folder, after ``change`` had a look at it."""
    from SemiSAMPlusLib.panels import sample_dialog

    seen: list[Any] = []

    def answer(change: Callable[[Any], None] = lambda dialog: None, accept: bool = True) -> list[Any]:
        def run(proposed: Path, parent: Any = None) -> Path | None:
            dialog = sample_dialog.SampleDialog(proposed, parent)
            seen.append(dialog)
            dialog.window.show()
            change(dialog)
            return dialog.folder() if accept else None

        monkeypatch.setattr("SemiSAMPlusLib.panels.project_panel.ask_for_folder", run)
        return seen

    return answer


def test_try_it_makes_a_project_in_which_learn_is_the_next_step(
    widget: Any,
    host: Any,
    click: Callable[[Any], None],
    screenshot: Callable[..., Path],
    documents: Path,
    answer_dialog: Callable[..., list[Any]],
) -> None:
    ui, controller = widget.ui, widget.controller
    seen = answer_dialog(lambda dialog: screenshot("try-it-dialog", dialog.window))
    click(ui.tryButton)
    assert seen[0].folder() == documents / "SemiSAM+ example"
    assert "Making up volumes" in ui.projectLabel.text and not ui.tryButton.enabled
    assert host.process_events(
        until=lambda: controller.session is not None and controller.session.state.value == "open", timeout=60
    )
    assert len(controller.session.cases) == 8 and controller.session.cases.annotated == 2
    assert str(documents) in ui.projectLabel.text and ui.tryButton.isHidden()
    assert ui.learnButton.enabled and ui.learnSummaryLabel.text.startswith("2 annotated and 6 other cases")
    controller.open_case("case01")
    host.process_events()
    host.application.window.show()
    host.process_events(until=lambda: False, timeout=0.5)
    screenshot("try-it")
    click(ui.learnButton)
    assert host.process_events(until=lambda: len(controller.session.jobs.training.history) > 0, timeout=120)
    click(ui.learnButton)
    assert host.process_events(until=lambda: not controller.session.jobs.training.active, timeout=60)
    assert controller.session.jobs.training.problem is None


def test_the_folder_for_it_must_be_new_or_empty(documents: Path, module: Any) -> None:
    import qt

    from SemiSAMPlusLib.panels.sample_dialog import SampleDialog

    dialog = SampleDialog(documents)
    ok = dialog._buttons.button(qt.QDialogButtonBox.Ok)
    assert dialog.problem.text == "" and ok.enabled
    (documents / "letter.txt").write_text("dear")
    for folder, words in ((documents / "letter.txt", "is not empty"), (documents, "is not empty"), ("x", "full path")):
        dialog.path.setCurrentPath(str(folder))
        assert words in dialog.problem.text and not ok.enabled
    dialog.path.setCurrentPath(str(documents / "new"))
    assert dialog.problem.text == "" and ok.enabled


def test_a_second_one_does_not_touch_the_first(documents: Path, module: Any) -> None:
    from SemiSAMPlusLib.sample_data import default_folder

    first = default_folder()
    first.mkdir()
    assert default_folder() == documents / "SemiSAM+ example 2"


def test_a_folder_that_cannot_be_written_is_told_in_words(
    widget: Any, host: Any, documents: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    widget.controller.make_sample_project(tmp_path / "file" / "project")
    assert host.process_events(until=lambda: not widget.ui.messageFrame.isHidden(), timeout=60)
    assert "Cannot make the project" in widget.ui.messageLabel.text
    assert widget.ui.projectLabel.text == "No project is open." and widget.ui.tryButton.enabled


def test_sample_data_opens_the_project_in_the_module(widget: Any, host: Any, documents: Path) -> None:
    chosen = source("SemiSAMPlusProject")
    assert Path(chosen.keywords["thumbnailFileName"]).is_file()
    chosen.keywords["customDownloader"](chosen)
    controller = widget.controller
    assert host.process_events(
        until=lambda: controller.session is not None and controller.session.state.value == "open", timeout=60
    )
    assert controller.session.project == documents / "SemiSAM+ example"


def test_sample_data_does_not_end_a_training_without_asking(
    widget: Any, host: Any, documents: Path, tmp_path: Path
) -> None:
    from SemiSAMPlusLib.training import TrainingState

    session = open_project(widget, host, make_project(tmp_path / "project", make_images(tmp_path / "images", 1)).path)
    session.jobs.training.go(TrainingState.STARTING)
    chosen = source("SemiSAMPlusProject")
    host.dialogs.answers.append(False)
    chosen.keywords["customDownloader"](chosen)
    assert len(host.dialogs.texts("confirmOkCancelDisplay")) == 1 and widget.controller.session is session


def test_sample_data_loads_a_volume_that_is_no_case(widget: Any, host: Any, documents: Path) -> None:
    import slicer

    chosen = source("SemiSAMPlusVolume")
    assert Path(chosen.keywords["thumbnailFileName"]).is_file()
    chosen.keywords["customDownloader"](chosen)
    assert host.process_events(
        until=lambda: slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), timeout=60
    )
    volume = slicer.util.getNode("SemiSAMPlusVolume")
    assert min(volume.GetImageData().GetDimensions()) > 15
    assert widget.controller.session is None


def test_closing_the_module_stops_what_is_being_made(widget: Any, host: Any, documents: Path) -> None:
    widget.controller.make_sample_project(documents / "one")
    widget.controller.close_project()
    assert not widget.controller._sample_maker.busy and widget.ui.projectLabel.text == "No project is open."
    host.process_events(until=lambda: False, timeout=3)
    assert widget.controller.session is None
