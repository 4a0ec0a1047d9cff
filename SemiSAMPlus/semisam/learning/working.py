"""Working copies: every case on the plan's grid, normalized, in a memory-mapped cache.

The annotation of a case is opened here and only for cases that the project releases for training; nothing else in
``learning`` can reach an annotation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from semisam.files.atomic import remove_orphans, replacing, write_json
from semisam.learning.grown import grown
from semisam.project import Project
from semisam.project.files import discard
from semisam.project.image_version import image_version
from semisam.specialists.plan import Plan
from semisam.volumes import Geometry, Volume, canonical, resample_image, resample_mask, working_geometry


def normalize(voxels: np.ndarray, plan: Plan) -> np.ndarray:
    """Zero mean and unit variance, (k, j, i) float32. CT with the project's foreground statistics, since Hounsfield
    units mean something; everything else by its own percentiles, since its scale is arbitrary."""
    voxels = voxels.astype(np.float32)
    if plan.modality == "CT":
        values = plan.intensity
        return (np.clip(voxels, values["low"], values["high"]) - values["mean"]) / values["std"]
    low, high = np.percentile(voxels, (0.5, 99.5))
    voxels = np.clip(voxels, low, high)
    return (voxels - voxels.mean()) / (voxels.std() + 1e-6 * max(1.0, abs(float(high))))


def to_working(image: Volume, plan: Plan) -> Volume:
    """The image on the working grid in canonical axes, normalized, float32."""
    image = canonical(image)
    geometry = working_geometry(image.geometry, plan.working_spacing)
    return Volume(normalize(resample_image(image, geometry), plan), geometry)


UNKNOWN = 255
"""In labels: a voxel of which nobody has said what it is."""
# From this part of a working voxel on, what is known of it decides: a stroke may be thinner than a coarse voxel.
_KNOWN = 0.1


@dataclass(frozen=True)
class WorkingCase:
    """One case as training sees it: image (k, j, i) float16 and, if annotated, labels (k, j, i) uint8.

    Labels are indices into the plan's segments, 1 for the first; 0 is background, UNKNOWN where a partial annotation
    says nothing. ``original`` is the geometry of the image file, to which every mask goes back. ``read`` reads the
    image as it is in its file.
    """

    name: str
    image: np.ndarray
    geometry: Geometry
    original: Geometry
    labels: np.ndarray | None
    read: Callable[[], Volume] | None = None

    @property
    def volume(self) -> Volume:
        """For the generalists: the normalized image with its geometry."""
        return Volume(np.asarray(self.image, np.float32), self.geometry)

    def raw(self) -> Volume:
        """The image on the working grid with the intensities of its file, float32; read anew each time."""
        if self.read is None:
            return self.volume
        return Volume(resample_image(self.read(), self.geometry), self.geometry)


class WorkingSet:
    """All cases of a project. ``refresh`` notices annotations and cases that came or went."""

    def __init__(self, project: Project, plan: Plan) -> None:
        self._project = project
        self._plan = plan
        self._folder = _folder(project)
        self._cases: dict[str, WorkingCase] = {}
        self._revisions: dict[str, str] = {}  # hash of each annotation file
        # Those with a partial annotation are in the first and the last: they are learned from, and completed.
        self.annotated: list[str] = []
        self.complete: list[str] = []
        self.unannotated: list[str] = []
        self.refresh()

    def __getitem__(self, name: str) -> WorkingCase:
        if name not in self._cases:
            self._cases[name] = self._make(name)
        return self._cases[name]

    @property
    def revisions(self) -> dict[str, str]:
        """The hash of the annotation of each annotated case."""
        return dict(self._revisions)

    @property
    def gone(self) -> bool:
        """Whether a case has been removed from the project since ``refresh`` looked."""
        self._project.reload()
        return not self._project.cases.keys() >= {*self.annotated, *self.unannotated}

    def refresh(self) -> bool:
        """Look at the project again; True when the annotations to learn from have changed."""
        self._project.reload()
        names = self._project.training_cases()
        revisions = {}
        for name in names:
            record = self._project.cases[name].annotation
            revisions[name] = record.sha256 if record else ""
        changed = revisions != self._revisions
        for name in [name for name in self._cases if name not in self._project.cases]:
            del self._cases[name]
        for name in set(self._revisions) - set(revisions):
            if name in self._cases:
                case = self._cases[name]
                self._cases[name] = replace(case, labels=None)
        for name, revision in revisions.items():
            if self._revisions.get(name) != revision:
                case = self[name]
                self._cases[name] = replace(case, labels=self._labels(case))
        self._revisions = revisions
        self.annotated = sorted(names)
        self.complete = sorted(self._project.finished_cases())
        self.unannotated = sorted(set(self._project.cases) - set(self.complete))
        return changed

    def is_single(self, label: int) -> bool:
        """Whether this segment is in one piece in every whole annotation, of which there is at least one (crumbs of
        less than 5 % do not count)."""
        for name in self.complete:
            labels = self[name].labels
            assert labels is not None
            sizes = np.bincount(ndimage.label(labels == label)[0].ravel())[1:]
            if len(sizes) > 1 and sizes.max() < 0.95 * sizes.sum():
                return False
        return bool(self.complete)

    def is_always_there(self, label: int) -> bool:
        """Whether every whole annotation shows this segment."""
        return all(bool(np.any(self[name].labels == label)) for name in self.complete)

    def _labels(self, case: WorkingCase) -> np.ndarray:
        values = [segment.value for segment in self._project.segments]
        annotation, known = self._project.annotation_and_known(case.name)
        if known is not None:
            drawn = _partial_labels(annotation, known, case.geometry, values)
            return grown(case.volume, drawn, len(values), UNKNOWN)
        mask = resample_mask(canonical(annotation), case.geometry, values)
        index = np.zeros(256, np.uint8)
        index[values] = np.arange(1, len(values) + 1)
        return index[mask]

    def _make(self, name: str) -> WorkingCase:
        path = self._folder / f"{name}-{_key(self._project.case(name).image, self._plan)}.npy"
        beside = path.with_suffix(".json")
        read = partial(self._project.image, name)
        try:
            data = json.loads(beside.read_text("utf-8"))
            geometry, original = (_geometry(data[key]) for key in ("working", "original"))
            image = np.load(path, mmap_mode="r")
            if image.shape == geometry.shape:
                return WorkingCase(name, image, geometry, original, None, read)
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            pass  # not there, or cut short by a kill: made anew
        volume = read()
        working = to_working(volume, self._plan)
        image = working.voxels.astype(np.float16)
        with suppress(OSError):  # a full disk: it stays in memory, and is made anew the next time
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, open(temporary, "wb") as file:
                np.save(file, image)
            write_json(beside, {"working": asdict(working.geometry), "original": asdict(volume.geometry)})
        return WorkingCase(name, image, working.geometry, volume.geometry, None, read)


def clear_outdated(project: Project, plan: Plan) -> None:
    """Remove the working copies that no case has any more: those of other plans, images and cases, and of kills."""
    folder = _folder(project)
    remove_orphans(folder)
    images = [case.image for case in project.cases.values()]
    if not all(image.exists() for image in images):
        return  # a drive that is away for the moment may come back
    keys = {_key(image, plan) for image in images}
    for path in folder.glob("[!.]*"):
        if path.stem.rpartition("-")[2] not in keys:
            discard(path)


def _folder(project: Project) -> Path:
    return project.cache_dir / "working"


def _key(image: Path, plan: Plan) -> str:
    """Changes with the files of the image and with everything in the plan that the working copy depends on."""
    settings = (plan.working_spacing, plan.modality, sorted(plan.intensity.items()))
    return hashlib.blake2b(repr((image_version(image), settings)).encode(), digest_size=8).hexdigest()


def _partial_labels(mask: Volume, known: np.ndarray, geometry: Geometry, values: list[int]) -> np.ndarray:
    """Labels of a partial annotation on the working grid: of what is known of a voxel, the largest share wins."""
    labels = np.zeros(geometry.shape, np.uint8)
    best = np.zeros(geometry.shape, np.float32)
    total = np.zeros(geometry.shape, np.float32)
    for label, value in enumerate([0, *values]):
        marked = ((mask.voxels == value) & known).astype(np.float32)
        if marked.any():
            share = resample_image(canonical(Volume(marked, mask.geometry)), geometry)
            labels[share > best] = label
            best = np.maximum(best, share)
            total += share
    labels[total < _KNOWN] = UNKNOWN
    return labels


def _geometry(data: dict[str, list[float]]) -> Geometry:
    parts = (tuple(data[key]) for key in ("shape", "spacing", "origin", "direction"))
    return Geometry(*parts)  # type: ignore[arg-type]
