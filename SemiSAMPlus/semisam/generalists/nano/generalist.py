"""``nano``: the embedded promptable generalist. A small network, trained on procedural volumes only, ships with it.

It works like SAM, in three dimensions and in millimeters: ``encode`` keeps a reduced copy of the image and the features
of the whole volume; ``predict`` chooses a window in which the prompted object has a sensible size, encodes it unless it
is the whole volume, and decodes all prompts of a window together. A box or a mask says how large the object is. Clicks
alone do not: then the first window is 18 cm wide, the next the whole volume if the answer runs into the faces of the
first, and an object that turns out to be small is looked at again in a window of its own size. What was found
in a box is given back as a mask, once. For corrections, give all clicks and the previous answer as mask.

Weights and model card: Resources/Models/nano.safetensors and nano.json. See semisam.pretraining for how they are made.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from semisam.errors import GeneralistError
from semisam.generalists import windows
from semisam.generalists.base import Context, Embedding
from semisam.generalists.grids import robust_bounds
from semisam.generalists.nano.network import BOX, MASK, PROMPT_MAPS, Features, NanoNetwork, click_maps, normalize
from semisam.generalists.windows import Grid
from semisam.prompts import Prompts
from semisam.volumes import Volume

_VERSION = 3
_IMAGE_VOXELS = 4_000_000
_BATCH = 8
_FEATURES = ("fine", "middle", "coarse", "keys")
_FIRST_LOOK = 180.0
"""Side, mm, of the first window round clicks that come without a box or mask."""
_WIDEST_GAP = 16.0
"""Longest step between neighbors of 33 even quantiles, as a multiple of the median step; 9 in a normal distribution."""
_DETAIL = 2.0
"""Logits that a mask prompt counts for in details finer than the window's grid."""
_OUTSIDE = -12.0
"""Logit of voxels that no window shows."""


def weights_path() -> Path:
    """The shipped weights: beside the package in the repository, or inside it when it is installed."""
    beside = Path(__file__).resolve().parents[3] / "Resources" / "Models" / "nano.safetensors"
    if beside.exists():
        return beside
    return Path(str(resources.files("semisam"))) / "Resources" / "Models" / "nano.safetensors"


class Nano:
    """The generalist ``nano``; follows ``semisam.generalists.base.Generalist``. Ignores prompts' ``segment``.

    context  only the device is looked at ("cpu", "cuda", "auto", ...)
    weights  a safetensors file made by ``semisam pretrain``, or None for the shipped one

    Raises GeneralistError when the weights are missing or damaged.
    """

    name = "nano"

    def __init__(self, context: Context, weights: Path | None = None) -> None:
        from semisam.specialists.hardware import detect

        hardware = detect(context.device)
        self._device = torch.device(hardware.device)
        self._bfloat16 = hardware.bfloat16
        self._network, digest = load_network(weights or weights_path())
        self._network.to(self._device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.fingerprint = f"nano-{_VERSION}-{digest}"

    def encode(self, volume: Volume) -> Embedding:
        """Arrays ``image`` (k, j, i) float16, at most 4 million voxels, and the features of the whole volume."""
        grid = windows.volume_grid(volume.shape, volume.spacing)
        reduced = windows.reduced_grid(grid, _IMAGE_VOXELS)
        image = _scaled(windows.sample(np.asarray(volume.voxels), grid, reduced)).astype(np.float16)
        meta = {"shape": list(volume.shape), "spacing": list(volume.spacing), "image": asdict(reduced)}
        features = self._encode(image, reduced, windows.whole_window(grid), grid)
        arrays = {"image": image}
        for name in _FEATURES:
            arrays[name] = getattr(features, name)[0].float().cpu().numpy().astype(np.float16)
        return Embedding(arrays, meta)

    def predict(self, embedding: Embedding, prompts: Sequence[Prompts]) -> np.ndarray:
        """(n, k, j, i) float32 probabilities for the n prompts; prompts that name no object give zeros."""
        view = _View(embedding)
        answers = np.zeros((len(prompts), *view.grid.shape), np.float32)
        # Rounds: in each, every unfinished prompt has one window; prompts of a window are decoded together.
        searches = [_Search(view, prompt) for prompt in prompts]
        known: dict[Grid, Features] = {}
        while True:
            waiting: dict[Grid, list[_Search]] = defaultdict(list)
            for search in searches:
                if search.window is not None:
                    waiting[search.window].append(search)
            if not waiting:
                break
            known = {window: known.get(window) or self._features(view, window) for window in waiting}
            for window, group in waiting.items():
                features = known[window]
                for start in range(0, len(group), _BATCH):
                    part = group[start : start + _BATCH]
                    logits = self._decode(features, np.stack([search.maps() for search in part]))
                    for search, answer in zip(part, logits, strict=True):
                        search.receive(answer)
        for answer, search in zip(answers, searches, strict=True):
            search.write(answer)
        return answers

    def _features(self, view: _View, window: Grid) -> Features:
        if window != view.whole:
            return self._encode(view.image, view.image_grid, window, view.grid)
        image = view.normalized(window)
        dtype = torch.bfloat16 if self._bfloat16 else torch.float32
        stored = [torch.from_numpy(view.arrays[name])[None].to(self._device, dtype) for name in _FEATURES]
        return Features(image.to(self._device), *(_channels_last(item) for item in stored))

    def _encode(self, image: np.ndarray, image_grid: Grid, window: Grid, volume: Grid) -> Features:
        normalized = _normalized(image, image_grid, window, volume).to(self._device)
        with torch.inference_mode(), self._autocast():
            features: Features = self._network.encode(_channels_last(normalized))
        return features

    def _decode(self, features: Features, maps: np.ndarray) -> np.ndarray:
        """(n, k, j, i) float32 logits for prompt maps (n, PROMPT_MAPS, k, j, i)."""
        prompts = torch.from_numpy(maps).to(self._device)
        shared = Features(*(item.expand(len(maps), *item.shape[1:]) for item in features))
        with torch.inference_mode(), self._autocast():
            logits = self._network.decode(shared, prompts)
        return logits[:, 0].float().cpu().numpy()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16)


class _View:
    """An embedding unpacked: grids, image, features."""

    def __init__(self, embedding: Embedding) -> None:
        meta = embedding.meta
        self.arrays = embedding.arrays
        self.grid = windows.volume_grid(meta["shape"], meta["spacing"])
        stored = meta["image"]
        self.image_grid = Grid(tuple(stored["start"]), tuple(stored["step"]), tuple(stored["shape"]))
        self.image = embedding.arrays["image"]
        self.whole = windows.whole_window(self.grid)

    def normalized(self, window: Grid) -> torch.Tensor:
        return _normalized(self.image, self.image_grid, window, self.grid)


class _Search:
    """The way of one prompt from window to window.

    ``window`` is where to look next, None when there is an answer. ``maps`` are the decoder's input there, ``receive``
    takes its logits, ``write`` puts the final probabilities into an array of the volume's shape.
    """

    def __init__(self, view: _View, prompt: Prompts) -> None:
        if prompt.mask is not None and not (np.asarray(prompt.mask) > 0.5).any():
            prompt = replace(prompt, mask=None)  # an empty mask says nothing about the object
        self._view = view
        self._prompt = prompt
        self._positive = _points(prompt, 1) * view.grid.step
        self._previous: tuple[np.ndarray, Grid] | None = None
        self._answer: tuple[np.ndarray, Grid] | None = None
        self._ladder: list[Grid] = []
        extent = _extent(prompt, view.grid)
        self._final = extent is not None
        # Measured with nano_quality.py on two choices of cases: boxes +0.014 and +0.018, one click -0.002 and +0.018,
        # five clicks -0.012 and +0.001, good masks lose by every round. So boxes only.
        self._ask_again = prompt.box is not None and prompt.mask is None
        if extent is not None:
            self.window: Grid | None = windows.local_window(view.grid, *extent)
        elif len(self._positive):
            self._ladder = _ladder(view, self._positive)
            self.window = self._ladder.pop(0)
        else:
            self.window = None

    def maps(self) -> np.ndarray:
        """(PROMPT_MAPS, k, j, i) float32."""
        window, volume, prompt = self._current(), self._view.grid, self._prompt
        maps = np.zeros((PROMPT_MAPS, *window.shape), np.float32)
        inside = windows.in_view(window, volume)
        points = torch.from_numpy(window.index(np.asarray(prompt.points, float).reshape(-1, 3) * volume.step))
        labels = torch.from_numpy(np.asarray(prompt.labels).astype(np.int64).ravel())
        maps[:4] = click_maps(points[None], labels[None], window.shape)[0].numpy()
        if prompt.box is not None:
            within = np.ones(window.shape, bool)
            for axis in range(3):
                index = window.positions(axis) / volume.step[axis]
                flat = (index >= prompt.box[axis] - 0.5) & (index < prompt.box[axis + 3] - 0.5)
                within &= np.expand_dims(flat, tuple(other for other in range(3) if other != axis))
            maps[BOX] = np.where(within, 1.0, -1.0)
        if self._previous is not None:
            logits, grid = self._previous
            probability = _sigmoid(windows.sample(logits, grid, window)) * windows.in_view(window, grid)
            maps[MASK] = np.where(inside, 2 * probability - 1, -1)
        elif prompt.mask is not None:
            maps[MASK] = np.where(inside, 2 * windows.sample(np.asarray(prompt.mask), volume, window) - 1, -1)
        return maps

    def receive(self, logits: np.ndarray) -> None:
        window = self._current()
        logits = np.where(windows.in_view(window, self._view.grid), logits, _OUTSIDE)
        self._answer, self.window = (logits, window), None
        if not self._final:
            self.window = self._next_window(logits, window)
        if self.window is None and self._ask_again and (logits > 0).any():
            self._ask_again, self._final = False, True
            self._previous, self.window = self._answer, window

    def _next_window(self, logits: np.ndarray, window: Grid) -> Grid | None:
        """Clicks alone: climb until the object fits, then look at it in a window of its own size."""
        if self._ladder and not _fits(logits, window, self._view.grid):
            return self._ladder.pop(0)
        found = logits > 0
        if not found.any():
            return None
        lower, upper = (np.asarray(end) * window.step + window.start for end in robust_bounds(found))
        lower, upper = (np.minimum(lower, self._positive.min(0)), np.maximum(upper, self._positive.max(0)))
        closer = windows.local_window(self._view.grid, lower, upper)
        if closer.step[2] >= 0.8 * window.step[2]:
            return None
        self._previous, self._final = self._answer, True
        return closer

    def write(self, answer: np.ndarray) -> None:
        """Interpolate the logits to the voxels of the volume (zeros outside the window)."""
        if self._answer is None:
            return
        logits, window = self._answer
        region, matrices = [], []
        for axis in range(3):
            positions, step = self._view.grid.positions(axis), window.step[axis]
            first, last = window.start[axis] - 0.5 * step, window.start[axis] + (window.shape[axis] - 0.5) * step
            inside = np.flatnonzero((positions >= first) & (positions <= last))
            if inside.size == 0:
                return
            region.append(slice(int(inside[0]), int(inside[-1]) + 1))
            matrices.append(windows.axis_matrix(window, self._view.grid, axis)[region[-1]])
        fine = torch.from_numpy(windows.multiply(logits.astype(np.float32), matrices))
        if self._prompt.mask is not None:
            # What of the mask was too fine for the window survives where the network is not sure of the contrary.
            mask = np.asarray(self._prompt.mask)
            coarse = windows.multiply(windows.sample(mask, self._view.grid, window), matrices)
            fine += 2 * _DETAIL * torch.from_numpy(mask[tuple(region)].astype(np.float32) - coarse)
        answer[tuple(region)] = fine.sigmoid_().numpy()

    def _current(self) -> Grid:
        if self.window is None:
            raise ValueError("This prompt has its answer already.")
        return self.window


def load_network(path: Path) -> tuple[NanoNetwork, str]:
    """The network of a safetensors file, without gradient, and a digest of the file. Raises GeneralistError."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise GeneralistError(
            f'The weights of nano are missing ("{path}"): install SemiSAM+ again, or make them with semisam pretrain.'
        )
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
            card = json.loads((file.metadata() or {})["nano"])
        network = NanoNetwork(card["widths"])
        network.load_state_dict(tensors)
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise GeneralistError(
            f'The weights of nano in "{path}" are damaged or of another version ({error}): install SemiSAM+ again.'
        ) from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return network.eval().requires_grad_(False), digest


def _scaled(image: np.ndarray) -> np.ndarray:
    """Zero mean, unit deviation, clipped to what float16 and the windows' own normalization can use."""
    image = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    sample = image.ravel()[:: max(1, image.size // 200_000)]
    low, high = np.quantile(sample, (0.0005, 0.9995))
    clipped = np.clip(image, low, high)
    deviation = float(clipped.std())
    return (clipped - clipped.mean()) / deviation if deviation > 0 else np.zeros_like(clipped)


def _normalized(image: np.ndarray, image_grid: Grid, window: Grid, volume: Grid) -> torch.Tensor:
    """(1, 1, k, j, i) float32 network input for a window."""
    values, view = windows.sample(image, image_grid, window), windows.in_view(window, volume)
    values = _without_gaps(values, values[view])
    return normalize(torch.from_numpy(values), torch.from_numpy(view))[None, None]


def _without_gaps(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Narrow gaps in the histogram of ``seen``, order kept: between air and tissue in CT lie 900 units and no voxel,
    and beside them the differences between organs would vanish. Ordinary histograms stay as they are."""
    levels = np.quantile(seen[:: max(1, seen.size // 8000)], np.linspace(0.005, 0.995, 33))
    widths = np.diff(levels)
    filled = widths[widths > 1e-4 * (levels[-1] - levels[0])]
    if len(filled) == 0:
        return values
    widened = np.minimum(widths, _WIDEST_GAP * np.median(filled))
    narrowed = np.concatenate([[0.0], np.cumsum(widened)])
    kept = np.concatenate([[True], np.diff(levels) > 0])
    return np.interp(values, levels[kept], narrowed[kept]).astype(np.float32)


def _extent(prompt: Prompts, grid: Grid) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper corner (mm) of what a mask or box says the object spans, clicks included; None without either.

    A mask has voxels above 0.5 here."""
    corners: list[np.ndarray] = []
    if prompt.mask is not None:
        corners += list(robust_bounds(np.asarray(prompt.mask) > 0.5))
    if prompt.box is not None:
        corners += [np.asarray(prompt.box[:3], float), np.asarray(prompt.box[3:], float) - 1]
    if not corners:
        return None
    corners += list(_points(prompt, 1))
    limit = np.asarray(grid.shape) - 1
    stacked = np.clip(np.stack(corners), 0, limit)
    step = np.asarray(grid.step)
    return (stacked.min(0) - 0.5) * step, (stacked.max(0) + 0.5) * step


def _points(prompt: Prompts, label: int) -> np.ndarray:
    points = np.asarray(prompt.points, float).reshape(-1, 3)
    return points[np.asarray(prompt.labels).ravel() == label]


def _ladder(view: _View, positive: np.ndarray) -> list[Grid]:
    """Windows round the positive clicks (mm): the part of a body that holds most organs, then the whole volume."""
    center = 0.5 * (positive.min(0) + positive.max(0))
    spread = positive.max(0) - positive.min(0)
    # local_window adds context round an object, so the window's side becomes about 1.8 times this extent.
    half = 0.5 * np.maximum(_FIRST_LOOK / 1.8, 1.3 * spread)
    return list(dict.fromkeys([windows.local_window(view.grid, center - half, center + half), view.whole]))


def _fits(logits: np.ndarray, window: Grid, volume: Grid) -> bool:
    """Whether an answer lies inside its window instead of running into those faces that are not the volume's own."""
    found = logits > 0
    if not found.any() or found.mean() > 0.4:
        return False
    for axis in range(3):
        low = window.start[axis] > window.step[axis]
        high = window.positions(axis)[-1] < (volume.shape[axis] - 1) * volume.step[axis] - window.step[axis]
        for open_face, index in ((low, 0), (high, -1)):
            if open_face and found.take(index, axis).mean() > 0.03:
                return False
    return True


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return torch.sigmoid(torch.from_numpy(np.ascontiguousarray(logits, np.float32))).numpy()


def _channels_last(features: torch.Tensor) -> torch.Tensor:
    return features.contiguous(memory_format=torch.channels_last_3d)
