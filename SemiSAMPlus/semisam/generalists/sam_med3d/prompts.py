"""What SAM-Med3D is told: clicks one after the other, and a coarse mask, for each prompt and tile.

The network was trained with one new click at a time beside the mask logits of its last answer, so several clicks are
given in turn. It knows no boxes: a box becomes a mask, the ellipsoid in it, and a click in its middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semisam.generalists.grids import robust_bounds
from semisam.generalists.sam_med3d.frame import Frame, Tile
from semisam.prompts import THRESHOLD, Prompts

# Beyond this many clicks another one changes nothing that counts; with a mask, three are enough.
_CLICKS, _INSIDE_MASK, _OUTSIDE_MASK = 10, 2, 1
# Probabilities of mask prompts are kept within these limits: logits of about -4.6 and 4.6.
_SUREST = 0.99


@dataclass(frozen=True)
class Told:
    """A prompt in a tile. points (n, 3) in its voxels, labels (n,), logits of the coarse mask or None."""

    points: np.ndarray
    labels: np.ndarray
    mask: np.ndarray | None


class Telling:
    """One prompt, on its way to the network.

    ``tiles`` are those to look at; none when the prompt names no object.
    """

    def __init__(self, prompt: Prompts, frame: Frame) -> None:
        self._frame = frame
        points = np.asarray(prompt.points, float).reshape(-1, 3)
        labels = np.asarray(prompt.labels).astype(int).ravel()
        mask = None if prompt.mask is None else np.asarray(prompt.mask, np.float32)
        self._mask = mask if mask is not None and (mask > THRESHOLD).any() else None
        reach = []
        if self._mask is not None:
            reach += list(robust_bounds(self._mask > THRESHOLD))
        elif prompt.box is not None:
            lower, upper = np.asarray(prompt.box[:3], float), np.asarray(prompt.box[3:], float)
            reach += [lower, np.maximum(upper - 1, lower)]
            if not (labels == 1).any():
                points, labels = np.vstack([points, (lower + upper - 1) / 2]), np.append(labels, 1)
        if self._mask is not None:
            keep = np.sort(np.concatenate([_last(labels == 1, _INSIDE_MASK), _last(labels == 0, _OUTSIDE_MASK)]))
        else:
            keep = np.arange(min(len(labels), _CLICKS))
        inside = points[labels == 1]
        self._points, self._labels = frame.indices(points[keep]), labels[keep]
        self._box = None if prompt.box is None else np.asarray(prompt.box, float)
        self.tiles: list[Tile] = []
        if reach or len(inside):
            ends = frame.indices(np.vstack([*reach, inside]) if reach else inside)
            self.tiles = frame.tiles(ends.min(0), ends.max(0))

    def told(self, tile: Tile) -> Told | None:
        """What the network is told in a tile; None when nothing of the object is said to be there."""
        local = self._points - tile
        within = ((local > -0.5) & (local < self._frame.side - 0.5)).all(1)
        mask = self._seen(tile)
        if mask is not None and not (mask > 0).any() and len(self.tiles) > 1:
            mask = None
        points, labels = local[within], self._labels[within]
        if mask is None and not (labels == 1).any():
            return None
        return Told(points.astype(np.float32), labels, mask)

    def _seen(self, tile: Tile) -> np.ndarray | None:
        grid = self._frame.mask_grid(tile)
        if self._mask is not None:
            probability = self._frame.seen(tile, self._mask)
            if self._box is not None:
                probability = probability * (self._from_box(grid.shape, tile) < 1.5)
        elif self._box is not None:
            distance = self._from_box(grid.shape, tile, ball=True)
            probability = 1 / (1 + np.exp(np.clip(6 * (distance - 0.9), -20, 20)))
        else:
            return None
        probability = np.clip(probability, 1 - _SUREST, _SUREST)
        return np.log(probability / (1 - probability)).astype(np.float32)

    def _from_box(self, shape: tuple[int, int, int], tile: Tile, ball: bool = False) -> np.ndarray:
        """How far out the cells of a tile's mask are: 0 in the middle of the box, 1 on its faces (or its ellipsoid)."""
        assert self._box is not None
        ends = self._frame.indices(np.stack([self._box[:3] - 0.5, self._box[3:] - 0.5]))
        lower, upper = ends.min(0) - tile, ends.max(0) - tile
        cell = self._frame.side / shape[0]
        axes = []
        for axis in range(3):
            position = (np.arange(shape[axis]) + 0.5) * cell - 0.5
            middle, half = (lower[axis] + upper[axis]) / 2, max((upper[axis] - lower[axis]) / 2, cell / 2)
            axes.append(np.abs(position - middle) / half)
        x, y, z = axes[0][:, None, None], axes[1][:, None], axes[2]
        return np.sqrt(x**2 + y**2 + z**2) if ball else np.maximum(np.maximum(x, y), z)


def _last(which: np.ndarray, count: int) -> np.ndarray:
    return np.flatnonzero(which)[-count:]
