"""Checkpoints that are read and replaced by several programs at a time, on systems that forbid what others allow."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from semisam.errors import LockError
from semisam.learning.checkpoints import load_specialist, load_training, save_specialist, save_training
from semisam.project.lock import TrainingLock
from test_supervision import make_plan

MAPS = Path("/proc/self/maps")


def trained(value: float) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A network whose weights are all the same, and its optimizer after a step that did not move them."""
    network = torch.nn.Linear(30, 30)
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, value)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0)
    network(torch.ones(1, 30)).sum().backward()
    optimizer.step()
    return network, optimizer


def test_a_specialist_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_specialist(tmp_path, trained(1.0)[0], make_plan(), {"round": 1})
    read_text = Path.read_text

    def slow(path: Path, *arguments: str) -> str:
        text = read_text(path, *arguments)
        monkeypatch.undo()
        save_specialist(tmp_path, trained(2.0)[0], make_plan(), {"round": 2})
        return text

    monkeypatch.setattr(Path, "read_text", slow)
    weights, _, facts = load_specialist(tmp_path)
    assert facts["round"] == 2 and float(weights["weight"][0, 0]) == 2.0


def test_an_old_checkpoint_that_cannot_be_removed_does_not_end_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (network, optimizer), (teacher, _) = trained(1.0), trained(2.0)
    save_training(tmp_path, network, teacher, optimizer, {"steps": 1})
    with monkeypatch.context() as windows:
        windows.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError("in use")))
        save_training(tmp_path, network, teacher, optimizer, {"steps": 2})
    assert len(list(tmp_path.glob("training-*.safetensors"))) == 2
    state, _ = load_training(tmp_path, network, teacher, optimizer)
    assert state is not None and state["steps"] == 2
    save_training(tmp_path, network, teacher, optimizer, {"steps": 3})
    assert len(list(tmp_path.glob("training-*.safetensors"))) == 1


@pytest.mark.skipif(not MAPS.exists(), reason="shows what is mapped on Linux only")
def test_nothing_that_training_goes_on_with_holds_its_file_open(tmp_path: Path) -> None:
    (network, optimizer), (teacher, _) = trained(1.0), trained(2.0)
    save_training(tmp_path, network, teacher, optimizer, {"steps": 1}, {"dan.network.weight": torch.ones(40)})
    fresh = torch.optim.AdamW(network.parameters())
    _, own = load_training(tmp_path, network, teacher, fresh)
    assert own and fresh.state_dict()["state"][0]["exp_avg"].any()
    assert str(tmp_path) not in MAPS.read_text()


def test_a_training_that_lost_its_lock_writes_nothing(tmp_path: Path) -> None:
    (network, optimizer), (teacher, _) = trained(1.0), trained(2.0)
    models = tmp_path / "models"
    with TrainingLock(tmp_path):
        save_training(models, network, teacher, optimizer, {"steps": 1})
        (tmp_path / "training.lock").unlink()
        with pytest.raises(LockError, match="taken away"):
            save_training(models, network, teacher, optimizer, {"steps": 2})
        with pytest.raises(LockError, match="taken away"):
            save_specialist(models, network, make_plan(), {"round": 1})
    state, _ = load_training(models, network, teacher, optimizer)
    assert state is not None and state["steps"] == 1 and len(list(models.iterdir())) == 2
