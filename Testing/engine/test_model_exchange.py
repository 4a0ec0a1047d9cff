"""A trained model goes from one project to another: it predicts at once, training goes on from it, nothing is lost."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import Study, make_study
from semisam.cli import main
from semisam.errors import LockError, ModelError, ProjectError, TrainingError, UsageError
from semisam.files.volume_files import read_mask
from semisam.learning.checkpoints import load_specialist
from semisam.model_exchange import export_model, import_model, keep_model
from semisam.model_file import read_model, write_model
from semisam.predict import Specialist, propose, segment
from semisam.project import Project
from semisam.project.lock import TrainingLock
from semisam.segments import parse_segments
from semisam.specialists.hardware import Hardware
from test_start_up import run as run_in_process
from test_training import run, small_plan, weights
from worker_client import WorkerClient


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = make_study(tmp_path_factory.mktemp("trained") / "patient Doe")
    project = study.make_project()
    small_plan(project)
    run(project, steps=40, generalist="none")
    return study


@pytest.fixture
def trained(trained_once: Study, tmp_path: Path) -> Study:
    """A study with a trained project, which the test may spoil."""
    shutil.copytree(trained_once.folder, tmp_path / "patient Doe")
    return Study(tmp_path / "patient Doe")


@pytest.fixture
def file(trained: Study, tmp_path: Path) -> Path:
    path = tmp_path / "model.semisam"
    export_model(Project.open(trained.project), path, licence="CC BY 4.0")
    return path


@pytest.fixture
def untrained(tmp_path: Path) -> Iterator[Study]:
    study = make_study(tmp_path / "other")
    study.make_project(())
    yield study


def masks(project: Path, images: list[Path], folder: Path) -> list[np.ndarray]:
    opened = Project.open(project)
    results, problems = segment(opened, images, folder, lambda event: None, "cpu")
    assert not problems
    return [read_mask(result["mask"], opened.segments).voxels for result in results]


def test_a_colleague_without_any_data_segments_as_the_owner_does(trained: Study, file: Path, tmp_path: Path) -> None:
    imported = import_model(tmp_path / "new", file)
    assert imported.created and imported.kept is None
    images = [trained.images / "case3.nii.gz", trained.images / "case4.nii.gz"]
    ours, theirs = masks(trained.project, images, tmp_path / "a"), masks(tmp_path / "new", images, tmp_path / "b")
    assert all(np.array_equal(one, two) and one.any() for one, two in zip(ours, theirs, strict=True))
    assert Project.open(tmp_path / "new").segments == trained.segments


def test_a_model_makes_no_project_among_other_files(trained: Study, file: Path) -> None:
    before = sorted(trained.images.iterdir())
    with pytest.raises(ProjectError, match="holds something already"):
        import_model(trained.images, file)
    assert sorted(trained.images.iterdir()) == before


def test_the_card_counts_and_never_names(trained: Study, file: Path) -> None:
    card = read_model(file).card
    assert (card.annotated_cases, card.other_cases, card.rounds, card.steps) == (2, 2, 1, 40)
    assert card.proposals == 2 and card.confidence is not None and 0 <= card.confidence <= 1
    assert card.framework and card.trained and card.exported and card.engine and card.licence == "CC BY 4.0"
    content = file.read_bytes()
    for secret in (b"case1", b"case2", b"Doe", str(trained.folder).encode(), b"nii.gz"):
        assert secret not in content


def test_proposals_come_at_once_and_training_goes_on_from_the_model(
    file: Path, untrained: Study, tmp_path: Path
) -> None:
    import_model(untrained.project, file)
    project = Project.open(untrained.project)
    assert propose(project, lambda event: None, lambda: False, "cpu") == 4
    before = load_specialist(project.models_dir)[0]
    project.set_annotation(
        "case1", read_mask(untrained.labels / "case1.nii.gz", untrained.segments), author="t", source="t"
    )
    summary, events = run(project, steps=1, generalist="none")
    said = [event["text"] for event in events if event["event"] == "log"]
    assert any("Round 1 is finished: starting round 2 from its result." in text for text in said)
    assert summary["round"] == 1
    after = load_specialist(project.models_dir)[0]
    # One step of a slow average away from where it was, and not anew.
    change = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert 0 < change < 1e-3
    card = export_model(Project.open(untrained.project), tmp_path / "next.semisam").card
    assert card.origin.startswith("head and tail, 2 annotated cases") and card.annotated_cases == 1


def test_segments_that_were_renamed_after_training_go_out_under_their_new_names(trained: Study, tmp_path: Path) -> None:
    project = Project.open(trained.project)
    first, second = project.segments
    project.change_segments([replace(first, name="body", terminology="SCT^1^Body"), second])
    export_model(project, tmp_path / "m.semisam")
    model = read_model(tmp_path / "m.semisam")
    assert model.plan.segments == ("body", "tail") and model.segments[0].terminology == "SCT^1^Body"
    assert b"head" not in (tmp_path / "m.semisam").read_bytes()
    import_model(tmp_path / "new", tmp_path / "m.semisam")
    assert Project.open(tmp_path / "new").segments[0].terminology == "SCT^1^Body"


def test_a_model_of_many_segments_has_a_short_title_and_can_be_read_again(trained: Study, tmp_path: Path) -> None:
    names = [f"{number} {'bone ' * 10}".strip() for number in range(1, 201)]
    document = json.loads((trained.project / "project.json").read_text("utf-8"))
    document["segments"] = [{"value": n, "name": name, "color": [1, 2, 3]} for n, name in enumerate(names, 1)]
    (trained.project / "project.json").write_text(json.dumps(document), "utf-8")
    path = trained.project / "models" / "specialist.json"
    facts = json.loads(path.read_text("utf-8"))
    facts["plan"]["segments"], facts["single_component"] = names, [False] * len(names)
    path.write_text(json.dumps(facts), "utf-8")
    export_model(Project.open(trained.project), tmp_path / "m.semisam")
    card = read_model(tmp_path / "m.semisam").card
    assert card.title == f"200 segments: {', '.join(names[:3])}, ..." and card.segments == tuple(names)


def test_a_model_is_not_given_up_where_its_copy_could_not_be_read(trained: Study) -> None:
    project = Project.open(trained.project)
    first, second = project.segments
    project.change_segments([replace(first, name="left\nhead"), second])
    with pytest.raises(UsageError, match="names of its segments"):
        keep_model(project)
    project.change_segments([replace(first, name="left head"), second])
    kept = keep_model(project)
    assert kept is not None and read_model(kept).card.title == "left head and tail"


def test_renamed_before_the_first_mask_an_imported_model_still_proposes_and_is_learned_on_from(
    file: Path, untrained: Study
) -> None:
    import_model(untrained.project, file)
    project = Project.open(untrained.project)
    project.change_segments([replace(project.segments[0], name="Kopf"), project.segments[1]])
    assert propose(project, lambda event: None, lambda: False, "cpu") == 4
    mask = read_mask(untrained.labels / "case1.nii.gz", untrained.segments)
    project.set_annotation("case1", mask, author="t", source="t")
    summary, events = run(project, steps=1, generalist="none")
    assert summary["round"] == 1 and not any("starts anew" in event.get("text", "") for event in events)


def test_a_model_of_other_segments_is_told_in_a_sentence(trained: Study) -> None:
    document = json.loads((trained.project / "project.json").read_text("utf-8"))
    for changed in (document["segments"][:1], [{**item, "name": "x"} for item in document["segments"][:1]]):
        (trained.project / "project.json").write_text(json.dumps({**document, "segments": changed}), "utf-8")
        with pytest.raises(TrainingError, match="trained for other segments .head, tail. than"):
            Specialist.load(Project.open(trained.project), "cpu")


def test_an_imported_model_can_be_passed_on_with_its_card(file: Path, untrained: Study, tmp_path: Path) -> None:
    import_model(untrained.project, file)
    export_model(Project.open(untrained.project), tmp_path / "again.semisam", title="Renamed")
    first, second = read_model(file), read_model(tmp_path / "again.semisam")
    assert replace(second.card, title=first.card.title, exported="") == replace(first.card, exported="")
    assert second.weights == first.weights and second.plan == first.plan


def test_a_model_is_replaced_only_when_asked_and_the_old_one_is_kept(trained: Study, file: Path) -> None:
    project = Project.open(trained.project)
    run(project, steps=5, generalist="none")
    before = weights(project)
    with pytest.raises(ModelError, match="--replace"):
        import_model(trained.project, file)
    assert weights(project) == before and (project.log_dir / "history.jsonl").exists()
    imported = import_model(trained.project, file, replace_model=True)
    assert not (project.log_dir / "history.jsonl").exists()  # the curves of a model that is no more
    assert imported.kept is not None and weights(project) != before
    again = import_model(trained.project, imported.kept, replace_model=True)
    assert weights(project) == before
    assert again.kept is not None and again.kept != imported.kept and imported.kept.exists()


def test_a_project_without_cases_takes_over_the_segments(file: Path, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "empty", parse_segments("7=liver"))
    import_model(project.path, file)
    assert [segment.name for segment in Project.open(project.path).segments] == ["head", "tail"]


def test_other_segments_are_an_error_that_tells_the_difference(file: Path, untrained: Study, tmp_path: Path) -> None:
    other = Project.create(tmp_path / "other-project", parse_segments("1=Head,2=body"))
    other.add_case("case1", untrained.images / "case1.nii.gz")
    with pytest.raises(ModelError) as caught:
        import_model(other.path, file)
    text = str(caught.value)
    assert 'the project lacks "tail"' in text and 'the model does not know "body"' in text
    assert other.model_name is None and not (other.models_dir / "plan.json").exists()


def test_segments_match_by_name_whatever_their_order_and_values(trained: Study, file: Path, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "turned", parse_segments("5=Tail,9=HEAD"))
    project.add_case("case3", trained.images / "case3.nii.gz")
    import_model(project.path, file)
    image = [trained.images / "case3.nii.gz"]
    (ours,), (theirs,) = masks(trained.project, image, tmp_path / "a"), masks(project.path, image, tmp_path / "b")
    assert np.array_equal(ours == 1, theirs == 9) and np.array_equal(ours == 2, theirs == 5)
    assert [(s.value, s.name) for s in Project.open(project.path).segments] == [(9, "HEAD"), (5, "Tail")]
    with pytest.raises(ProjectError, match="has cases already"):
        Project.open(project.path).replace_segments(parse_segments("1=liver"))


def test_nothing_is_imported_while_the_project_is_trained(file: Path, untrained: Study) -> None:
    with TrainingLock(untrained.project), pytest.raises(LockError, match="being trained"):
        import_model(untrained.project, file)
    assert Project.open(untrained.project).model_name is None


def test_weights_that_do_not_fit_the_plan_make_no_project(file: Path, tmp_path: Path) -> None:
    model = read_model(file)
    wide = replace(model, plan=replace(model.plan, channels=(2048, 2048, 2048, 2048)))
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    other = replace(model, weights=struct.pack("<Q", len(header)) + header + bytes(4))
    length = 8 + int.from_bytes(model.weights[:8], "little")
    infinite = replace(model, weights=model.weights[:length] + b"\xff" * (len(model.weights) - length))
    odd_header = b'{"a": {"dtype": "NONE", "shape": [-1], "data_offsets": [0, 4]}}'
    odd = replace(model, weights=struct.pack("<Q", len(odd_header)) + odd_header + bytes(4))
    for number, bad in enumerate((wide, other, infinite, odd)):
        path = tmp_path / f"bad{number}.semisam"
        write_model(path, bad)
        with pytest.raises(ModelError, match="cannot be used"):
            import_model(tmp_path / "new", path)
        assert not (tmp_path / "new").exists()


def test_a_damaged_or_missing_model_cannot_be_exported(trained: Study, untrained: Study, tmp_path: Path) -> None:
    target = tmp_path / "x.semisam"
    with pytest.raises(ModelError, match="no trained model"):
        export_model(Project.open(untrained.project), target)
    (present,) = (trained.project / "models").glob("specialist-*.safetensors")
    present.write_bytes(present.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged"):
        export_model(Project.open(trained.project), target)
    assert not target.exists()


def test_a_plan_of_another_kind_of_device_keeps_its_network(file: Path) -> None:
    gpu = replace(read_model(file).plan, device="cuda", patch=(128, 128, 96))
    plan = gpu.on(Hardware("cpu", "CPU", 2, 8000, False))
    assert (plan.channels, plan.working_spacing, plan.strides) == (gpu.channels, gpu.working_spacing, gpu.strides)
    assert plan.device == "cpu" and np.prod(plan.patch) < 200_000
    assert all(size % step == 0 for size, step in zip(plan.patch, plan.total_stride, strict=True))
    assert plan.on(Hardware("cpu", "CPU", 2, 8000, False)).patch == plan.patch


def test_the_command_line_exports_shows_and_imports(
    trained: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out" / "m.semisam"
    assert main(["model", "export", str(trained.project), str(path), "--title", "Ellipsoids"]) == 0
    assert "Ellipsoids" in capsys.readouterr().out
    assert main(["model", "show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["card"]["title"] == "Ellipsoids"
    assert main(["model", "import", str(tmp_path / "new"), str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["created"] and answer["model"] == "specialist-0001" and answer["kept"] is None
    assert main(["model", "import", str(tmp_path / "newer"), str(path)]) == 0
    assert "semisam add" in capsys.readouterr().out
    assert main(["model", "import", str(tmp_path / "new"), str(path)]) == 1
    assert "--replace" in capsys.readouterr().err
    assert main(["model", "export", str(trained.project), str(tmp_path / "m.zip")]) == 2
    assert main(["model", "show", str(trained.images / "case1.nii.gz")]) == 1


def test_exporting_showing_and_refusing_are_light(trained: Study, file: Path, tmp_path: Path) -> None:
    assert run_in_process("model", "export", trained.project, tmp_path / "x.semisam") == (0, [])
    assert run_in_process("model", "show", file) == (0, [])
    assert run_in_process("model", "import", trained.project, file) == (1, [])
    assert run_in_process("model", "import", tmp_path / "new", tmp_path / "none.semisam") == (1, [])


def test_the_worker_exports_shows_and_imports(trained: Study, untrained: Study, tmp_path: Path) -> None:
    path = tmp_path / "w.semisam"
    with WorkerClient(trained.project) as client:
        assert client.ask("open")["model"] == "specialist-0002"
        done = client.ask("export-model", file=path, licence="CC0")
        assert done["event"] == "done" and done["card"]["licence"] == "CC0"
        shown = client.ask("show-model", file=path)
        assert shown["problem"] == "" and shown["replaces"] and "CC0" in shown["text"]
    with WorkerClient(untrained.project) as client:
        assert client.ask("open")["model"] is None
        assert not client.ask("show-model", file=path)["replaces"]
        assert client.ask("import-model", file=path, seconds=60)["model"] == "specialist-0001"
        assert client.ask("open")["model"] == "specialist-0001"
        refused = client.ask("import-model", file=path, seconds=60)
        assert (refused["event"], refused["kind"]) == ("error", "model")
        assert client.ask("import-model", file=path, replace=True, seconds=60)["kept"].endswith(".semisam")
        assert client.ask("show-model", file=trained.images / "case1.nii.gz")["kind"] == "model"
    with WorkerClient(tmp_path / "made by the import") as client:
        assert client.ask("show-model", file=path)["problem"] == ""
        assert client.ask("import-model", file=path, seconds=60)["created"]
        assert [item["name"] for item in client.ask("open")["segments"]] == ["head", "tail"]
