"""Locks, atomic files, and the question whether a process lives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from semisam.errors import LockError
from semisam.files import atomic
from semisam.processes import host_name, process_start
from semisam.project import lock
from semisam.project.lock import Owner, ProjectLock, TrainingLock, check_training, training_owner
from small_project import make_project, start_python

HOLD = """
import sys, time
from pathlib import Path
from semisam.project.lock import ProjectLock, TrainingLock
{kind}(Path(sys.argv[1])).acquire()
print("locked", flush=True)
time.sleep(60)
"""


def leave_lock(folder: Path, name: str = "project.lock", age: float = 0.0, **changes: object) -> Path:
    """A lock file as somebody else would have left it."""
    path = folder / name
    path.write_text(json.dumps(asdict(replace(Owner.myself(), **changes))))  # type: ignore[arg-type]
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_a_living_owner_is_waited_for_and_named(tmp_path: Path) -> None:
    child = start_python(HOLD.format(kind="ProjectLock"), tmp_path)
    assert child.stdout is not None and child.stdout.readline().strip() == "locked"
    try:
        began = time.monotonic()
        with pytest.raises(LockError, match=f"process {child.pid} on .*Try again.*delete the file .*project.lock"):
            ProjectLock(tmp_path).acquire(timeout=0.2)
        assert 0.2 <= time.monotonic() - began < 5
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("kind", [ProjectLock, TrainingLock])
def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path: Path, kind: type[lock.FileLock]) -> None:
    child = start_python(HOLD.format(kind=kind.__name__), tmp_path)
    assert child.stdout is not None and child.stdout.readline().strip() == "locked"
    child.kill()  # not collected yet: on POSIX it is a zombie now
    time.sleep(0.1)
    began = time.monotonic()
    with kind(tmp_path) as taken:
        assert taken.held()
    assert time.monotonic() - began < 1
    child.communicate()


def test_a_process_id_that_is_used_again_does_not_keep_a_lock_alive(tmp_path: Path) -> None:
    leave_lock(tmp_path, start="before the last start of the machine")
    with ProjectLock(tmp_path) as taken:
        assert taken.held()


def test_a_lock_of_another_machine_is_stale_only_without_heartbeat(tmp_path: Path) -> None:
    leave_lock(tmp_path, host="elsewhere", pid=1, age=30)
    with pytest.raises(LockError, match='process 1 on "elsewhere"'):
        ProjectLock(tmp_path).acquire(timeout=0.05)
    leave_lock(tmp_path, host="elsewhere", pid=1, age=300)
    with ProjectLock(tmp_path) as taken:
        assert taken.held()


def test_the_age_of_a_lock_is_told_by_the_clock_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_lock(tmp_path, host="elsewhere", pid=1, age=30)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    with pytest.raises(LockError, match='process 1 on "elsewhere"'):
        ProjectLock(tmp_path).acquire(timeout=0.05)
    assert [path.name for path in tmp_path.iterdir()] == ["project.lock"]


@pytest.mark.parametrize(("told", "noted"), [("", "100"), ("100", ""), ("", "")])
def test_a_living_owner_whose_start_is_not_told_keeps_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, noted: str
) -> None:
    leave_lock(tmp_path, start=noted)
    monkeypatch.setattr(lock, "process_start", lambda pid: told)
    assert ProjectLock(tmp_path).owner() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="is about /proc")
def test_a_process_that_the_system_hides_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(path: Path, **options: object) -> str:
        raise FileNotFoundError

    def foreign(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", hidden)
    monkeypatch.setattr(os, "kill", foreign)
    assert process_start(4711) == ""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff"])
def test_a_lock_that_names_nobody_is_stale_after_a_while(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "project.lock"
    path.write_bytes(content)
    with pytest.raises(LockError, match="not yet given its name"):
        ProjectLock(tmp_path).acquire(timeout=0.05)
    os.utime(path, (time.time() - 60, time.time() - 60))
    with ProjectLock(tmp_path) as taken:
        assert taken.held()


def test_a_lock_that_was_taken_away_is_noticed_and_not_removed_twice(tmp_path: Path) -> None:
    mine = ProjectLock(tmp_path)
    mine.acquire()
    leave_lock(tmp_path)
    assert not mine.held()
    mine.release()
    assert (tmp_path / "project.lock").exists()


def test_a_change_is_given_up_when_the_lock_was_taken_away(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    before = (project.path / "project.json").read_bytes()
    with pytest.raises(LockError, match="nothing was changed"), project._store.transaction():
        leave_lock(project.path)
    assert (project.path / "project.json").read_bytes() == before


def test_many_threads_with_one_stale_lock_go_one_by_one(tmp_path: Path) -> None:
    leave_lock(tmp_path, start="long ago")
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        for _ in range(10):
            with ProjectLock(tmp_path):
                number = int(counter.read_text())
                time.sleep(0.0005)
                counter.write_text(str(number + 1))

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.read_text() == "60"
    assert not (tmp_path / "project.lock").exists()


def test_a_project_trains_once_at_a_time_and_tells_who_does(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    assert project.training_owner() is None
    with TrainingLock(project.path):
        owner = project.training_owner()
        assert owner is not None and owner.pid == os.getpid() and owner.host == host_name()
        with pytest.raises(LockError, match=f"already being trained: process {os.getpid()} .*Stop that training"):
            TrainingLock(project.path).acquire()
        project.remove_case("a")  # other changes are not held up
    assert project.training_owner() is None


def test_a_training_lock_is_kept_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_HEARTBEAT", 0.02)
    with TrainingLock(tmp_path):
        path = tmp_path / "training.lock"
        os.utime(path, (0, 0))
        end = time.monotonic() + 5
        while path.stat().st_mtime == 0 and time.monotonic() < end:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0
    assert not path.exists()


def test_a_lost_training_lock_is_noticed_and_not_kept_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_HEARTBEAT", 0.02)
    check_training(tmp_path)
    with TrainingLock(tmp_path):
        check_training(tmp_path)
        other = leave_lock(tmp_path, "training.lock", age=1000)
        before = other.stat().st_mtime
        time.sleep(0.2)
        assert other.stat().st_mtime == before
        with pytest.raises(LockError, match="taken away while this program was training.*train again"):
            check_training(tmp_path)
        other.unlink()
        with pytest.raises(LockError):
            check_training(tmp_path)
    check_training(tmp_path)


def test_a_trainer_that_was_stopped_for_long_still_owns_its_lock(tmp_path: Path) -> None:
    leave_lock(tmp_path, "training.lock", age=10_000)
    assert training_owner(tmp_path) is not None


def test_a_folder_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="Cannot write in the project.*check that the folder exists"):
        ProjectLock(tmp_path / "nowhere").acquire()


def test_processes_are_known_by_id_and_start() -> None:
    mine = process_start(os.getpid())
    assert mine and mine == process_start(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_start(child.pid) not in (None, mine)
    child.kill()
    child.wait()
    assert process_start(child.pid) is None
    assert process_start(0) is None and process_start(-1) is None


@pytest.mark.skipif(os.name == "nt", reason="uses the ps command of POSIX systems")
def test_systems_without_proc_tell_the_start_of_a_process_as_well() -> None:
    from semisam.processes import _start_from_ps

    try:
        subprocess.run(["ps", "-p", "1"], capture_output=True, check=False)
    except OSError:
        pytest.skip("this system has no ps command")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert _start_from_ps(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert _start_from_ps(child.pid) is None, "a zombie is gone"
    child.wait()
    assert _start_from_ps(child.pid) is None


# -- atomic files


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    atomic.write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        atomic.write_json(path, {"a": float("nan")})
    with pytest.raises(RuntimeError), atomic.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]


def test_a_temporary_keeps_the_ending_of_its_file(tmp_path: Path) -> None:
    with atomic.replacing(tmp_path / "a.seg.nrrd") as temporary:
        assert temporary.name.endswith(".seg.nrrd") and temporary.parent == tmp_path
        temporary.write_text("x")
    assert (tmp_path / "a.seg.nrrd").read_text() == "x"


def test_only_the_temporaries_of_dead_writers_are_removed(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    mine = atomic.temporary_beside(tmp_path / "a.txt")
    dead = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{child.pid}-"))
    folder = dead.with_name(dead.name + "-folder")
    foreign = mine.with_name(".tmp-00000000" + mine.name[13:])
    old = foreign.with_name(foreign.name + "-old")
    others = [tmp_path / name for name in ("a.txt", ".tmp-mine", ".tmp-a-b-c-d", ".hidden")]
    for path in (mine, dead, foreign, old, *others):
        path.write_text("x")
    folder.mkdir()
    (folder / "inner").write_text("x")
    os.utime(old, (0, 0))
    assert set(atomic.remove_orphans(tmp_path)) == {dead, folder, old}
    assert set(tmp_path.iterdir()) == {mine, foreign, *others}
    assert atomic.remove_orphans(tmp_path / "nowhere") == []


def test_the_age_of_a_temporary_is_told_by_the_clock_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = atomic.temporary_beside(tmp_path / "a.txt")
    mine.with_name(".tmp-00000000" + mine.name[13:]).write_text("x")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 1e6)
    assert atomic.remove_orphans(tmp_path) == []
