"""Import of published weights: safe, checked, kept with a card; and the command ``semisam generalists``."""

from __future__ import annotations

import argparse
import collections
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from formula_weights import formula_weights
from semisam.cli import main
from semisam.errors import GeneralistError
from semisam.files.volume_files import write_image
from semisam.generalists import registry, weights
from semisam.generalists.base import Context
from semisam.generalists.catalogue import ENTRIES
from semisam.generalists.checkpoint import Checkpoint
from semisam.generalists.sam_med3d.network import Architecture, shapes_of
from semisam.generalists.weights_import import import_weights
from semisam.volumes import Geometry, Volume
from semisam.worker.interactive import PromptService, Subject

SMALL = Architecture(tokens=2, channels=24, heads=2, blocks=2, global_blocks=(1,), window=3, outputs=48, hidden=16)


def check_small(shapes):
    """Stands for the layout of the published size, which would take a minute."""
    if dict(shapes) != shapes_of(SMALL):
        raise ValueError("the tensors are others")
    return "small"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def small(monkeypatch):
    layout = f"{__name__}:check_small"
    monkeypatch.setitem(ENTRIES, "sam-med3d", replace(ENTRIES["sam-med3d"], layout=layout))
    return formula_weights(shapes_of(SMALL))


@pytest.fixture
def checkpoint(small, tmp_path):
    """A file like the published ones: the weights beside what else a training keeps."""
    path = tmp_path / "sam_med3d.pth"
    parameter = torch.nn.Parameter(torch.zeros(2))
    beside = {
        "epoch": 7,
        "model_state_dict": collections.OrderedDict(small),
        "optimizer_state_dict": torch.optim.AdamW([parameter]).state_dict(),
        "losses": [np.float64(0.25), 0.5],
        "best_dice": np.float32(0.8),
        "history": np.arange(3),
        "milestones": collections.Counter({3: 1}),
        "args": argparse.Namespace(lr=1e-3, device=torch.device("cpu")),
    }
    torch.save(beside, path)
    return path


# Import ---------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_becomes_safetensors_with_a_card(checkpoint, small, folder):
    card = import_weights("sam-med3d", checkpoint)
    path, same = weights.require("sam-med3d")
    assert same == card and path == folder / "sam-med3d.safetensors"
    assert card.licence == "Apache-2.0" and card.source == "sam_med3d.pth" and card.architecture == "small"
    assert card.source_sha256 == weights.sha256_of(checkpoint) and card.sha256 == weights.sha256_of(path)
    kept = load_file(path)
    assert kept.keys() == small.keys() and all(torch.equal(kept[name], small[name]) for name in small)
    weights.check("sam-med3d")


def test_imported_weights_serve(checkpoint):
    with pytest.raises(GeneralistError, match="not on this computer: get .*semisam generalists add sam-med3d FILE"):
        registry.create("sam-med3d", Context())
    import_weights("sam-med3d", checkpoint)
    generalist = registry.create("sam-med3d", Context())
    assert generalist.name == "sam-med3d" and weights.require("sam-med3d")[1].sha256[:16] in generalist.fingerprint


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells which files are mapped")
def test_a_generalist_does_not_hold_the_file_of_its_weights(checkpoint, folder):
    import_weights("sam-med3d", checkpoint)
    generalist = registry.create("sam-med3d", Context(device="cpu"))
    assert str(folder / "sam-med3d.safetensors") not in Path("/proc/self/maps").read_text()
    del generalist


def test_weights_that_are_imported_anew_serve_the_next_click(checkpoint, small, tmp_path):
    image = tmp_path / "image.nrrd"
    grid = Geometry((12, 12, 12), (1.5, 1.5, 1.5), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    write_image(image, Volume(np.zeros(grid.shape, np.float32), grid))
    subject, service = Subject(image, "sam-med3d"), PromptService()
    import_weights("sam-med3d", checkpoint)
    assert [service.encode(subject).source for _ in range(2)] == ["encoded", "memory"]
    torch.save({name: 0.5 * tensor for name, tensor in small.items()}, checkpoint)
    import_weights("sam-med3d", checkpoint)
    assert service.encode(subject).source == "encoded"


@pytest.mark.parametrize("kind", ["plain", "module", "half", "parameters", "safetensors"])
def test_other_ways_to_store_the_same_weights(small, tmp_path, kind):
    path = tmp_path / f"file.{'safetensors' if kind == 'safetensors' else 'pth'}"
    if kind == "safetensors":
        save_file(small, path)
    elif kind == "module":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in small.items()}}, path)
    elif kind == "half":
        torch.save({name: tensor.half() for name, tensor in small.items()}, path)
    elif kind == "parameters":
        torch.save({name: torch.nn.Parameter(tensor) for name, tensor in small.items()}, path)
    else:
        torch.save(small, path)
    import_weights("sam-med3d", path)
    kept = load_file(weights.weights_file("sam-med3d"))
    assert all(torch.allclose(kept[name], small[name], atol=2e-2) for name in small)
    assert all(tensor.dtype == torch.float32 for tensor in kept.values())


def test_views_into_a_common_storage_are_read_right(tmp_path):
    whole = torch.arange(24.0)
    path = tmp_path / "views.pth"
    torch.save({"a": whole[4:10].view(2, 3), "b": whole.view(4, 6).t()}, path)
    read = Checkpoint(path).read()
    assert torch.equal(read["a"], whole[4:10].view(2, 3)) and torch.equal(read["b"], whole.view(4, 6).t())


# Files that are not what they should be -------------------------------------------------------------------------------


class Runs:
    """Unpickled blindly, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'echo harm > "{self.path}"',)


def test_a_hostile_file_is_refused_and_runs_nothing(small, tmp_path):
    path, harm = tmp_path / "hostile.pth", tmp_path / "harm"
    torch.save({"model_state_dict": small, "args": Runs(harm)}, path)
    with pytest.raises(GeneralistError, match=r'not opened: it asks for "(posix|nt)\.system"'):
        import_weights("sam-med3d", path)
    assert not harm.exists() and weights.find("sam-med3d") is None


@pytest.mark.parametrize(
    "program",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cbuiltins\ngetattr\n.",
        b"ctorch.nn.modules.linear\nLinear\n.",
        b"ctorch.serialization\nload\n.",
        # Changing what reads it: the attributes of a stand-in.
        b"ctorch._utils\n_rebuild_tensor_v2\n}S'shape'\nI1\nsb.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",  # a text longer than the file
        b"\x80\x02r\xff\xff\xff\x7f.",  # a place far beyond memory
        b"\x80\x02(((((.",
        b"",
    ],
)
def test_other_programs_in_a_file_end_in_a_sentence(tmp_path, program):
    path = tmp_path / "program.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
    with pytest.raises(GeneralistError, match="program.pth"):
        Checkpoint(path)


def test_a_file_that_lies_about_its_tensors_is_damaged(tmp_path):
    path = tmp_path / "lies.pth"
    torch.save({"a": torch.ones(4)}, path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    for change in ("longer", "packed", "missing"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                numbers = name.endswith("data/0")
                if numbers and change == "missing":
                    continue
                packing = zipfile.ZIP_DEFLATED if numbers and change == "packed" else zipfile.ZIP_STORED
                archive.writestr(name, content * 3 if numbers and change == "longer" else content, packing)
        with pytest.raises(GeneralistError, match="is damaged"):
            Checkpoint(path).read()


def test_a_file_cut_short_anywhere_is_told(checkpoint, tmp_path):
    whole = checkpoint.read_bytes()
    for share in (0.0, 0.01, 0.3, 0.9, 0.999):
        path = tmp_path / "short.pth"
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(GeneralistError, match="cut short|not a PyTorch checkpoint|damaged"):
            import_weights("sam-med3d", path)


def test_flipped_bits_are_found(checkpoint, tmp_path):
    whole = bytearray(checkpoint.read_bytes())
    for place in np.random.default_rng(0).integers(0, len(whole) // 2, 10):
        broken = bytearray(whole)
        broken[place] ^= 0x10
        path = tmp_path / "flipped.pth"
        path.write_bytes(broken)
        try:
            import_weights("sam-med3d", path)
        except GeneralistError as error:
            assert "flipped.pth" in str(error)
        else:  # the padding between the parts, or what lies beside the weights
            read, kept = Checkpoint(checkpoint).read(), load_file(weights.weights_file("sam-med3d"))
            assert all(torch.equal(read[name], kept[name]) for name in read)


def test_files_of_another_kind_are_told(small, tmp_path):
    path = tmp_path / "file.pth"
    path.write_text("<html>Log in to download</html>")
    with pytest.raises(GeneralistError, match="not a PyTorch checkpoint"):
        import_weights("sam-med3d", path)
    torch.save(small, path, _use_new_zipfile_serialization=False)
    with pytest.raises(GeneralistError, match="before 1.6"):
        import_weights("sam-med3d", path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(GeneralistError, match="zip file, but no"):
        import_weights("sam-med3d", path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(GeneralistError, match="holds no weights"):
        import_weights("sam-med3d", path)
    torch.save({"conv.weight": torch.ones(3)}, path)
    with pytest.raises(GeneralistError, match='not a file for "sam-med3d": the tensors are others'):
        import_weights("sam-med3d", path)
    broken = {**small, "image_encoder.pos_embed": torch.full_like(small["image_encoder.pos_embed"], float("nan"))}
    torch.save(broken, path)
    with pytest.raises(GeneralistError, match="not finite"):
        import_weights("sam-med3d", path)


def test_the_published_size_is_asked_for_first(tmp_path):
    """With the real layout: a 2D network's file, whose tensors have the same names, is told before it is read."""
    path = tmp_path / "sam_vit_b.pth"
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}, path)
    with pytest.raises(GeneralistError, match="image_encoder.pos_embed.*has the shape"):
        import_weights("sam-med3d-turbo", path)


def test_a_standing_import_survives_a_failed_one(checkpoint, tmp_path):
    card = import_weights("sam-med3d", checkpoint)
    other = tmp_path / "other.pth"
    torch.save({"a": torch.ones(2)}, other)
    with pytest.raises(GeneralistError):
        import_weights("sam-med3d", other)
    assert weights.find("sam-med3d") == card
    weights.check("sam-med3d")


def test_weights_that_changed_later_are_found(checkpoint, folder):
    import_weights("sam-med3d", checkpoint)
    path = folder / "sam-med3d.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(GeneralistError, match="has changed since it was imported"):
        weights.check("sam-med3d")
    path.write_bytes(content[:-8])
    with pytest.raises(GeneralistError, match="bytes instead of"):
        registry.create("sam-med3d", Context())
    (folder / "sam-med3d.json").write_text("{")
    with pytest.raises(GeneralistError, match="damaged"):
        weights.find("sam-med3d")


def test_the_folder_is_the_users_own_unless_a_variable_says_otherwise(monkeypatch, tmp_path):
    assert weights.folder() == tmp_path / "weights"
    monkeypatch.delenv(weights.VARIABLE)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("sys.platform", "linux")
    assert weights.folder() == tmp_path / "data" / "semisam" / "weights"


# The command ----------------------------------------------------------------------------------------------------------


def run(capsys, *arguments):
    """Exit code, result, and errors of a command with --json."""
    code = main(["generalists", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    return code, lines[-1] if lines else {}, captured.err


def test_list_tells_what_is_here_and_how_to_get_the_rest(capsys):
    code, result, _ = run(capsys, "list")
    found = result["generalists"]
    assert code == 0 and list(found) == registry.names()
    assert found["nano"]["at_hand"] and not found["sam-med3d"]["at_hand"]
    assert "semisam generalists add seganypet FILE" in found["seganypet"]["remedy"]
    assert "left atrium" in found["sam-med3d"]["note"]
    assert main(["generalists", "list"]) == 0
    text = capsys.readouterr().out
    assert "sam-med3d-turbo" in text and "What is missing" in text


def test_add_list_verify(capsys, checkpoint, folder):
    assert run(capsys, "verify")[:1] == (0,)
    code, result, _ = run(capsys, "add", "sam-med3d", checkpoint)
    assert code == 0 and result["licence"] == "Apache-2.0"
    assert run(capsys, "list")[1]["generalists"]["sam-med3d"]["at_hand"] and "sam-med3d" in registry.at_hand()
    assert run(capsys, "verify")[1]["verified"] == {"sam-med3d": True}
    (folder / "sam-med3d.safetensors").write_bytes(b"x" * result["bytes"])
    code, result, _ = run(capsys, "verify")
    assert code == 1 and result["verified"] == {"sam-med3d": False}
    (folder / "sam-med3d.safetensors").unlink()
    found = run(capsys, "list")[1]["generalists"]["sam-med3d"]
    assert not found["at_hand"] and "import it again" in found["remedy"]


def test_add_tells_what_is_wrong_with_its_options(capsys, checkpoint):
    code, _, errors = run(capsys, "add", "nano", checkpoint)
    assert code == 2 and "takes no weights: choose from sam-med3d" in errors
    code, _, errors = run(capsys, "add", "sam-med3d", "nowhere.pth")
    assert code == 2 and "is not a file" in errors


def test_what_the_catalogue_describes_is_in_the_registry():
    assert set(ENTRIES) <= set(registry.names())
