"""Interactive segmentation: encode an image once, then answer clicks, boxes and masks, each within a moment.

``PromptService`` is what the worker and the command ``semisam prompt`` share. It keeps images and embeddings in
memory, the least recently used ones going first, and embeddings of a project also in its cache on disk.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from semisam.errors import UsageError
from semisam.generalists.base import Context, Embedding, Example, Generalist
from semisam.generalists.registry import create
from semisam.prompts import Prompts
from semisam.protocol import DEFAULT_GENERALIST
from semisam.raw_nrrd import write_raw_nrrd
from semisam.segments import Segment, default_color
from semisam.volumes import Geometry, Volume, bounding_box

if TYPE_CHECKING:
    from semisam.generalists.cache import EmbeddingCache
    from semisam.project import Project

MEMORY_BYTES = 1 << 30
THRESHOLD = 0.5
_Item = TypeVar("_Item")


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
    mask       file with a first mask (not 0 = object) or probabilities, on the grid of the image
    segment    name of the project's segment that is meant; generalists that learn from examples want to know
    threshold  voxels with at least this probability belong to the object
    extent     what ``output`` covers: "image", or "region", the smallest box around the object
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
    """The answer to ``encode``. ``source`` tells where the embedding came from: "memory", "disk" or "encoded"."""

    image: Path
    generalist: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
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
    seconds    read, encode (both 0 when they were done before), predict, write
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
    """

    def __init__(self, project: Path | None = None, device: str = "auto", memory_bytes: int = MEMORY_BYTES) -> None:
        self._path = project
        self._device = device
        self._project: Project | None = None
        self._generalists: dict[str, tuple[Any, Generalist]] = {}
        self._kept = _Kept(memory_bytes)

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
        seconds = {"read": 0.0, "encode": 0.0}
        geometry, _, _, source = self._embedding(subject, seconds)
        return Encoded(subject.image, subject.generalist, geometry.shape, geometry.spacing, source, _rounded(seconds))

    def prompt(self, request: PromptRequest, wanted: Callable[[], bool] = lambda: True) -> Answer:
        """Answer prompts with a mask file. Nothing is written once ``wanted`` says no.

        Raises VolumeError, GeneralistError, and UsageError for prompts that do not fit the image.
        """
        seconds = dict.fromkeys(("read", "encode", "predict", "write"), 0.0)
        self._check_output(request)
        segment = self._segment(request.segment)
        geometry, generalist, embedding, _ = self._embedding(request.subject, seconds)
        prompts = self._prompts(request, geometry, segment)
        start = time.perf_counter()
        probability = generalist.predict(embedding, [prompts])[0]
        found = probability >= request.threshold
        box = bounding_box(found)
        seconds["predict"] = time.perf_counter() - start
        whole = tuple(slice(0, size) for size in geometry.shape)
        region = box or tuple(slice(0, 1) for _ in range(3)) if request.extent == "region" else whole
        start = time.perf_counter()
        if wanted():
            _write(request.output, found[region], _part(geometry, region), segment)
        seconds["write"] = time.perf_counter() - start
        voxels = int(np.count_nonzero(found[box])) if box else 0
        volume = round(voxels * geometry.voxel_volume / 1000, 6)
        return Answer(request.output, _numbers(box), _numbers(region) or (), voxels, volume, _rounded(seconds))

    def encoded(self) -> list[dict[str, Any]]:
        """The embeddings in memory, the least recently used first. May be called from any thread."""
        return [
            {"image": key[1][0], "generalist": key[2], "bytes": size}
            for key, size in self._kept.sizes()
            if key[0] == "embedding"
        ]

    # Images, generalists, embeddings ----------------------------------------------------------------------------------

    def _embedding(self, subject: Subject, seconds: dict[str, float]) -> tuple[Geometry, Generalist, Embedding, str]:
        version = _version(subject.image)
        generalist = self._generalist(subject.generalist)
        key = ("embedding", version, generalist.name, generalist.fingerprint)
        kept = self._kept.get(key)
        if kept is not None:
            return kept[0], generalist, kept[1], "memory"
        volume = self._volume(version, seconds)
        start = time.perf_counter()
        cache = self._cache()
        source = "encoded"
        if cache is None:
            embedding = generalist.encode(volume)
        else:
            if cache.path(generalist, volume).exists():
                source = "disk"
            embedding = cache.get(generalist, volume)
        seconds["encode"] = time.perf_counter() - start
        size = sum(array.nbytes for array in embedding.arrays.values())
        self._kept.put(key, (volume.geometry, embedding), size)
        return volume.geometry, generalist, embedding, source

    def _volume(self, version: tuple[Any, ...], seconds: dict[str, float]) -> Volume:
        from semisam.volume_files import read_image

        key = ("volume", version, "", "")
        volume: Volume | None = self._kept.get(key)
        if volume is None:
            start = time.perf_counter()
            volume = read_image(version[0])
            seconds["read"] = time.perf_counter() - start
            self._kept.put(key, volume, volume.voxels.nbytes)
        return volume

    def _generalist(self, name: str) -> Generalist:
        project = self._open_project()
        if name in self._generalists:
            examples, generalist = self._generalists[name]
            if not examples.outdated():
                return generalist
        examples = ProjectExamples(project)
        generalist = create(name, Context(examples, self._device))
        self._generalists[name] = (examples, generalist)
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

    def _prompts(self, request: PromptRequest, geometry: Geometry, segment: Segment) -> Prompts:
        points = np.asarray(request.points, np.float32).reshape(-1, 3)
        labels = np.asarray(request.labels, np.uint8)
        if len(points) != len(labels):
            raise UsageError(f"There are {len(points)} points but {len(labels)} labels: give one label for each point.")
        size = "{} x {} x {}".format(*geometry.shape)
        for point in points:
            if not all(-0.5 <= x < n - 0.5 for x, n in zip(point, geometry.shape, strict=True)):
                where = ", ".join(f"{x:g}" for x in point)
                raise UsageError(f"The point ({where}) lies outside of the image, which has {size} voxels (k, j, i).")
        box = None
        if request.box is not None:
            lower = np.clip(np.asarray(request.box[:3], float), 0, geometry.shape)
            upper = np.clip(np.asarray(request.box[3:], float), 0, geometry.shape)
            if not (lower < upper).all():
                where = ", ".join(f"{x:g}" for x in request.box)
                raise UsageError(
                    f"The box ({where}) holds no voxel of the image, which has {size} voxels: give k0, j0, i0 and then "
                    "the larger k1, j1, i1."
                )
            box = tuple(float(x) for x in (*lower, *upper))
        mask = None if request.mask is None else _read_prompt_mask(request.mask, geometry)
        prompts = Prompts(points, labels, box, mask, segment.value)  # type: ignore[arg-type]
        if prompts.is_empty:
            raise UsageError("There is no prompt: give points, a box or a mask.")
        return prompts

    def _check_output(self, request: PromptRequest) -> None:
        """A mask that the program made never takes the place of what a person made."""
        output = request.output.absolute()
        if self._path is not None:
            for folder in ("annotations", "proposals", "models", "images"):
                if output.is_relative_to(self._path.absolute() / folder):
                    raise UsageError(f'"{output}" lies in a folder that the project manages: choose another place.')
        for source in (request.subject.image, request.mask):
            if source is not None and output.exists() and source.exists() and output.samefile(source):
                raise UsageError(f'"{output}" is the input: write the mask to another file.')
        if not output.parent.is_dir():
            raise UsageError(f'The folder "{output.parent}" does not exist: make it first.')


class ProjectExamples(Sequence[Example]):
    """The annotated cases of a project, read when somebody looks at them and not before: most generalists do not."""

    def __init__(self, project: Project | None) -> None:
        self._project = project
        self._read: list[Example] | None = None
        self._state = self._annotations()

    def outdated(self) -> bool:
        """Whether examples have been used that are no longer what the project has."""
        return self._read is not None and self._annotations() != self._state

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        return self._all()[index]

    def __iter__(self) -> Iterator[Example]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> list[Example]:
        if self._read is None:
            self._state = self._annotations()
            project = self._project
            self._read = []
            for name in project.training_cases() if project else []:
                self._read.append(Example(name, project.image(name), project.annotation(name).voxels))
        return self._read

    def _annotations(self) -> list[tuple[str, int]]:
        if self._project is None:
            return []
        cases = self._project.cases
        return [(name, cases[name].annotation_count) for name in self._project.training_cases()]


@dataclass
class _Kept:
    """Things in memory by key, up to ``limit`` bytes and at least the newest; the least recently used go first."""

    limit: int
    _things: OrderedDict[tuple[Any, ...], tuple[Any, int]] = field(default_factory=OrderedDict)

    def get(self, key: tuple[Any, ...]) -> Any:
        if key not in self._things:
            return None
        self._things.move_to_end(key)
        return self._things[key][0]

    def put(self, key: tuple[Any, ...], thing: Any, size: int) -> None:
        self._things[key] = (thing, size)
        while len(self._things) > 1 and sum(size for _, size in self._things.values()) > self.limit:
            self._things.popitem(last=False)

    def sizes(self) -> list[tuple[tuple[Any, ...], int]]:
        return [(key, size) for key, (_, size) in list(self._things.items())]


def _version(image: Path) -> tuple[Any, ...]:
    """What identifies the content of an image file or DICOM folder: path, time of change, size."""
    path = image.absolute()
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        states = [file.stat() for file in files]
    except OSError:
        return (path, 0, 0)  # reading it will tell what is wrong
    return (path, max((s.st_mtime_ns for s in states), default=0), sum(s.st_size for s in states))


def _read_prompt_mask(path: Path, geometry: Geometry) -> np.ndarray:
    """(k, j, i) float32 probability of the object: the file's own, or 1 where a label map is not 0."""
    from semisam.volume_files import read_image

    volume = read_image(path)
    if not volume.geometry.is_close(geometry):
        raise UsageError(f'The mask "{path}" is not on the grid of the image: save it on the image\'s grid.')
    voxels = volume.voxels
    if float(voxels.min()) < 0:
        raise UsageError(f'The mask "{path}" holds negative numbers: give a label map or probabilities from 0 to 1.')
    return voxels if float(voxels.max()) <= 1 else (voxels > 0).astype(np.float32)


def _write(path: Path, found: np.ndarray, geometry: Geometry, segment: Segment) -> None:
    if path.name.lower().endswith(".nrrd") and not path.name.lower().endswith(".seg.nrrd"):
        write_raw_nrrd(path, found, geometry)
        return
    from semisam.volume_files import write_mask

    write_mask(path, Volume(found.astype(np.uint8), geometry), [Segment(1, segment.name, segment.color)])


def _part(geometry: Geometry, region: Sequence[slice]) -> Geometry:
    """The grid of a box of voxels within ``geometry``."""
    start = [part.start for part in region]
    shape = tuple(part.stop - part.start for part in region)
    origin = tuple(geometry.index_to_world(start).tolist())
    return Geometry(shape, geometry.spacing, origin, geometry.direction)  # type: ignore[arg-type]


def _numbers(region: Sequence[slice] | None) -> tuple[int, ...] | None:
    return None if region is None else (*(part.start for part in region), *(part.stop for part in region))


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in seconds.items()}
