"""The worker as its clients see it: a real child process, its standard input and output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from semisam.files.volume_files import read_image, write_image, write_mask
from semisam.processes import process_start
from semisam.project import Project
from semisam.segments import parse_segments
from semisam.volumes import Geometry, Volume
from worker_client import WorkerClient, environment

WALKER = "random-walker"
INSIDE = (slice(8, 16), slice(10, 22), slice(8, 20))
GRID = Geometry((24, 32, 28), (2.0, 1.0, 1.0), (5.0, -3.0, 7.0), (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))


def make_project(folder: Path) -> Path:
    """Two images of a bright block, the first one annotated, in a folder with a name that is hard on programs."""
    folder.mkdir(parents=True)
    segments = parse_segments("1=block")
    project = Project.create(folder / "Über raschung 名", segments)
    rng = np.random.default_rng(0)
    mask = np.zeros(GRID.shape, np.uint8)
    mask[INSIDE] = 1
    for name in ("a", "b"):
        path = folder / f"bild {name}.nii.gz"
        write_image(path, Volume((rng.normal(0, 0.1, GRID.shape) + mask).astype(np.float32), GRID))
        project.add_case(name, path)
    project.set_annotation("a", Volume(mask, GRID), author="test", source="made up")
    return project.path


def wait_until_gone(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while process_start(pid) is not None:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("worker") / "ein Ordner")


@pytest.fixture(scope="module")
def client(path: Path) -> Iterator[WorkerClient]:
    with WorkerClient(path) as worker:
        hello = worker.event(None, "hello")
        assert hello["project"] == str(path)
        yield worker
    for line in worker.lines:
        assert isinstance(json.loads(line), dict)


def test_the_worker_says_hello_with_its_version_before_it_loads_anything_slow(path: Path) -> None:
    with WorkerClient(path) as worker:
        hello = worker.event(None, "hello")
        seconds = time.monotonic() - worker.begun
        assert hello["protocol"] == 1 and hello["pid"] == worker.process.pid
        assert WALKER in hello["generalists"] and "prompt" in hello["requests"]
        # Half a second on a free machine; tests share theirs.
        assert seconds < 3


def test_open_and_status_describe_the_project(client: WorkerClient, path: Path) -> None:
    answer = client.ask("open")
    assert answer["event"] == "done" and answer["counts"] == {"annotated": 1, "new": 1}
    assert [case["name"] for case in answer["cases"]] == ["a", "b"]
    assert Path(answer["cases"][0]["annotation"]["path"]).is_file()
    assert client.ask("status")["jobs"] == []


def test_all_generalists_are_told_and_a_file_that_is_no_weights_is_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMISAMPLUS_WEIGHTS", str(tmp_path / "weights"))
    page = tmp_path / "page.pth"
    page.write_text("<html>Log in to download</html>")
    with WorkerClient(path) as worker:
        before = worker.ask("generalists")
        assert before["folder"] == str(tmp_path / "weights")
        told = before["generalists"]
        assert told[WALKER]["at_hand"] and not told[WALKER]["takes_weights"] and not told[WALKER]["remedy"]
        missing = told["sam-med3d"]
        assert not missing["at_hand"] and missing["takes_weights"] and missing["weights"] is None
        assert "not on this computer" in missing["remedy"] and "SAM-Med3D" in missing["source"]
        refused = worker.ask("add-generalist", generalist="sam-med3d", file=page)
        assert refused["kind"] == "generalist" and "page.pth" in refused["text"], refused
        for name in (WALKER, "--help"):  # a name is never taken for an option
            refused = worker.ask("add-generalist", generalist=name, file=page)
            assert refused["kind"] == "usage" and "takes no weights" in refused["text"], refused
        assert worker.ask("generalists")["generalists"] == told


def test_a_box_gives_the_object_on_the_grid_of_the_image(client: WorkerClient, tmp_path: Path) -> None:
    output = tmp_path / "ein Klick.nrrd"
    answer = client.ask("prompt", case="b", generalist=WALKER, box=[7, 9, 7, 17, 23, 21], output=output)
    assert answer["event"] == "done", answer
    mask = read_image(output)
    assert mask.geometry.is_close(GRID)
    found = mask.voxels > 0
    assert found[INSIDE].mean() > 0.95 and found.sum() < 1.1 * found[INSIDE].size
    where = np.argwhere(found)
    assert answer["box"] == [*where.min(0).tolist(), *(where.max(0) + 1).tolist()]
    assert answer["voxels"] == found.sum()
    assert answer["volume_ml"] == pytest.approx(found.sum() * 2 / 1000)


@pytest.mark.parametrize("name", ["region.nrrd", "region.seg.nrrd", "region.nii.gz"])
def test_a_region_lies_where_the_object_lies(client: WorkerClient, tmp_path: Path, name: str) -> None:
    fields = {"case": "b", "generalist": WALKER, "box": [7, 9, 7, 17, 23, 21]}
    whole, part = tmp_path / "whole.nrrd", tmp_path / name
    client.ask("prompt", output=whole, **fields)
    answer = client.ask("prompt", output=part, extent="region", **fields)
    lower, upper = answer["region"][:3], answer["region"][3:]
    assert answer["region"] == answer["box"]
    region, image = read_image(part), read_image(whole)
    assert region.shape == tuple(u - low for low, u in zip(lower, upper, strict=True))
    np.testing.assert_allclose(region.geometry.origin, image.geometry.index_to_world(lower), atol=1e-3)
    np.testing.assert_array_equal(region.voxels, image.voxels[tuple(map(slice, lower, upper))])


def test_a_second_click_on_an_image_finds_it_in_memory(client: WorkerClient, tmp_path: Path) -> None:
    fields = {"case": "a", "generalist": WALKER}
    first, second = client.ask("encode", **fields), client.ask("encode", **fields)
    assert first["source"] == "encoded" and second["source"] == "memory"
    assert sum(second["seconds"].values()) < sum(first["seconds"].values()) / 2
    click = client.ask("prompt", points=[[12, 16, 14]], labels=[1], output=tmp_path / "o.nrrd", **fields)
    assert click["seconds"]["encode"] == 0
    images = [Path(item["image"]).name for item in client.ask("status")["interactive"]["encoded"]]
    assert "bild a.nii.gz" in images


def test_the_last_answer_can_be_the_next_mask(client: WorkerClient, tmp_path: Path) -> None:
    first, second = tmp_path / "1.nrrd", tmp_path / "2.nrrd"
    fields = {"case": "b", "generalist": WALKER}
    client.ask("prompt", box=[7, 9, 7, 17, 23, 21], output=first, **fields)
    answer = client.ask("prompt", mask=first, points=[[9, 11, 9]], labels=[1], output=second, **fields)
    assert answer["event"] == "done" and answer["voxels"] > 500


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"case": "nobody", "points": [[1, 1, 1]], "labels": [1]}, "project"),
        ({"image": "/nowhere/x.nii.gz", "points": [[1, 1, 1]], "labels": [1]}, "volume"),
        ({"case": "b", "points": [[1, 1, 99]], "labels": [1]}, "usage"),
        ({"case": "b", "box": [9, 9, 9, 8, 10, 10]}, "usage"),
        ({"case": "b"}, "usage"),
        ({"case": "b", "mask": "/nowhere/m.nrrd"}, "volume"),
        ({"case": "b", "segment": "spleen", "points": [[1, 1, 1]], "labels": [1]}, "usage"),
        ({"case": "b", "generalist": "sam", "points": [[1, 1, 1]], "labels": [1]}, "generalist"),
        ({"case": "b", "points": [[1, 1, 1]], "labels": [1], "output": "/nowhere/o.nrrd"}, "usage"),
        ({"case": "b", "points": [[1, 1, 1]], "labels": [1], "output": "annotation"}, "usage"),
        ({"case": "b", "points": [[1, 1, 1]], "labels": [1], "output": "image"}, "usage"),
    ],
)
def test_prompts_that_cannot_be_served_are_told_in_a_sentence(
    client: WorkerClient, path: Path, tmp_path: Path, fields: dict, kind: str
) -> None:
    places = {"annotation": path / "annotations" / "b.nrrd", "image": path.parent / "bild b.nii.gz"}
    output = fields.get("output", tmp_path / "o.nrrd")
    answer = client.ask("prompt", **{"generalist": WALKER, **fields, "output": places.get(output, output)})
    assert (answer["event"], answer["kind"]) == ("error", kind), answer
    assert answer["text"].endswith(".") and "Traceback" not in answer["text"]
    assert not (path / "annotations" / "b.nrrd").exists()
    assert read_image(places["image"]).shape == GRID.shape


def test_garbage_is_answered_and_does_no_harm(client: WorkerClient) -> None:
    client.raw(b'\x00\xff\xfe\n[]\n"x"\n{"id": 7\n' + b"x" * (3 << 20) + b'\n\n  \n{"id": "g", "request"')
    time.sleep(0.1)
    client.raw(b': "status"}{"id": "h", "request": "dance"} rest\n')
    assert client.event("g")["event"] == "done"
    assert client.event("h")["kind"] == "unknown-request"
    kinds = [client.event(None, "error")["kind"] for _ in range(6)]
    assert kinds == ["bad-request"] * 6


def test_an_id_in_use_is_refused_without_ending_the_first_request(client: WorkerClient, tmp_path: Path) -> None:
    line = {"id": "twin", "request": "encode", "case": "a", "generalist": "random-walker"}
    client.raw((json.dumps(line) + "\n").encode() * 2)
    assert "twin" in client.event(None, "error")["text"]
    assert client.event("twin")["event"] == "done"


def test_annotations_arrive_and_go_through_the_worker(client: WorkerClient, path: Path, tmp_path: Path) -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[INSIDE] = 1
    file = tmp_path / "meine Maske.seg.nrrd"
    write_mask(file, Volume(mask, GRID), parse_segments("1=block"))
    answer = client.ask("annotation-changed", case="b", path=file, author="Jo", state="in work")
    assert answer["case"]["state"] == "in work", answer
    assert answer["case"]["annotation"]["provenance"]["author"] == "Jo"
    assert Project.open(path).annotation("b").voxels.sum() == mask.sum()
    assert client.ask("annotation-changed", case="b")["event"] == "done"
    own = client.ask("annotation-changed", case="b", path=file, seen=0)
    assert not own["replaced_unseen"], "what came through this worker is nobody else's"
    Project.open(path).set_annotation("b", Volume(mask, GRID), author="Mo", source="another window")
    theirs = client.ask("case", case="b")["case"]["annotation"]["revision"]
    assert not client.ask("annotation-changed", case="b", path=file, seen=theirs)["replaced_unseen"]
    Project.open(path).set_annotation("b", Volume(mask, GRID), author="Mo", source="another window")
    assert client.ask("annotation-changed", case="b", path=file, seen=theirs)["replaced_unseen"]
    assert not client.ask("annotation-changed", case="b", path=file, seen=theirs)["replaced_unseen"], "once"
    assert client.ask("remove-annotation", case="b")["case"]["state"] == "new"
    assert client.ask("restore-annotation", case="b")["case"]["state"] == "annotated"
    assert not client.ask("annotation-changed", case="b", path=file, seen=theirs)["replaced_unseen"], "restored by us"
    Project.open(path).set_annotation("b", Volume(mask, GRID), author="Mo", source="another window")
    removed = client.ask("remove-annotation", case="b", seen=theirs)
    assert removed["case"]["annotation"] is None and removed["replaced_unseen"]
    assert client.ask("annotation-changed", case="b")["kind"] == "project"
    assert client.ask("accept", case="b")["kind"] == "project"


def test_proposals_are_accepted_and_rejected_through_the_worker(client: WorkerClient, path: Path) -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[INSIDE] = 1
    Project.open(path).set_proposal("b", Volume(mask, GRID), model="test", confidence=0.8)
    assert client.ask("reject", case="b", author="Jo")["case"]["state"] == "rejected"
    assert client.ask("accept", case="b", author="Jo", segments=["nothing"])["kind"] == "project"
    seen = client.ask("case", case="b")["case"]["proposal"]["revision"]
    assert client.ask("accept", case="b", author="Jo", revision=seen - 1)["kind"] == "project"
    assert client.ask("accept", case="b", author="Jo", revision=seen)["case"]["state"] == "accepted"
    assert client.ask("remove-annotation", case="b")["event"] == "done"


def test_cases_come_and_go_through_the_worker(client: WorkerClient, tmp_path: Path) -> None:
    image = tmp_path / "c.nrrd"
    write_image(image, Volume(np.zeros(GRID.shape, np.float32), GRID))
    assert client.ask("add-case", case="c", image=image)["case"]["state"] == "new"
    assert client.ask("add-case", case="c", image=image)["kind"] == "project"
    assert client.ask("remove-case", case="c")["event"] == "done"
    assert image.exists()


def test_a_waiting_click_can_be_cancelled(client: WorkerClient, path: Path) -> None:
    requests = [{"id": f"e{n}", "request": "encode", "case": "a", "generalist": WALKER} for n in range(50)]
    requests.append({"id": "stop it", "request": "cancel", "target": "e49"})
    client.raw("".join(json.dumps(request) + "\n" for request in requests).encode())
    answer = client.event("stop it")
    last = client.event("e49")
    assert (last["event"] == "error" and last["kind"] == "cancelled") == answer["cancelled"]
    assert all(client.event(f"e{n}")["event"] == "done" for n in range(49))
    assert client.ask("cancel", target="nobody")["cancelled"] is False


def test_standard_output_holds_only_protocol_even_if_a_library_prints(path: Path) -> None:
    program = (
        "import os, sys, threading\n"
        "from semisam.worker import worker\n"
        "def noise():\n"
        "    print('printed'); os.write(1, b'written\\n'); os.system('echo from a process')\n"
        "threading.Timer(0.3, noise).start()\n"
        "sys.exit(worker.serve(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment())
    time.sleep(1.5)
    output, errors = process.communicate(b'{"id":1,"request":"status"}\n{"id":2,"request":"shutdown"}\n', timeout=20)
    events = [json.loads(line) for line in output.splitlines()]
    assert [(event["event"], event["id"]) for event in (events[0], events[-1])] == [("hello", None), ("done", 2)]
    assert len(events) == 3
    assert b"printed" in errors and b"written" in errors and b"from a process" in errors


def test_a_client_that_does_not_read_is_served_nevertheless(path: Path) -> None:
    with WorkerClient(path, reading=False) as worker:
        for number in range(2000):
            worker.send("status", request_id=number)
        worker.send("shutdown", request_id="end")
        time.sleep(0.5)
        worker.read()
        for number in range(2000):
            event = worker.event(number, seconds=30)
            assert event["event"] == "done" or event["kind"] == "cancelled"
        assert worker.event("end")["event"] == "done"
        assert worker.process.wait(10) == 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signals_end_the_worker_in_good_order(path: Path, name: str) -> None:
    with WorkerClient(path) as worker:
        worker.event(None, "hello")
        worker.process.send_signal(getattr(signal, name))
        assert worker.process.wait(10) == 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_the_worker_ends_when_its_parent_is_killed(path: Path) -> None:
    program = (
        "import subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'semisam', 'worker', sys.argv[1]]\n"
        "process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "process.stdout.readline(); print(process.pid, flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment())
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert process_start(pid) is not None
    parent.kill()
    parent.wait()
    assert wait_until_gone(pid, 10)


def test_a_project_that_does_not_exist_is_told_and_another_one_can_be_opened(path: Path, tmp_path: Path) -> None:
    with WorkerClient(tmp_path / "nothing") as worker:
        assert worker.ask("open")["kind"] == "project"
        status = worker.ask("status")
        assert status["event"] == "done" and status["problem"]
        assert worker.ask("prompt", case="a", output=tmp_path / "o.nrrd")["kind"] == "project"
        assert worker.ask("open", project=path)["counts"]
        assert worker.ask("encode", case="a", generalist=WALKER)["event"] == "done"


def test_a_project_is_created_described_and_a_reject_taken_back(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    image = tmp_path / "a.nii.gz"
    write_image(image, Volume(np.zeros(GRID.shape, np.float32), GRID))
    with WorkerClient(folder) as client:
        segments = [{"value": 1, "name": "Länge", "color": [1, 2, 255]}]
        created = client.ask("create", segments=segments, copy=False)
        assert created["event"] == "done" and created["segments"] == segments and created["cases"] == []
        assert client.ask("create", segments=segments)["kind"] == "project"
        assert client.ask("create", segments=segments * 2)["kind"] in ("project", "usage")
        assert client.ask("create", segments=[{"value": 1, "name": "a", "color": [1, 2, 256]}])["kind"] == "bad-request"
        client.ask("add-case", case="a", image=image)
        assert client.ask("take-back-reject", case="a")["kind"] == "project"
        project = Project.open(folder)
        project.set_proposal("a", Volume(np.zeros(GRID.shape, np.uint8), GRID), model="m", confidence=0.5)
        assert client.ask("reject", case="a")["case"]["state"] == "rejected"
        assert client.ask("take-back-reject", case="a")["case"]["state"] == "proposed"
        assert client.ask("case", case="a")["case"]["confidence"] == 0.5


def test_encode_tells_the_grid_of_the_file(client: WorkerClient) -> None:
    answer = client.ask("encode", case="a", generalist=WALKER)
    assert answer["shape"] == list(GRID.shape)
    assert answer["origin"] == pytest.approx(GRID.origin) and answer["direction"] == pytest.approx(GRID.direction)
