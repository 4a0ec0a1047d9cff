"""Pre-training of `nano` on procedural worlds: resumable, in the background, with one core or with a GPU.

Each step encodes a few fresh volumes once and decodes them twice: for a first prompt, and then either for a correction
(one or two clicks on the errors, with the first answer as mask) or for a fresh prompt on another object of the same
volume. The grid grows in stages, because small grids show many more worlds in the same time. The schedule follows the
elapsed time (``minutes``) or the number of ``steps``; with steps, and in float32, a resumed run ends in the very same
weights as one that was never interrupted.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from semisam.errors import TrainingError
from semisam.files.atomic import replacing, write_text
from semisam.generalists.nano.generalist import load_network
from semisam.generalists.nano.network import NanoNetwork
from semisam.pretraining.batches import Sample, make_sample, prompt_maps
from semisam.pretraining.pool import WorldPool
from semisam.pretraining.prompt_simulation import add_correction, first_prompts

logger = logging.getLogger(__name__)

SCHEMA = 1
CHECKPOINT, STATE, WEIGHTS, LOG = "checkpoint.safetensors", "checkpoint.json", "nano.safetensors", "log.jsonl"


@dataclass(frozen=True)
class Stage:
    """Until the share ``until`` of the schedule: cubes of ``size`` voxels, ``batch`` of them a step."""

    until: float
    size: int
    batch: int


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run learns, besides its seed and length.

    ``bfloat16`` halves the time on CPUs that have it. There its weight gradients differ in the last bit from run to
    run; without it a run on a CPU can be repeated exactly.
    """

    world_size: int = 48
    stages: tuple[Stage, ...] = (Stage(0.30, 24, 8), Stage(0.68, 32, 6), Stage(1.0, 40, 4))
    widths: tuple[int, int, int] = (32, 64, 112)
    learning_rate: float = 1.5e-3
    final_share: float = 0.02
    warmup_steps: int = 80
    decay_from: float = 0.3
    weight_decay: float = 1e-4
    ema: float = 0.996
    pool: int = 512
    samples_per_world: int = 3
    another_object: float = 0.45
    bfloat16: bool = True

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """What ``asdict`` made, also after a way through JSON."""
        stages = tuple(Stage(**stage) for stage in data["stages"])
        return cls(**{**data, "stages": stages, "widths": tuple(data["widths"])})


CONTINUED = Recipe(stages=(Stage(0.45, 32, 6), Stage(1.0, 40, 4)), learning_rate=1e-3, decay_from=0.1)
"""For a network that was trained before: no small grids any more, and a learning rate that falls from the start."""


def pretrain(
    output: str | Path,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    resume: bool = False,
    *,
    start_from: Path | None = None,
    workers: int = 1,
    threads: int = 1,
    device: str = "cpu",
    recipe: Recipe | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoint_every: float = 120.0,
) -> dict[str, Any]:
    """Train `nano` from scratch, or go on, and keep the averaged weights in ``output``/nano.safetensors (float16).

    output            folder of the run: checkpoint.safetensors + checkpoint.json (everything that a resumed run
                      needs), nano.safetensors (the weights to ship, written with every checkpoint), log.jsonl
    minutes | steps   length of the whole run, earlier parts included; give one of the two
    seed              of weights, worlds and prompts
    resume            go on from the checkpoint in ``output`` instead of starting anew
    start_from        weights of an earlier run (nano.safetensors) to begin with; without a ``recipe`` it is then that
                      of a network that knows the small grids already
    workers, threads  processes that make volumes, threads of the training itself
    on_event          gets {"event": "progress", "fraction", "seconds_left", "text"} and {"event": "metrics", ...}
    should_stop       asked after every step; a run that is stopped can be resumed
    checkpoint_every  seconds between checkpoints

    Returns {"steps", "samples", "seconds", "loss", "weights", "stopped"}. Raises TrainingError when the options do not
    fit together or ``output`` holds no (or another) run to resume.
    """
    if (minutes is None) == (steps is None):
        raise TrainingError("Say how long to pre-train: give either minutes or steps.")
    if (minutes is not None and minutes <= 0) or (steps is not None and steps <= 0):
        raise TrainingError("The length of the pre-training must be greater than zero.")
    torch.set_num_threads(threads)
    if resume and start_from is not None:
        raise TrainingError("A run that is resumed has its weights already: give either --resume or --start-from.")
    folder = Path(output)
    if resume:
        run = _Run.load(folder, seed, recipe, torch.device(device))
    elif (folder / CHECKPOINT).exists():
        raise TrainingError(
            f'The folder "{folder}" already holds a run: go on with --resume, or choose another folder.'
        )
    else:
        run = _Run(folder, seed, recipe or (Recipe() if start_from is None else CONTINUED), torch.device(device))
        if start_from is not None:
            run.start_from(start_from)
    emit = on_event or (lambda event: None)
    started, before, last_saved = time.monotonic(), run.seconds, time.monotonic()
    stopped = False
    with WorldPool(seed, run.recipe.world_size, run.recipe.pool, run.worlds_needed(), workers) as pool:
        while True:
            run.seconds = before + time.monotonic() - started
            fraction = run.step / steps if steps is not None else run.seconds / (60 * (minutes or 1))
            if fraction >= 1 or stopped:
                break
            run.train_step(pool, fraction)
            if run.step % 20 == 0:
                _report(run, fraction, emit)
            if time.monotonic() - last_saved > checkpoint_every:
                run.save()
                last_saved = time.monotonic()
            stopped = should_stop is not None and should_stop()
    run.save()
    return {
        "steps": run.step,
        "samples": run.samples,
        "seconds": round(run.seconds, 1),
        "loss": run.loss,
        "weights": str(run.folder / WEIGHTS),
        "stopped": stopped,
    }


class _Run:
    """State of one run: network, averaged network, optimizer, counters."""

    def __init__(self, folder: Path, seed: int, recipe: Recipe, device: torch.device) -> None:
        self.folder, self.seed, self.recipe, self.device = folder, seed, recipe, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = NanoNetwork(recipe.widths).to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
        )
        self.step = self.samples = 0
        self.seconds = self.loss = 0.0
        self.started_from = ""  # digest of the weights that the run began with
        self.recent: list[dict[str, float]] = []

    def worlds_needed(self) -> int:
        return 32 + self.samples // self.recipe.samples_per_world

    def train_step(self, pool: WorldPool, fraction: float) -> None:
        stage = next(stage for stage in self.recipe.stages if fraction < stage.until)
        rng = np.random.default_rng([self.seed, 1, self.step])
        batch = list(self._draw(rng, pool, stage))
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(fraction)
        images = torch.stack([sample.image for sample in batch])[:, None].to(self.device)
        prompts = [
            first_prompts(rng, sample.targets[0], sample.image, _other(sample, sample.targets[0])) for sample in batch
        ]
        targets = [sample.targets[0] for sample in batch]
        with self._autocast():
            features = self.network.encode(images)
            first = self.network.decode(features, prompt_maps(prompts, stage.size).to(self.device))
        first_loss, first_dice = _loss(first, torch.stack(targets)[:, None].to(self.device))
        answers = torch.sigmoid(first.detach()[:, 0]).float().cpu()
        corrected = np.zeros(len(batch), bool)
        for number, sample in enumerate(batch):
            if len(sample.targets) > 1 and rng.random() < self.recipe.another_object:
                targets[number] = sample.targets[1]
                prompts[number] = first_prompts(rng, targets[number], sample.image, _other(sample, targets[number]))
                continue
            corrected[number] = True
            add_correction(rng, prompts[number], answers[number], targets[number])
            if rng.random() < 0.4:
                add_correction(rng, prompts[number], answers[number], targets[number])
            prompts[number].box = prompts[number].box if rng.random() < 0.5 else None
            prompts[number].mask = answers[number]
        with self._autocast():
            second = self.network.decode(features, prompt_maps(prompts, stage.size).to(self.device))
        second_loss, second_dice = _loss(second, torch.stack(targets)[:, None].to(self.device))
        loss = first_loss + second_loss
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
        self.step += 1
        self.samples += len(batch)
        self._update_average()
        self.recent.append(
            {
                "loss": float(loss.detach()) / 2,
                "dice_first": float(first_dice.mean()),
                "dice_corrected": float(second_dice[corrected].mean()) if corrected.any() else float("nan"),
            }
        )
        self.loss = self.recent[-1]["loss"]

    def _draw(self, rng: np.random.Generator, pool: WorldPool, stage: Stage) -> Iterator[Sample]:
        worlds = pool.advance(self.worlds_needed())
        found = 0
        while found < stage.batch:
            sample = make_sample(rng, pool[int(rng.integers(worlds.start, worlds.stop))], stage.size)
            if sample is not None:
                found += 1
                yield sample

    def _learning_rate(self, fraction: float) -> float:
        recipe = self.recipe
        warmup = min(1.0, (self.step + 1) / recipe.warmup_steps)
        decay = 1 - max(0.0, fraction - recipe.decay_from) / (1 - recipe.decay_from)
        return recipe.learning_rate * warmup * max(recipe.final_share, decay)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16)

    def _update_average(self) -> None:
        keep = min(self.recipe.ema, 1 - 1 / (0.3 * self.step + 1))
        with torch.no_grad():
            for averaged, current in zip(self.average.parameters(), self.network.parameters(), strict=True):
                averaged.lerp_(current, 1 - keep)

    def save(self) -> None:
        """Write the checkpoint (tensors and counters), the weights to ship, and the counters for people to read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"model.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        counters: dict[str, Any] = {
            "step": self.step,
            "samples": self.samples,
            "seconds": round(self.seconds, 3),
            "loss": self.loss,
            "started_from": self.started_from,
        }
        identity = {"schema": SCHEMA, "seed": self.seed, "recipe": asdict(self.recipe)}
        text = json.dumps({**identity, **counters}, indent=2)
        _write_tensors(self.folder / CHECKPOINT, tensors, {"state": text})
        weights = {name: value.half() for name, value in self.average.state_dict().items()}
        card = {**identity, **counters, "widths": self.recipe.widths}
        _write_tensors(self.folder / WEIGHTS, weights, {"nano": json.dumps(card)})
        write_text(self.folder / STATE, text)

    def start_from(self, weights: Path) -> None:
        """Begin with the weights of an earlier run. Raises GeneralistError for a file that is missing or damaged."""
        earlier, digest = load_network(weights)
        if earlier.widths != tuple(self.recipe.widths):
            raise TrainingError(f'The network in "{weights}" has the widths {earlier.widths}, not those of the recipe.')
        self.network.load_state_dict(earlier.state_dict())
        self.average.load_state_dict(earlier.state_dict())
        self.started_from = digest

    @classmethod
    def load(cls, folder: Path, seed: int, recipe: Recipe | None, device: torch.device) -> _Run:
        """The run in ``folder``, with its own recipe, of which ``recipe`` must be an equal if it is given."""
        try:
            with safe_open(folder / CHECKPOINT, "pt") as file:
                state = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except FileNotFoundError:
            raise TrainingError(f'There is no run to resume in "{folder}": start it without --resume.') from None
        except (ValueError, KeyError, TypeError, SafetensorError) as error:
            raise TrainingError(f'The checkpoint in "{folder}" is damaged ({error}): start a new run.') from error
        if state.get("schema") != SCHEMA:
            raise TrainingError(f'The checkpoint in "{folder}" was written by another version of this program.')
        own = Recipe.from_dict(state["recipe"])
        if state["seed"] != seed or (recipe is not None and recipe != own):
            raise TrainingError(
                f'The run in "{folder}" has another seed (it is {state["seed"]}) or recipe: resume it with the same '
                "options, or start a new run in another folder."
            )
        run = cls(folder, seed, own, device)
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
        for name, value in tensors.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = value
        run.network.load_state_dict(groups["model"])
        run.average.load_state_dict(groups["average"])
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in groups["optimizer"].items():
            index, _, slot = name.partition(".")
            slots.setdefault(int(index), {})[slot] = value
        run.optimizer.load_state_dict({**run.optimizer.state_dict(), "state": slots})
        run.step, run.samples = int(state["step"]), int(state["samples"])
        run.seconds, run.loss = float(state["seconds"]), float(state["loss"])
        run.started_from = str(state.get("started_from", ""))
        return run


def _other(sample: Sample, target: Tensor) -> Tensor | None:
    """An object of the sample besides ``target``, for masks that drift."""
    for candidate in sample.targets:
        if candidate is not target:
            return candidate & ~target
    return None


def _loss(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Soft Dice + balanced cross-entropy, and the Dice of the thresholded answer of each item."""
    truth = target.float()
    axes = (1, 2, 3, 4)
    probability = torch.sigmoid(logits)
    volume = probability.sum(axes) + truth.sum(axes)
    soft_dice = 1 - (2 * (probability * truth).sum(axes) + 10) / (volume + 10)
    balance = 1 / (6 * truth.mean(axes, keepdim=True) + 0.15)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none") * balance
    with torch.no_grad():
        answer = logits > 0
        hard_dice = 2 * (answer & target).sum(axes) / (answer.sum(axes) + target.sum(axes)).clamp_min(1)
    return soft_dice.mean() + 0.5 * entropy.mean(), hard_dice.float().cpu()


def _report(run: _Run, fraction: float, emit: Callable[[dict[str, Any]], None]) -> None:
    line: dict[str, Any] = {
        "seconds": round(run.seconds, 1),
        "step": run.step,
        "samples": run.samples,
        "worlds": run.worlds_needed(),
        "learning_rate": run.optimizer.param_groups[0]["lr"],
    }
    line |= {name: round(float(np.nanmean([item[name] for item in run.recent])), 4) for name in run.recent[0]}
    run.recent.clear()
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOG).open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    emit({"event": "metrics", **line})
    left = run.seconds * (1 - fraction) / max(fraction, 1e-6)
    text = f"step {run.step}: loss {line['loss']:.3f}, Dice {line['dice_first']:.3f} then {line['dice_corrected']:.3f}"
    emit({"event": "progress", "fraction": fraction, "seconds_left": left, "text": text})


def _write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with replacing(path) as partial:
        save_file(plain, partial, metadata)
        partial.chmod(0o644)  # safetensors makes files that only their owner can read
