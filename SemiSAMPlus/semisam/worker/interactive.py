"""Interactive segmentation: encode an image once, then answer clicks, boxes and masks, each within a moment.

``PromptService`` is what the worker and the command ``semisam prompt`` share. It keeps images and embeddings in
memory, the least recently used ones going first, and embeddings of a project also in its cache on disk.

Generalists see an image on a *working grid* of at most ``WORKING_VOXELS`` voxels (the image's own, if it is small
enough), and only the neighborhood of the object they find is interpolated back to the image: on a full-size CT this
is the difference between a moment and seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semisam.errors import UsageError
from semisam.generalists import weights
from semisam.generalists.base import Context, Embedding, Generalist
from semisam.generalists.examples import ProjectExamples
from semisam.generalists.grids import affordable_geometry
from semisam.generalists.registry import create
from semisam.kept import Kept
from semisam.project.image_version import image_version
from semisam.project.outputs import check_output
from semisam.segments import Segment, default_color
from semisam.volumes import Geometry, Volume, resample_image
from semisam.worker.interactive_grids import (
    everything,
    numbers,
    on_image,
    part_of,
    within,
    working_prompts,
    writable,
    write_object,
)
from semisam.worker.protocol import DEFAULT_GENERALIST

if TYPE_CHECKING:
    from semisam.generalists.cache import EmbeddingCache
    from semisam.project import Project

MEMORY_BYTES = 1 << 30
WORKING_VOXELS = 4_000_000
THRESHOLD = 0.5


@dataclass(frozen=True)
class Subject:
    """Which image, and who looks at it."""

    image: Path
    generalist: str = DEFAULT_GENERALIST


@dataclass(frozen=True)
class PromptRequest:
    """The prompts of a person for one object in one image.

    points     [[k, j, i], ...] voxel indices in the image file's own axis order
    labels     1 inside the object, 0 outside, one for each point
    box        (k0, j0, i0, k1, j1, i1), half-open
    mask       file with a first mask (not 0 = object) or probabilities, on the grid of the image or a part of it
    segment    name of the project's segment that is meant; generalists that learn from examples want to know
    threshold  voxels with at least this probability belong to the object
    extent     what ``output`` covers: "image", or "region", the box around the object
    output     where the mask goes (1 = object); .nrrd is fastest
    """

    subject: Subject
    output: Path
    points: Sequence[Sequence[float]] = ()
    labels: Sequence[int] = ()
    box: Sequence[float] | None = None
    mask: Path | None = None
    segment: str | None = None
    threshold: float = THRESHOLD
    extent: str = "image"


@dataclass(frozen=True)
class Encoded:
    """The answer to ``encode``.

    shape, spacing, origin, direction  the grid of the image, as in ``Geometry``
    source   where the embedding came from: "memory", "disk" or "encoded"
    seconds  load (the generalist), read (the image), encode; 0 for what was done before
    """

    image: Path
    generalist: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    source: str
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """The answer to a prompt.

    box        (k0, j0, i0, k1, j1, i1) around the object, half-open; None if nothing was found
    region     the part of the image that ``output`` covers, in the same form
    volume_ml  of the object, millilitres
    seconds    load, read, encode (0 for what was done before), predict, write
    """

    output: Path
    box: tuple[int, ...] | None
    region: tuple[int, ...]
    voxels: int
    volume_ml: float
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class PromptService:
    """Serves one request at a time.

    project       folder of a project, or None: gives cases, segments, examples and a cache on disk
    device        "auto", "cpu", "cuda", ...
    memory_bytes  of images and embeddings that are kept; the ones in use are kept in any case
    threads       of torch; None leaves torch its own choice
    """

    def __init__(
        self,
        project: Path | None = None,
        device: str = "auto",
        memory_bytes: int = MEMORY_BYTES,
        threads: int | None = None,
    ) -> None:
        self._path = project
        self._device = device
        self._threads = threads
        self._project: Project | None = None
        self._generalists: dict[str, tuple[Any, int | None, Generalist]] = {}
        self._kept = Kept(memory_bytes)

    # Requests ---------------------------------------------------------------------------------------------------------

    def subject(self, values: Mapping[str, Any]) -> Subject:
        """The subject of a request of the worker's protocol. Raises ProjectError for an unknown case."""
        image = values["image"]
        if image is None:
            image = self._require_project('"case"').case(values["case"]).image
        return Subject(image, values["generalist"] or DEFAULT_GENERALIST)

    def read_request(self, values: Mapping[str, Any]) -> PromptRequest:
        """A ``prompt`` request of the worker's protocol."""
        given = {
            name: values[name]
            for name in ("output", "points", "labels", "box", "mask", "segment", "threshold", "extent")
            if values[name] is not None
        }
        return PromptRequest(self.subject(values), **given)

    def encode(self, subject: Subject) -> Encoded:
        """Have the embedding ready. Raises VolumeError, GeneralistError."""
        seconds = dict.fromkeys(("load", "read", "encode"), 0.0)
        version = image_version(subject.image)
        image, _ = self._grids(version, seconds)
        _, _, source = self._embedding(version, subject.generalist, seconds)
        grid = image.shape, image.spacing, image.origin, image.direction
        return Encoded(subject.image, subject.generalist, *grid, source, _rounded(seconds))

    def prompt(self, request: PromptRequest, wanted: Callable[[], bool] = lambda: True) -> Answer:
        """Answer prompts with a mask file. Nothing is written once ``wanted`` says no.

        Raises VolumeError, GeneralistError, and UsageError for prompts that do not fit the image.
        """
        seconds = dict.fromkeys(("load", "read", "encode", "predict", "write"), 0.0)
        self._check_output(request)
        segment = self._segment(request.segment)
        version = image_version(request.subject.image)
        image, working = self._grids(version, seconds)
        start = time.perf_counter()
        prompts = working_prompts(request, image, working, segment.value)
        seconds["predict"] = time.perf_counter() - start
        generalist, embedding, _ = self._embedding(version, request.subject.generalist, seconds)
        start = time.perf_counter()
        probability = generalist.predict(embedding, [prompts])[0]
        found, region = on_image(probability, working, image, request.threshold)
        seconds["predict"] += time.perf_counter() - start
        start = time.perf_counter()
        voxels = int(np.count_nonzero(found))
        box = numbers(region) if voxels else None
        covered = everything(image) if request.extent == "image" else writable(region, image)
        mask = np.zeros([part.stop - part.start for part in covered], bool)
        mask[within(region, covered)] = found
        if wanted():
            write_object(request.output, mask, part_of(image, covered), segment)
        seconds["write"] = time.perf_counter() - start
        volume = round(voxels * image.voxel_volume / 1000, 6)
        return Answer(request.output, box, numbers(covered), voxels, volume, _rounded(seconds))

    def encoded(self) -> list[dict[str, Any]]:
        """The embeddings in memory, the least recently used first. May be called from any thread."""
        return [
            {"image": key[1][0], "generalist": key[2], "bytes": size}
            for key, size in self._kept.sizes()
            if key[0] == "embedding"
        ]

    # Images, generalists, embeddings ----------------------------------------------------------------------------------

    def _embedding(
        self, version: tuple[Any, ...], name: str, seconds: dict[str, float]
    ) -> tuple[Generalist, Embedding, str]:
        start = time.perf_counter()
        generalist = self._generalist(name)
        seconds["load"] = time.perf_counter() - start
        key = ("embedding", version, generalist.name, generalist.fingerprint)
        kept: Embedding | None = self._kept.get(key)
        if kept is not None:
            return generalist, kept, "memory"
        volume = self._volume(version, seconds)
        start = time.perf_counter()
        cache = self._cache()
        source = "disk" if cache is not None and cache.path(generalist, volume).exists() else "encoded"
        embedding = generalist.encode(volume) if cache is None else cache.get(generalist, volume)
        seconds["encode"] = time.perf_counter() - start
        self._kept.put(key, embedding, sum(array.nbytes for array in embedding.arrays.values()))
        return generalist, embedding, source

    def _grids(self, version: tuple[Any, ...], seconds: dict[str, float]) -> tuple[Geometry, Geometry]:
        """The grid of an image, and its working grid. Known without another look at the image while it is in use."""
        if self._kept.get(("grids", version)) is None:
            self._volume(version, seconds)
        grids: tuple[Geometry, Geometry] = self._kept.get(("grids", version))
        return grids

    def _volume(self, version: tuple[Any, ...], seconds: dict[str, float]) -> Volume:
        """The image on its working grid."""
        from semisam.files.volume_files import read_image

        volume: Volume | None = self._kept.get(("volume", version))
        if volume is None:
            start = time.perf_counter()
            volume = read_image(version[0])
            image = volume.geometry
            if volume.voxels.size > WORKING_VOXELS:
                working = affordable_geometry(image, WORKING_VOXELS)
                volume = Volume(resample_image(volume, working), working)
            seconds["read"] = time.perf_counter() - start
            self._kept.put(("volume", version), volume, volume.voxels.nbytes)
            self._kept.put(("grids", version), (image, volume.geometry), 0)
        return volume

    def _generalist(self, name: str) -> Generalist:
        project = self._open_project()
        imported = weights.imported_at(name)
        if name in self._generalists:
            examples, imported_then, generalist = self._generalists[name]
            if imported == imported_then and not examples.outdated():
                return generalist
        examples = ProjectExamples(project)
        cache = self._cache()
        generalist = create(name, Context(examples, self._device, cache.folder if cache else None))
        torch = sys.modules.get("torch")  # loaded by those generalists that need it
        if torch is not None and self._threads is not None:
            torch.set_num_threads(self._threads)
        self._generalists[name] = (examples, imported, generalist)
        return generalist

    def _open_project(self) -> Project | None:
        if self._path is None:
            return None
        if self._project is None:
            from semisam.project import Project

            self._project = Project.open(self._path)
        else:
            self._project.reload()
        return self._project

    def _require_project(self, what: str) -> Project:
        project = self._open_project()
        if project is None:
            raise UsageError(f"{what} can only be used with a project.")
        return project

    def _cache(self) -> EmbeddingCache | None:
        if self._project is None:
            return None
        from semisam.generalists.cache import EmbeddingCache

        return EmbeddingCache(self._project.cache_dir / "embeddings")

    # Prompts ----------------------------------------------------------------------------------------------------------

    def _segment(self, name: str | None) -> Segment:
        if name is None:
            return Segment(0, "object", default_color(0))
        segments = self._require_project('"segment"').segments
        for segment in segments:
            if segment.name.casefold() == name.casefold():
                return segment
        known = ", ".join(segment.name for segment in segments)
        raise UsageError(f'The project has no segment "{name}"; it has {known}.')

    def _check_output(self, request: PromptRequest) -> None:
        """A mask that the program made never takes the place of what a person made."""
        output = request.output.absolute()
        check_output(output, (request.subject.image, request.mask), self._path)
        if not output.parent.is_dir():
            raise UsageError(f'The folder "{output.parent}" does not exist: make it first.')


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in seconds.items()}
