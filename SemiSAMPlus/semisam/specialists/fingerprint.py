"""The data fingerprint: the few facts about a project's images and annotations that the plan depends on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from semisam.project import Project
from semisam.volumes import canonical

# Cases that are read in full for the fingerprint, spread evenly over the project; annotated ones come on top.
_SAMPLED_CASES = 8
# Below this value (Hounsfield units of air are -1000) an image with a wide range can only be CT.
_CT_MINIMUM = -200.0


@dataclass(frozen=True)
class Fingerprint:
    """Medians over the cases that were looked at; all triples are (k, j, i) in canonical (LPS) axes.

    foreground_mm  median size of the box round all segments, in mm
    foreground_ml  median volume of each segment by name; 0 where no whole annotation has it
    intensity      mean, std, low (0.5 %) and high (99.5 %) of foreground voxels; CT is normalized with them
    """

    cases: int
    annotated: int
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    foreground_mm: tuple[float, float, float]
    foreground_ml: dict[str, float]
    intensity: dict[str, float]
    modality: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def take_fingerprint(project: Project) -> Fingerprint:
    """Read the annotated and a few other cases. Raises VolumeError for a case that cannot be read."""
    names = sorted(project.cases)
    # Strokes and single slices do not show how large a structure is.
    finished = project.finished_cases()
    annotated = finished or project.training_cases()
    step = max(1, len(names) // _SAMPLED_CASES)
    looked_at = sorted(set(names[::step][:_SAMPLED_CASES]) | set(annotated[:_SAMPLED_CASES]))

    shapes, spacings, boxes, lows = [], [], [], []
    volumes: dict[str, list[float]] = {segment.name: [] for segment in project.segments}
    samples = []
    for name in looked_at:
        image = canonical(project.image(name))
        shapes.append(image.shape)
        spacings.append(image.spacing)
        lows.append(float(np.percentile(image.voxels, 0.5)))
        if name not in annotated:
            continue
        mask = canonical(project.annotation(name)).voxels
        found = np.nonzero(mask)
        if not len(found[0]):
            continue
        boxes.append(
            [(axis.max() - axis.min() + 1) * spacing for axis, spacing in zip(found, image.spacing, strict=True)]
        )
        samples.append(image.voxels[found][:: max(1, len(found[0]) // 20000)])
        if finished:
            for segment in project.segments:
                volumes[segment.name].append(float((mask == segment.value).sum() * np.prod(image.spacing) / 1000.0))

    shape = np.median(shapes, axis=0)
    spacing = np.median(spacings, axis=0)
    foreground = np.median(boxes, axis=0) if boxes else shape * spacing
    values = np.concatenate(samples) if samples else np.zeros(1, np.float32)
    return Fingerprint(
        cases=len(names),
        annotated=len(project.training_cases()),
        shape=_triple(shape, int),
        spacing=_triple(spacing, float),
        foreground_mm=_triple(foreground, float),
        foreground_ml={name: float(np.median(items)) if items else 0.0 for name, items in volumes.items()},
        intensity={
            "mean": float(values.mean()),
            "std": float(values.std() + 1e-6),
            "low": float(np.percentile(values, 0.5)),
            "high": float(np.percentile(values, 99.5)),
        },
        modality="CT" if samples and float(np.median(lows)) < _CT_MINIMUM else "MR or other",
    )


def _triple(values: np.ndarray, kind: type) -> tuple[Any, Any, Any]:
    first, second, third = (kind(round(value) if kind is int else value) for value in values)
    return first, second, third
