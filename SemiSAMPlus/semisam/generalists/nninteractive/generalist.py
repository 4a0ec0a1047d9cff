"""``nninteractive``: a published interactive generalist, asked through its own package.

F. Isensee, M. Rokuss, L. Kraemer et al., nnInteractive: Redefining 3D promptable segmentation, arXiv 2503.08373:
``pip install nnInteractive``. Its weights do not come with SemiSAM+, and their licence (CC BY-NC-SA 4.0)
has to be accepted: ``semisam generalists list`` tells how to get them.

The package would unpickle a checkpoint; here its network is built from the plans that were imported, and takes the
tensors that were read safely. Without a GPU a prompt takes minutes, so "auto" leaves it out there; asked for by name it
works.
"""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnInteractive.inference import inference_session
from nnInteractive.interaction import point
from nnInteractive.trainer.nnInteractiveTrainer import nnInteractiveTrainer_stub
from nnInteractive.utils import crop
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from semisam.errors import GeneralistError
from semisam.generalists import weights
from semisam.generalists.base import Context, Embedding
from semisam.generalists.catalogue import add_command
from semisam.generalists.nninteractive.folder import SESSION_FILES
from semisam.prompts import THRESHOLD, Prompts
from semisam.volumes import Volume

_VERSION = 1
_OUTPUTS = 2

_logger = logging.getLogger(__name__)


def _quiet(*words: object, **_: object) -> None:
    _logger.debug(" ".join(map(str, words)))


# What the package prints would come between the lines of JSON that other programs read.
for _module in (inference_session, point, crop):
    vars(_module)["print"] = _quiet


class NnInteractive:
    """The generalist ``nninteractive``; follows ``semisam.generalists.base.Generalist``. Ignores prompts' ``segment``.

    context  device
    file     weights (safetensors), or None for those that were imported

    Raises GeneralistError when the weights are missing or damaged, or when "auto" should not take it.
    """

    name = "nninteractive"
    raw_intensities = True

    def __init__(self, context: Context, file: Path | None = None) -> None:
        from semisam.specialists.hardware import detect

        hardware = detect(context.device)
        file, digest = weights.chosen(self.name, file)
        if context.automatic and hardware.device == "cpu":
            raise GeneralistError(
                "Without a GPU it takes minutes for every prompt: name it with --generalist to use it all the same."
            )
        self.session = _load(file, torch.device(hardware.device))
        self.fingerprint = f"{self.name}-{_VERSION}-{version('nnInteractive')}-{digest[:16]}"
        self._one_at_a_time = threading.Lock()

    def encode(self, volume: Volume) -> Embedding:
        """The image as it is: the network sees it together with the prompts. Its axes k, j, i are theirs in order."""
        voxels = np.nan_to_num(np.asarray(volume.voxels, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        return Embedding({"image": voxels}, {"through": int(np.argmax(volume.geometry.spacing))})

    def predict(self, embedding: Embedding, prompts: Sequence[Prompts]) -> np.ndarray:
        """(n, k, j, i) float32, 0 or 1, for the n prompts; prompts that name no object give zeros."""
        image, through = embedding.arrays["image"], int(embedding.meta["through"])
        answers = np.zeros((len(prompts), *image.shape), np.float32)
        if image.min() == image.max():  # nothing can be seen in it
            return answers
        with self._one_at_a_time:
            self.session.set_image(image[None])
            # It is prepared on a thread of theirs, which must not outlive this image.
            self.session._finish_preprocessing_and_initialize_interactions()
            for answer, prompt in zip(answers, prompts, strict=True):
                self.session.set_target_buffer(torch.zeros(image.shape, dtype=torch.uint8))
                with _same_chance():
                    self._ask(prompt, through)
                answer[...] = self.session.target_buffer.numpy()
        return answers

    def _ask(self, prompt: Prompts, through: int) -> None:
        """Tell one prompt, after everything before it has been forgotten; the answer is in the target buffer.

        Box and clicks are answered one after the other, each beside the answer so far, as in the training. With a mask
        there is such an answer already: all are told at once, the box last, because the network looks where it was told
        something last.
        """
        session = self.session
        session.reset_interactions()
        mask = _mask(prompt) if session.supports_initial_label else None
        box = (
            [partial(session.add_bbox_interaction, self._box(prompt, through), True)] if self._takes_box(prompt) else []
        )
        clicks = [partial(session.add_point_interaction, *click) for click in self._clicks(prompt)]
        if mask is not None:
            told = clicks + box
            session.add_initial_seg_interaction(mask, run_prediction=not told)
            for number, tell in enumerate(told, 1):
                tell(run_prediction=number == len(told))
        elif box or (len(prompt.labels) and prompt.labels.any()):
            for tell in box + clicks:
                tell(run_prediction=True)

    def _clicks(self, prompt: Prompts) -> list[tuple[list[int], bool]]:
        """Voxel and side of each click, those inside the object first."""
        if not self.session.supported_interactions["points"]:
            return []
        last = np.array(self.session.original_image_shape[1:]) - 1
        voxels = np.clip(np.rint(np.asarray(prompt.points, float)), 0, last).astype(int)
        order = np.argsort(-prompt.labels.astype(int), kind="stable")
        return [(voxels[index].tolist(), bool(prompt.labels[index])) for index in order]

    def _takes_box(self, prompt: Prompts) -> bool:
        takes = self.session.supported_interactions
        return prompt.box is not None and (takes["bbox2d"] or takes["bbox3d"])

    def _box(self, prompt: Prompts, through: int) -> list[list[int]]:
        """Half-open ranges of voxels; for a network that knows only flat boxes, the middle slice along ``through``."""
        assert prompt.box is not None
        edges = np.ceil(np.asarray(prompt.box, float)).astype(int).reshape(2, 3)
        size = np.array(self.session.original_image_shape[1:])
        lower = np.clip(edges[0], 0, size - 1)
        upper = np.clip(edges[1], lower + 1, size)
        if not self.session.supported_interactions["bbox3d"]:
            lower[through] = (lower[through] + upper[through] - 1) // 2
            upper[through] = lower[through] + 1
        return np.stack([lower, upper], axis=1).tolist()


@contextmanager
def _same_chance() -> Iterator[None]:
    """The package draws random numbers from the row that all share: here each prompt gets the same, and takes none."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def _mask(prompt: Prompts) -> np.ndarray | None:
    """(k, j, i) uint8, or None if the prompt has no mask with an object in it."""
    if prompt.mask is None:
        return None
    mask = (np.asarray(prompt.mask) >= THRESHOLD).astype(np.uint8)
    return mask if mask.any() else None


def _load(path: Path, device: torch.device) -> Any:
    """A session with the network in ``path``; the global settings of torch stay as they are."""
    from safetensors import SafetensorError, safe_open

    benchmark = torch.backends.cudnn.benchmark
    session = inference_session.nnInteractiveInferenceSession(
        device=device, torch_n_threads=torch.get_num_threads(), enable_undo=False
    )
    torch.backends.cudnn.benchmark = benchmark
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata()
            tensors = weights.unmapped(file)
        known = _session_facts(session, notes)
        session.initialize_from_loaded_artifacts(known)  # tells how many channels the network has
        plans = PlansManager(json.loads(notes["plans"]))
        configuration = plans.get_configuration(notes["configuration"])
        network = _network(plans, configuration, 1 + session.num_interaction_channels, tensors).to(device)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise GeneralistError(
            f'The weights of nninteractive in "{path}" are damaged or not for this version of its package ({error}): '
            f"import them again with {add_command('nninteractive')}."
        ) from error
    known |= {"network": network, "plans_manager": plans, "configuration_manager": configuration}
    session.initialize_from_loaded_artifacts(known)
    return session


def _session_facts(session: Any, notes: dict[str, str]) -> dict[str, Any]:
    """What a session must know beside its network, as the package itself reads it from the file in a model folder."""
    name = notes["session_file"]
    if name not in SESSION_FILES:
        raise ValueError(f'"{name}" is no file of a model')
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_text(notes["session"], "utf-8")
        capability, radius, thickness, decay, padding = session._load_capability_and_runtime_defaults(folder)
    empty = ("network", "plans_manager", "configuration_manager", "dataset_json", "trainer_name", "label_manager")
    return {
        **dict.fromkeys(empty),
        "capability_content": capability,
        "point_interaction": point.PointInteraction_stub(radius, True),
        "preferred_scribble_thickness": thickness,
        "interaction_decay": decay,
        "pad_mode_data": padding,
        "license": notes["licence"],
    }


def _network(plans: Any, configuration: Any, inputs: int, tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The network with these weights (not copied), frozen. Raises ValueError when they do not fit."""
    with torch.device("meta"):
        network = nnInteractiveTrainer_stub.build_network_architecture(
            plans, configuration, inputs, _OUTPUTS, enable_deep_supervision=False
        )
    planned = network.state_dict()
    for name, tensor in tensors.items():
        if name not in planned or planned[name].shape != tensor.shape:
            raise ValueError(f'"{name}" is not as in the plans')
    # Parts have several names, and the file has one of them.
    network.load_state_dict(tensors, strict=False, assign=True)
    for name, tensor in network.state_dict().items():
        if tensor.is_meta:
            raise ValueError(f'"{name}" is missing')
    return network.eval().requires_grad_(False)
