"""A project as one looks at it: cases, masks, folders and what is wrong with them. Nothing here changes the project."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from semisam.errors import ProjectError
from semisam.project import files
from semisam.project.lock import Owner, training_owner
from semisam.project.masks import ImageGeometries, read_annotation
from semisam.project.schema import Case, Record
from semisam.project.states import FINISHED
from semisam.project.store import Store
from semisam.segments import Segment

if TYPE_CHECKING:
    import numpy as np

    from semisam.volumes import Geometry, Volume


class ProjectView:
    """An open project, without the calls that change it.

    ``cases`` and all that is answered from them are a snapshot; ``reload`` looks again.
    """

    def __init__(self, store: Store) -> None:
        """Use ``open``."""
        self.path = store.folder
        self._store = store
        self._geometries = ImageGeometries()

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the project in the folder ``path`` and clear away what killed programs left there.

        A document of an older schema is understood, and written in the new form at the next change.
        Raises ProjectError for a folder that is no project, or whose project.json is damaged or newer.
        """
        return cls(Store.open(Path(path).resolve()))

    def reload(self) -> bool:
        """Look at project.json again; True when something had changed. Raises ProjectError."""
        return self._store.reload()

    @property
    def revision(self) -> int:
        """Grows by one with every change of the project."""
        return self._store.document.revision

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self._store.document.segments

    @property
    def images_copied(self) -> bool:
        return self._store.document.images_copied

    @property
    def cases(self) -> dict[str, Case]:
        return dict(self._store.document.cases)

    def case(self, name: str) -> Case:
        """The case ``name``, looked for on the disk when it is not known. Raises ProjectError when there is none."""
        if name not in self._store.document.cases:
            self._store.reload()
        return find_case(self._store.document.cases, name, self.path)

    def training_cases(self) -> list[str]:
        """Names of the cases that are learned from: with a finished annotation, or with a part of one."""
        return [case.name for case in self._store.document.cases.values() if case.state in FINISHED or case.partial]

    def finished_cases(self) -> list[str]:
        """Names of the cases with a finished annotation of every voxel."""
        return [case.name for case in self._store.document.cases.values() if case.state in FINISHED]

    def unannotated_cases(self) -> list[str]:
        """Names of the cases without a finished annotation; those in work count among them."""
        return [case.name for case in self._store.document.cases.values() if case.state not in FINISHED]

    @property
    def models_dir(self) -> Path:
        return self.path / files.MODELS

    @property
    def cache_dir(self) -> Path:
        return self.path / files.CACHE

    @property
    def log_dir(self) -> Path:
        return self.path / files.LOG

    @property
    def model_name(self) -> str | None:
        """The name of the trained model, such as "specialist-0007", or None when there is none yet."""
        try:
            return str(json.loads((self.models_dir / "specialist.json").read_text("utf-8"))["weights"]).split(".")[0]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def has_learned(self) -> bool:
        """Whether there is a model, or a training that can go on."""
        return any((self.models_dir / name).exists() for name in ("specialist.json", "training.json"))

    def training_owner(self) -> Owner | None:
        """Who is training this project now, or None."""
        return training_owner(self.path)

    def image(self, name: str) -> Volume:
        """The image of a case. Raises ProjectError when it is gone, VolumeError when it cannot be read."""
        return self._geometries.read(self._present_image(name))

    def image_geometry(self, name: str) -> Geometry:
        """The grid of the image of a case: that of its masks, too. Raises as ``image`` does."""
        return self._geometries.of(self._present_image(name))

    def annotation(self, name: str) -> Volume:
        """The annotation of a case, uint8 with segment values. Raises ProjectError when there is none."""
        return self.annotation_and_known(name)[0]

    def annotation_and_known(self, name: str) -> tuple[Volume, np.ndarray | None]:
        """The same, and (k, j, i) bool where a partial annotation tells something; None for a whole one."""
        return read_annotation(*self._file(name, "annotation", lambda case: case.annotation))

    def annotation_path(self, name: str) -> Path:
        return self._path_of(name, "annotation", lambda case: case.annotation)

    def proposal(self, name: str) -> Volume:
        """The proposal of a case, uint8 with segment values. Raises ProjectError when there is none."""
        from semisam.files.volume_files import read_mask

        return read_mask(*self._file(name, "proposal", lambda case: case.proposal))

    def proposal_path(self, name: str) -> Path:
        return self._path_of(name, "proposal", lambda case: case.proposal)

    def uncertainty_path(self, name: str) -> Path | None:
        """The uncertainty volume of the proposal of a case, or None when it came without one."""
        self.proposal_path(name)
        record = self.case(name).proposal
        return None if record is None or record.uncertainty is None else self.path / record.uncertainty

    def check(self) -> list[str]:
        """What is wrong with the files of the project, in sentences; empty when all is well. Reads no voxels."""
        self._store.reload()
        problems: list[str] = []
        for case in self._store.document.cases.values():
            if not case.image.exists():
                problems.append(f'The image "{case.image}" of the case "{case.name}" is missing.')
            for word, record in (("annotation", case.annotation), ("proposal", case.proposal)):
                if record is not None:
                    problems += files.problems(self.path, record, f'The {word} of the case "{case.name}"')
        return problems

    def _present_image(self, name: str) -> Path:
        image = self.case(name).image
        if not image.exists():
            raise ProjectError(
                f'The image "{image}" of the case "{name}" is not there: put it back, tell its new place (semisam link '
                "PROJECT CASE IMAGE), or remove the case."
            )
        return image

    def _file(
        self, name: str, word: str, record_of: Callable[[Case], Record | None]
    ) -> tuple[Path, tuple[Segment, ...], Geometry | None]:
        """A mask file and how to read it."""
        path = self._path_of(name, word, record_of)
        record = record_of(self.case(name))
        edited = record is None or files.file_hash(path) != record.sha256
        # What another program saved there may be cut to its extent, or be for another image.
        return path, self.segments, self.image_geometry(name) if edited else None

    def _path_of(self, name: str, word: str, record_of: Callable[[Case], Record | None]) -> Path:
        record = record_of(self.case(name))
        if record is None or not self._complete(record):
            self._store.reload()  # another program may have moved on
            record = record_of(self.case(name))
        if record is None:
            raise ProjectError(f'The case "{name}" has no {word}.')
        if not self._complete(record):
            raise self._missing(name, word, record)
        return self.path / record.path

    def _missing(self, name: str, word: str, record: Record) -> ProjectError:
        return ProjectError(
            f'The {word} "{self.path / record.path}" of the case "{name}" is missing: put the file back, '
            f"or remove the {word} from the project."
        )

    def _complete(self, record: Record) -> bool:
        """Whether all files of a record are in their place, after finishing what a killed program left."""
        if files.is_staged(self.path, record):
            self._store.settle()
        return all((self.path / path).exists() for path in files.paths(record))


def find_case(cases: Mapping[str, Case], name: str, project: Path) -> Case:
    """The case ``name`` among ``cases``. Raises ProjectError when there is none."""
    try:
        return cases[name]
    except KeyError:
        raise ProjectError(f'The project "{project}" has no case "{name}".') from None


def absolute(path: str | Path) -> Path:
    """The absolute path with the links among its folders followed; what it names may itself be a link.

    Names of links in content-addressed storage tell the format, their targets do not.
    """
    lexical = Path(os.path.abspath(path))
    return lexical.parent.resolve() / lexical.name
