"""The project store: one folder with everything a person made and everything the program made of it.

``project.json`` is the table of contents; masks lie beside it::

    project.json   annotations/<case>.seg.nrrd   proposals/<case>.seg.nrrd   models/   cache/   log/   images/ (copies)

Any number of programs may work on one project. Every change is one short transaction (lock, read, change, write
atomically), so no change is lost, and a program that is killed at any moment leaves the state before or after it.
Annotations are changed by the calls for persons only; what the program proposes never touches them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semisam.errors import ProjectError
from semisam.files.atomic import copy_file, move, temporary_beside, write_json
from semisam.files.case_names import check_case_name, same_name
from semisam.files.image_copy import copied_images
from semisam.project import files
from semisam.project.lock import TrainingLock
from semisam.project.masks import checked_mask, read_annotation, with_outside, write_merged
from semisam.project.schema import Case, Document, Record, checked_confidence, checked_details
from semisam.project.states import Event, State, following, without_annotation
from semisam.project.store import Draft, Store, reason
from semisam.project.view import ProjectView, absolute, find_case
from semisam.segments import OUTSIDE, Segment, changed_segments, check_segments

if TYPE_CHECKING:
    import numpy as np

    from semisam.volumes import Volume

__all__ = ["Case", "Project", "Record", "State", "TrainingLock"]


class Project(ProjectView):
    """An open project, with the calls that change it; each looks at project.json again before it does."""

    @classmethod
    def create(cls, path: str | Path, segments: Sequence[Segment], *, images_copied: bool = False) -> Project:
        """Make an empty project in the folder ``path``, which may exist as long as it is no project yet.

        ``images_copied`` is the default of ``add_case``. Raises ProjectError, UsageError for unfit segments.
        """
        check_segments(segments)
        return cls(Store.create(Path(path).resolve(), Document(1, _now(), images_copied, tuple(segments))))

    def change_segments(self, segments: Sequence[Segment]) -> None:
        """Rename, recolor or describe the segments; their values tell which is which.

        Segments come and go only as long as there are neither masks nor a model. Raises UsageError for what cannot be,
        ProjectError while the project is being trained.
        """
        if self.training_owner() is not None:
            raise ProjectError("The segments cannot be changed while the program learns: stop it first.")
        with self._store.transaction() as draft:
            used = self.has_learned or any(case.annotation or case.proposal for case in draft.cases.values())
            changed = changed_segments(draft.segments, segments, used=used)
            names = {old.name: new.name for old in draft.segments for new in changed if old.value == new.value}
            draft.segments = changed
            draft.cases = {name: _with_names(case, names) for name, case in draft.cases.items()}
            if used:
                draft.afterwards.append(partial(_rename_in_plan, self.models_dir / "plan.json", names))

    def replace_segments(self, segments: Sequence[Segment]) -> None:
        """Give a project without cases other segments, or any project the segments that it has in another order.

        Raises ProjectError where masks would lose their meaning, UsageError for unfit segments.
        """
        check_segments(segments)
        with self._store.transaction() as draft:
            if draft.cases and set(segments) != set(draft.segments):
                raise ProjectError(f'The project "{self.path}" has cases already: their masks need its segments.')
            draft.segments = tuple(segments)

    # -- cases ----------------------------------------------------------------------------------------------------

    def add_case(self, name: str, image: str | Path, *, copy: bool | None = None, check: bool = False) -> None:
        """Add one case; see ``add_cases``. With ``check`` its image is read first: VolumeError if it cannot be."""
        if check:
            path = _existing(name, image)
            self._check_new(self._store.document.cases, {name: path})
            self._geometries.of(path)
        self.add_cases({name: image}, copy=copy)

    def add_cases(self, images: Mapping[str, str | Path], *, copy: bool | None = None) -> None:
        """Add cases (name -> image file or DICOM folder), all or none of them.

        ``copy`` True copies the images into the project, None does as the project was created to.
        Raises ProjectError for an unfit or doubled name, a missing image, or an image that is a case already.
        """
        paths = {name: _existing(name, image) for name, image in images.items()}
        for name in paths:
            check_case_name(name)
        self._store.reload()
        self._check_new(self._store.document.cases, paths)
        copied = self.images_copied if copy is None else copy
        foreign = {name: path for name, path in paths.items() if copied and not path.is_relative_to(self.path)}
        try:
            with copied_images(foreign, self.path / files.IMAGES) as copies, self._store.transaction() as draft:
                self._check_new(draft.cases, paths)
                for name, path in paths.items():
                    image = copies[name].place() if name in copies else path
                    draft.cases[name] = Case(name, image, image_copied=name in copies)
        except OSError as error:
            raise ProjectError(f'Cannot copy the images into "{self.path}" ({reason(error)}).') from error

    def _check_new(self, cases: Mapping[str, Case], images: Mapping[str, Path]) -> None:
        names: dict[str, Path] = {}
        known = {_resolved(case.image): case.name for case in cases.values()}
        for name, image in images.items():
            other = same_name(name, cases) or same_name(name, names)
            if other is not None:
                raise ProjectError(
                    f'The project "{self.path}" already has a case "{other}": give the image "{image}" another name.'
                )
            names[name] = image
            holder = known.setdefault(_resolved(image), name)
            if holder != name:
                raise ProjectError(f'The image "{image}" already belongs to the case "{holder}": add it once only.')

    def relink_image(self, name: str, image: str | Path) -> None:
        """Tell where the image of a case lies now. Raises ProjectError unless it is on the grid of the case's masks."""
        path = _existing(name, image)
        self._store.reload()
        geometry = self._geometries.of(path)
        case = self.case(name)
        for word, record, read in (
            ("annotation", case.annotation, self.annotation),
            ("proposal", case.proposal, self.proposal),
        ):
            if record is not None and not read(name).geometry.is_close(geometry):
                raise ProjectError(f'The image "{path}" is not on the grid of the {word} of the case "{name}".')
        with self._store.transaction() as draft:
            others = {other: case for other, case in draft.cases.items() if other != name}
            self._check_new(others, {name: path})
            draft.cases[name] = replace(find_case(draft.cases, name, self.path), image=path, image_copied=False)

    def remove_case(self, name: str) -> None:
        """Take a case out of the project. Its image stays where it is (a copy made by the project is removed), its
        annotation is kept in annotations/previous."""
        with self._store.transaction() as draft:
            case = find_case(draft.cases, name, self.path)
            del draft.cases[name]
            self._drop_annotation(draft, case.annotation)
            self._drop_proposal(draft, case.proposal)
            images = self.path / files.IMAGES
            if case.image_copied and case.image.is_relative_to(images):
                copy = images / case.image.relative_to(images).parts[0]
                draft.afterwards.append(partial(files.discard, copy))

    # -- annotations: what a person made ----------------------------------------------------------------------------

    def set_annotation(
        self,
        name: str,
        mask: Volume,
        *,
        author: str,
        source: str,
        state: State = State.ANNOTATED,
        known: np.ndarray | None = None,
    ) -> None:
        """Store a person's mask of a case, on the grid of its image; the one before is kept in annotations/previous,
        and the last few before it in annotations/previous/earlier.

        source  what it was made from, in words or as a path
        state   ANNOTATED, or IN_WORK for a mask that must not be learned from yet
        known   (k, j, i) bool for a partial annotation, such as scribbles or a few slices: where the person has looked.
                Such a case stays in work, is learned from as far as it is known, and gets proposals like the others

        Raises ProjectError for a mask that does not fit the image or segments, or a partial one that shows no segment
        or no outside.
        """
        if known is not None and known.all():
            known = None
        if known is not None:
            state = State.IN_WORK
        if state not in (State.ANNOTATED, State.IN_WORK):
            raise ProjectError(f'An annotation is set as "annotated" or "in work", not as "{State(state).value}".')
        event = Event.ANNOTATE if state is State.ANNOTATED else Event.BEGIN
        provenance: dict[str, Any] = {"author": author, "source": source}
        if state is State.ANNOTATED:
            provenance["segments"] = [segment.name for segment in self.segments]
        checked, shown = self._check_mask(name, mask), self.segments
        if known is not None:
            checked, shown = with_outside(name, checked, known, self.segments), (*self.segments, OUTSIDE)
            provenance["partial"] = True
        with (
            self._written((files.mask_path(files.ANNOTATIONS, name), self._mask_writer(checked, shown))) as (written,),
            self._store.transaction() as draft,
        ):
            self._put_annotation(draft, name, written, provenance, event)

    def adopt_annotation(self, name: str, *, author: str, state: State = State.ANNOTATED) -> None:
        """Take note of an annotation file that another program saved in its place; only then is it learned from.

        Raises ProjectError when there is no such file, VolumeError for one that does not fit.
        """
        present = self.path / files.mask_path(files.ANNOTATIONS, self.case(name).name)
        if not present.exists():
            raise ProjectError(f'The case "{name}" has no annotation file "{present}".')
        mask, known = read_annotation(present, self.segments, self.image_geometry(name))
        self.set_annotation(name, mask, author=author, source="edited in place", state=state, known=known)

    def remove_annotation(self, name: str) -> None:
        """Take the annotation of a case away; it is kept in annotations/previous. Raises ProjectError without one."""
        with self._store.transaction() as draft:
            case = find_case(draft.cases, name, self.path)
            following(name, case.state, Event.REMOVE_ANNOTATION)
            proposal = case.proposal
            state = without_annotation(proposal is not None, proposal is not None and proposal.rejected)
            draft.cases[name] = replace(case, annotation=None, state=state)
            self._drop_annotation(draft, case.annotation)

    def restore_annotation(self, name: str, *, author: str, state: State = State.ANNOTATED) -> None:
        """Bring back the annotation that was replaced or removed last; the present one takes its place."""
        previous = files.previous_path(self.path, files.mask_path(files.ANNOTATIONS, self.case(name).name))
        if not previous.exists():
            raise ProjectError(f'The case "{name}" has no earlier annotation: "{previous}" does not exist.')
        mask, known = read_annotation(previous, self.segments, self.image_geometry(name))
        self.set_annotation(name, mask, author=author, source="earlier annotation", state=state, known=known)

    # -- proposals: what the program made ---------------------------------------------------------------------------

    def set_proposal(
        self,
        name: str,
        mask: Volume,
        *,
        model: str,
        confidence: float | None,
        uncertainty: Volume | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Store the program's mask of a case, on the grid of its image. A case with an annotation keeps its state.

        confidence   expected quality, 0 to 1, or None
        uncertainty  one number per voxel of the same grid
        details      JSON values that go into the provenance as "details"
        """
        quality = checked_confidence(confidence)
        checked = self._check_mask(name, mask)
        provenance = {"model": model, "source": "prediction", "details": checked_details(details)}
        path = files.mask_path(files.PROPOSALS, name)
        pending = [(path, self._mask_writer(checked, self.segments))]
        if uncertainty is not None:
            if not uncertainty.geometry.is_close(checked.geometry):
                raise ProjectError(f'The uncertainty volume for the case "{name}" is not on the grid of its image.')
            pending.append((files.uncertainty_path(name), _image_writer(uncertainty)))
        with self._written(*pending) as written, self._store.transaction() as draft:
            case = find_case(draft.cases, name, self.path)
            state = following(name, case.state, Event.PROPOSE)
            revision = case.proposal_count + 1
            second = pending[1][0] if len(pending) > 1 else None
            record = Record(path, {**provenance, "created": _now()}, revision, files.file_hash(written[0]), second)
            for file, final in zip(written, files.paths(record), strict=True):
                move(file, files.staged_path(self.path, final, revision))
            outdated = set(files.paths(case.proposal)) - set(files.paths(record)) if case.proposal is not None else ()
            draft.afterwards += [partial(files.discard, self.path / old) for old in outdated]
            draft.cases[name] = replace(case, proposal=record, proposal_count=revision, confidence=quality, state=state)

    def remove_proposal(self, name: str) -> None:
        """Take the proposal of a case away for good. Raises ProjectError when there is none."""
        with self._store.transaction() as draft:
            case, proposal = self._judged(draft, name, Event.REMOVE_PROPOSAL)
            state = following(name, case.state, Event.REMOVE_PROPOSAL)
            draft.cases[name] = replace(case, proposal=None, confidence=None, state=state)
            self._drop_proposal(draft, proposal)

    def accept(
        self, name: str, *, author: str, segments: Sequence[str] | None = None, revision: int | None = None
    ) -> None:
        """Make the proposal of a case its annotation; the proposal stays. The annotation before is kept as backup.

        With ``segments`` (names), only those are taken over, and never at the cost of another segment that the
        annotation already has. The case is accepted once every segment of the project has been annotated or accepted,
        and in work until then. Raises ProjectError without a proposal, for an unknown segment, or when the proposal is
        no longer that of ``revision``, the one that the person has seen.
        """
        chosen = self._chosen(segments)
        with self._store.transaction() as draft:
            case, proposal = self._judged(draft, name, Event.ACCEPT)
            if revision not in (None, proposal.revision):
                raise ProjectError(
                    f'The proposal of the case "{name}" has changed meanwhile: look at the new one, then accept.'
                )
            done = {segment.name for segment in chosen}
            target = temporary_beside(self.path / files.mask_path(files.ANNOTATIONS, name))
            try:
                if not self._complete(proposal):
                    raise self._missing(name, "proposal", proposal)
                if len(done) == len(self.segments):
                    copy_file(self.path / proposal.path, target)
                else:
                    before = None if case.annotation is None else self.path / case.annotation.path
                    write_merged(target, self.path / proposal.path, before, self.segments, chosen)
                    done.update(_finished_segments(case))
                complete = all(segment.name in done for segment in self.segments)
                provenance = {
                    "author": author,
                    "source": "accepted proposal",
                    "segments": [segment.name for segment in self.segments if segment.name in done],
                    "from": {
                        "model": proposal.provenance.get("model"),
                        "revision": proposal.revision,
                        "created": proposal.provenance.get("created"),
                        "segments": [segment.name for segment in chosen],
                    },
                }
                self._put_annotation(draft, name, target, provenance, Event.ACCEPT if complete else Event.ACCEPT_PART)
                kept = {key: value for key, value in proposal.provenance.items() if key != "rejected"}
                draft.cases[name] = replace(draft.cases[name], proposal=replace(proposal, provenance=kept))
            finally:
                files.discard(target)

    def reject(self, name: str, *, author: str) -> None:
        """Note that a person refused the proposal of a case. Raises ProjectError when there is none."""
        with self._store.transaction() as draft:
            case, proposal = self._judged(draft, name, Event.REJECT)
            noted = {**proposal.provenance, "rejected": {"author": author, "created": _now()}}
            state = following(name, case.state, Event.REJECT)
            draft.cases[name] = replace(case, proposal=replace(proposal, provenance=noted), state=state)

    def take_back_reject(self, name: str) -> None:
        """The proposal of a case waits for a judgement again. Raises ProjectError when it was not rejected."""
        with self._store.transaction() as draft:
            case = find_case(draft.cases, name, self.path)
            if case.proposal is None or not case.proposal.rejected:
                raise ProjectError(f'The proposal of the case "{name}" was not rejected, so it cannot be taken back.')
            kept = {key: value for key, value in case.proposal.provenance.items() if key != "rejected"}
            state = without_annotation(True, False) if case.state is State.REJECTED else case.state
            draft.cases[name] = replace(case, proposal=replace(case.proposal, provenance=kept), state=state)

    # -- parts of the above -----------------------------------------------------------------------------------------

    def _check_mask(self, name: str, mask: Volume) -> Volume:
        self._store.reload()
        return checked_mask(name, mask, self.image_geometry(name), self.segments)

    @contextmanager
    def _written(self, *pending: tuple[str, Callable[[Path], None]]) -> Iterator[list[Path]]:
        """Temporary files beside the given paths, written before the transaction because that may take seconds."""
        temporaries = [temporary_beside(self.path / path) for path, _ in pending]
        try:
            for temporary, (_, write) in zip(temporaries, pending, strict=True):
                write(temporary)
            yield temporaries
        except OSError as error:
            raise ProjectError(
                f'Cannot write in the project "{self.path}" ({reason(error)}): check the free space and permissions.'
            ) from error
        finally:
            for temporary in temporaries:
                files.discard(temporary)

    @staticmethod
    def _mask_writer(mask: Volume, segments: Sequence[Segment]) -> Callable[[Path], None]:
        from semisam.files.volume_files import write_mask

        return lambda path: write_mask(path, mask, segments)

    def _put_annotation(self, draft: Draft, name: str, written: Path, provenance: dict[str, Any], event: Event) -> None:
        case = find_case(draft.cases, name, self.path)
        if event is Event.BEGIN and case.state is State.IN_WORK:
            provenance = {**provenance, "segments": _finished_segments(case)}
        revision = case.annotation_count + 1
        path = files.mask_path(files.ANNOTATIONS, name)
        record = Record(path, {**provenance, "created": _now()}, revision, files.file_hash(written))
        move(written, files.staged_path(self.path, path, revision))
        state = following(name, case.state, event)
        draft.cases[name] = replace(case, annotation=record, annotation_count=revision, state=state)

    def _judged(self, draft: Draft, name: str, event: Event) -> tuple[Case, Record]:
        case = find_case(draft.cases, name, self.path)
        following(name, case.state, event)
        if case.proposal is None:
            raise ProjectError(f'Cannot {event.value} the case "{name}": it has no proposal.')
        return case, case.proposal

    def _chosen(self, names: Sequence[str] | None) -> list[Segment]:
        if names is None:
            return list(self.segments)
        known = {segment.name.casefold(): segment for segment in self.segments}
        unknown = [name for name in names if name.casefold() not in known]
        if unknown or not names:
            asked = f'"{unknown[0]}" is no segment' if unknown else "No segment was chosen"
            raise ProjectError(f"{asked}; the project has {', '.join(segment.name for segment in self.segments)}.")
        wanted = {name.casefold() for name in names}
        return [segment for segment in self.segments if segment.name.casefold() in wanted]

    def _drop_annotation(self, draft: Draft, record: Record | None) -> None:
        if record is not None:
            draft.afterwards.append(partial(files.retire, self.path, record))

    def _drop_proposal(self, draft: Draft, record: Record | None) -> None:
        for path in files.paths(record) if record is not None else ():
            draft.afterwards.append(partial(files.discard, self.path / path))


@lru_cache(maxsize=20_000)
def _resolved(path: Path) -> Path:
    """Where an image really lies. Remembered: with hundreds of cases, following links takes longer than all else."""
    return path.resolve()


def _existing(name: str, image: str | Path) -> Path:
    path = absolute(image)
    if not path.exists():
        raise ProjectError(f'The image "{path}" of the case "{name}" does not exist: check the path.')
    return path


def _finished_segments(case: Case) -> list[str]:
    """Names of the segments that a person has finished in the annotation of a case."""
    return [] if case.annotation is None else list(case.annotation.provenance.get("segments", ()))


def _with_names(case: Case, names: Mapping[str, str]) -> Case:
    """A case whose annotation tells its finished segments by their new names."""
    if case.annotation is None or "segments" not in case.annotation.provenance:
        return case
    finished = [names.get(name, name) for name in _finished_segments(case)]
    provenance = {**case.annotation.provenance, "segments": finished}
    return replace(case, annotation=replace(case.annotation, provenance=provenance))


def _rename_in_plan(path: Path, names: Mapping[str, str]) -> None:
    """What was learned stays valid under new names. A plan that cannot be read is told when it is needed."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        plan = json.loads(path.read_text("utf-8"))
        plan["segments"] = [names.get(name, name) for name in plan["segments"]]
        write_json(path, plan)


def _image_writer(volume: Volume) -> Callable[[Path], None]:
    from semisam.files.volume_files import write_image

    return lambda path: write_image(path, volume)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
