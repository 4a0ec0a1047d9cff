"""Prediction: the specialist on whole volumes, with uncertainty, confidence, and masks on the original grids."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from scipy import ndimage

from semisam.errors import ProjectError, SemiSAMError, TrainingError, VolumeError
from semisam.files.volume_files import case_name, read_image, write_mask
from semisam.learning.checkpoints import load_specialist
from semisam.learning.second_opinion import SecondOpinion
from semisam.learning.working import WorkingSet, to_working
from semisam.project import Project
from semisam.project.outputs import mask_files
from semisam.segments import Segment, are_called
from semisam.specialists.hardware import detect
from semisam.specialists.network import make_network
from semisam.specialists.plan import Plan
from semisam.volumes import Geometry, Volume, resampled_maps

Event = Callable[[dict[str, Any]], None]
Stop = Callable[[], bool]
# (1 + segments, k, j, i) probabilities -> Dice with another source, or None
Opinion = Callable[[np.ndarray], float | None]


@dataclass(frozen=True)
class Prediction:
    """A case as the specialist sees it, on the original grid of its image.

    mask         uint8, values of the project's segments
    uncertainty  uint8, per cent: 0 where the specialist is certain, 100 where it tosses a coin
    confidence   0 to 1: the Dice that the specialist expects of its own mask (see ``expected_dice``)
    volumes_ml   volume of each segment
    """

    mask: Volume
    uncertainty: Volume
    confidence: float
    volumes_ml: dict[str, float]


class Specialist:
    """A trained network with its plan, ready to predict."""

    def __init__(
        self,
        network: torch.nn.Module,
        plan: Plan,
        segments: Sequence[Segment],
        single: Sequence[bool],
        agreement: float | None = None,
        always: Sequence[bool] = (),
    ) -> None:
        """
        agreement  how far a second opinion agrees on average, for cases that have none of their own
        single     for each segment, whether it is in one piece in every annotation
        always     for each segment, whether every annotation shows it; without it, all are taken to be there always
        """
        self._network = network.eval()
        self.plan = plan
        self._segments = segments
        self._single = single
        self._always = always or [True] * len(segments)
        self.agreement = agreement

    @classmethod
    def load(cls, project: Project, device: str = "auto") -> tuple[Specialist, str]:
        """The project's specialist and its name.

        Raises TrainingError when there is none yet, or it is for other segments than the project has now.
        """
        weights, plan, facts = load_specialist(project.models_dir)
        if not are_called(project.segments, plan.segments):
            raise TrainingError(
                f'The model of "{project.path}" was trained for other segments ({", ".join(plan.segments)}) than the '
                "project has now: train again, or give the segments their old names back."
            )
        plan = plan.on(detect(device))
        torch.set_num_threads(plan.threads)
        network = make_network(plan)
        network.load_state_dict(weights)
        told = facts["single_component"], facts.get("agreement"), facts.get("always_there", ())
        specialist = cls(network.to(plan.device), plan, project.segments, *told)
        return specialist, str(facts["weights"]).removesuffix(".safetensors")

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """(k, j, i) normalized working image -> (1 + segments, k, j, i) float32."""
        probability = predict_probabilities(self._network, self.plan, image)
        if self.plan.mirror:
            turned = predict_probabilities(self._network, self.plan, np.ascontiguousarray(image[:, :, ::-1]))
            probability = (probability + turned[..., ::-1]) / 2
        return probability

    def predict(
        self, image: np.ndarray, working: Geometry, original: Geometry, second_opinion: Opinion | None = None
    ) -> Prediction:
        """image: (k, j, i) normalized, on the working grid.

        ``second_opinion`` is asked with the probabilities how far something else agrees with them (Dice, or None).
        """
        probability = self.probabilities(image)
        confidence = expected_dice(probability, self._always)
        agreement = second_opinion(probability) if second_opinion else self.agreement
        if agreement is not None:
            confidence = confidence_of(confidence, agreement)
        doubt = _entropy(probability)
        labels = _labels(resampled_maps(probability[1:], working, original), original.shape)
        if self.plan.clean_up:
            labels = clean_up(labels, self._single)
        voxel_ml = float(np.prod(original.spacing)) / 1000.0
        counts = np.bincount(labels.ravel(), minlength=len(self._segments) + 1)
        (uncertainty,) = resampled_maps(doubt[None], working, original)
        values = np.array([0] + [segment.value for segment in self._segments], np.uint8)
        return Prediction(
            Volume(values[labels], original),
            Volume((uncertainty * 100).round().astype(np.uint8), original),
            confidence,
            {
                segment.name: round(float(count) * voxel_ml, 4)
                for segment, count in zip(self._segments, counts[1:], strict=True)
            },
        )


def autocast(plan: Plan) -> torch.autocast:
    """The precision of the plan, for training and prediction alike."""
    return torch.autocast(plan.device.partition(":")[0], torch.bfloat16, enabled=plan.bfloat16)


def predict_probabilities(network: torch.nn.Module, plan: Plan, image: np.ndarray) -> np.ndarray:
    """(k, j, i) normalized working image -> (1 + segments, k, j, i) float32 probabilities.

    A volume of up to about two patches goes through the network whole; larger ones by windows with Gaussian overlap.
    """
    tensor = torch.from_numpy(np.array(image, np.float32))[None, None].to(plan.device)
    whole = [-(-size // step) * step for size, step in zip(image.shape, plan.total_stride, strict=True)]
    small = np.prod(whole) <= 2.5 * np.prod(plan.patch)

    def forward(patch: torch.Tensor) -> torch.Tensor:
        with autocast(plan):
            logits = network(patch.contiguous(memory_format=torch.channels_last_3d))
        return torch.softmax(logits.float(), 1)

    with torch.inference_mode():
        probability = sliding_window_inference(
            tensor,
            roi_size=tuple(whole) if small else plan.patch,
            sw_batch_size=1 if plan.device == "cpu" else 4,
            predictor=forward,
            overlap=0.375,
            mode="gaussian",
            padding_mode="replicate",
        )
    assert isinstance(probability, torch.Tensor)
    return probability[0].cpu().numpy()


def expected_dice(probability: np.ndarray, always: Sequence[bool] = ()) -> float:
    """The Dice that the probabilities promise for their own mask, mean over the segments.

    probability is (1 + segments, k, j, i). With calibrated probabilities this is the expectation of the true Dice.
    A segment with an empty mask may rightly be absent: its 0 counts only as far as it is likely anywhere. Where nothing
    was found at all, what is promised is that nothing is there. A segment that is ``always`` there counts in any case.
    """
    winner = probability.argmax(0)
    values, weights = [], []
    for index in range(1, len(probability)):
        mask = winner == index
        values.append(2 * probability[index][mask].sum() / (probability[index].sum() + mask.sum() + 1e-6))
        counts = bool(mask.any()) or any(always[index - 1 : index])
        weights.append(1.0 if counts else probability[index].max())
    if not winner.any():
        return float(1 - max(weights))
    return float(np.average(values, weights=weights))


def confidence_of(expected: float, agreement: float) -> float:
    """What the specialist promises, lowered by what an independent source contradicts.

    With the exponent 0.75 it is off by 0.04 on average on hippocampus, instead of 0.10 (few_labels.md).
    """
    return float(expected * agreement**0.75)


def clean_up(labels: np.ndarray, single: Sequence[bool]) -> np.ndarray:
    """Keep the largest piece of each segment that is in one piece in every annotation. labels: index of segment + 1."""
    labels = labels.copy()
    for index, alone in enumerate(single, start=1):
        if not alone:
            continue
        pieces, count = ndimage.label(labels == index)
        if count > 1:
            sizes = np.bincount(pieces.ravel())
            sizes[0] = 0
            labels[(pieces > 0) & (pieces != sizes.argmax())] = 0
    return labels


def propose(
    project: Project, on_event: Event, should_stop: Stop, device: str = "auto", names: Sequence[str] | None = None
) -> int:
    """Write a proposal for every unannotated case (or those named); returns how many were written.

    Raises TrainingError when the project has no trained model.
    """
    specialist, model = Specialist.load(project, device)
    working = WorkingSet(project, specialist.plan)
    opinion = SecondOpinion(project, working)
    chosen = [project.case(name).name for name in names] if names else working.unannotated
    return write_proposals(project, specialist, model, working, opinion, chosen, on_event, should_stop)


def write_proposals(
    project: Project,
    specialist: Specialist,
    model: str,
    working: WorkingSet,
    opinion: SecondOpinion,
    names: Sequence[str],
    on_event: Event,
    should_stop: Stop,
) -> int:
    start, written = time.monotonic(), 0
    project.reload()
    names = [name for name in names if name in project.cases]  # a person may have removed some since they were listed
    # Of each or of none: cases with an opinion of their own and cases without one could not be ranked together.
    of_each = all(opinion.has(name) for name in names)
    for index, name in enumerate(names):
        if should_stop():
            break
        try:
            case = working[name]
            prediction = specialist.predict(
                case.image, case.geometry, case.original, partial(opinion, case) if of_each else None
            )
            project.set_proposal(
                name,
                prediction.mask,
                model=model,
                confidence=prediction.confidence,
                uncertainty=prediction.uncertainty,
                details={"volumes_ml": prediction.volumes_ml},
            )
        except (ProjectError, VolumeError):
            project.reload()
            if name in project.cases:
                raise
            continue  # it was removed meanwhile
        written += 1
        seconds = time.monotonic() - start
        on_event({"event": "proposal-ready", "case": name, "confidence": round(prediction.confidence, 4)})
        on_event(
            {
                "event": "progress",
                "text": f"proposal {index + 1} of {len(names)}",
                "fraction": (index + 1) / len(names),
                "seconds_left": round(seconds / (index + 1) * (len(names) - index - 1), 1),
            }
        )
    return written


def segment(
    project: Project, images: Sequence[Path], folder: Path, on_event: Event, device: str = "auto"
) -> tuple[list[dict[str, Any]], list[SemiSAMError]]:
    """Segment new volumes with the project's model; masks go to ``folder`` on the grids of their images.

    Returns a dict for each (image, mask, confidence, volumes_ml, seconds), and what was wrong with the images that have
    no mask because of it: one bad file does not keep the others waiting. Raises TrainingError, and UsageError when a
    mask cannot go where it would (see ``mask_files``).
    """
    masks = mask_files(project, images, folder)
    specialist, model = Specialist.load(project, device)
    folder.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    problems: list[SemiSAMError] = []
    for index, (path, target) in enumerate(zip(images, masks, strict=True)):
        try:
            results.append(_segmented(specialist, model, project.segments, path, target))
        except SemiSAMError as error:
            problems.append(error)
            text = f"{case_name(path)}: {error}"
        else:
            on_event({"event": "mask-ready", **results[-1]})
            text = f"{case_name(path)}: {target}"
        on_event({"event": "progress", "text": text, "fraction": (index + 1) / len(images), "seconds_left": None})
    return results, problems


def _segmented(
    specialist: Specialist, model: str, segments: Sequence[Segment], path: Path, target: Path
) -> dict[str, Any]:
    """Segment one image and write its mask; what there is to tell of it."""
    start = time.monotonic()
    image = read_image(path)
    working = to_working(image, specialist.plan)
    prediction = specialist.predict(working.voxels, working.geometry, image.geometry)
    write_mask(target, prediction.mask, segments)
    return {
        "image": str(path),
        "mask": str(target),
        "model": model,
        "confidence": round(prediction.confidence, 4),
        "volumes_ml": prediction.volumes_ml,
        "seconds": round(time.monotonic() - start, 2),
    }


def _labels(maps: Iterable[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Probabilities (k, j, i) of one segment after the other -> uint8 index of segment + 1, 0 where background is the
    likelier. All maps of many segments at once would not fit into the memory."""
    labels = np.zeros(shape, np.uint8)
    best, total, index = np.zeros(shape, np.float32), np.zeros(shape, np.float32), 0
    for probability in maps:
        index += 1
        labels[probability > best] = index
        np.maximum(best, probability, out=best)
        total += probability
        del probability  # neither this name nor enumerate() keeps it while the next one is made
    labels[best <= 1 - total] = 0
    return labels


def _entropy(probability: np.ndarray) -> np.ndarray:
    """(1 + segments, k, j, i) -> (k, j, i) entropy in bits, at most 1."""
    entropy = -(probability * np.log2(np.maximum(probability, 1e-6))).sum(0)
    return np.clip(entropy, 0, 1).astype(np.float32)
