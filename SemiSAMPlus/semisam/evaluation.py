"""Masks against reference masks, case by case: what ``semisam evaluate`` and the report tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semisam.errors import UsageError
from semisam.measure import Measures, measure
from semisam.segments import OUTSIDE, Segment, default_color

if TYPE_CHECKING:
    from semisam.volumes import Volume

UNCERTAINTY = ".uncertainty"

Values = dict[str, float | None]


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    cases              case name -> segment name -> the numbers of ``Measures``
    mean               segment name -> means over the cases, with "all" for the mean over the segments
    missing            cases with a reference but no prediction
    without_reference  cases with a prediction but no reference
    annotated          annotated cases with a proposal, which are left out: the model may have been taught them
    models             the models that made the compared proposals of a project
    """

    cases: dict[str, dict[str, Values]]
    mean: dict[str, Values]
    missing: list[str]
    without_reference: list[str]
    annotated: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    @property
    def undefined_distances(self) -> int:
        """Number of compared segments of which one mask is empty."""
        return sum(values["hd95_mm"] is None for case in self.cases.values() for values in case.values())

    def to_dict(self) -> dict[str, Any]:
        return {
            "cases": self.cases,
            "mean": self.mean,
            "missing": self.missing,
            "without_reference": self.without_reference,
            "annotated": self.annotated,
            "models": self.models,
            "undefined_distances": self.undefined_distances,
        }


def evaluate(
    predictions: Path,
    reference: Path,
    segments: Sequence[Segment] | None = None,
    *,
    on_case: Callable[[int, int, str], None] | None = None,
) -> Evaluation:
    """Compare the masks in ``predictions`` (a folder, a file, or a project: its proposals) with those in ``reference``.

    Of a project, proposals of cases that have an annotation are left out: they would tell what the model was taught.
    Cases are matched by name; two single files are matched whatever their names. Without ``segments`` they come from
    the project, or from the masks (``occurring_segments``). ``on_case`` is called with (done, total, name).
    Raises UsageError when nothing matches, VolumeError for masks on different grids.
    """
    annotated: list[str] = []
    makers: dict[str, str] = {}
    if (predictions / "project.json").is_file():
        from semisam.project import Project

        project = Project.open(predictions)
        segments = segments or project.segments
        proposed = {name: case for name, case in project.cases.items() if case.proposal}
        annotated = [name for name, case in proposed.items() if case.annotation]
        found = {name: project.proposal_path(name) for name in proposed if name not in annotated}
        makers = {name: str(case.proposal.provenance.get("model")) for name, case in proposed.items() if case.proposal}
        if not found:
            raise UsageError(f'The project "{predictions}" has no proposals for unannotated cases: train it first.')
    else:
        found = _masks(predictions)
    references = _masks(reference)
    if predictions.is_file() and reference.is_file():
        found = dict(zip(references, found.values(), strict=True))
    names = [name for name in references if name in found]
    if not names:
        raise UsageError(f'No mask in "{predictions}" has the name of one in "{reference}": give them equal names.')
    if segments is None:
        segments = occurring_segments([references[name] for name in names], [found[name] for name in names])
    cases: dict[str, dict[str, Values]] = {}
    for done, name in enumerate(names):
        if on_case is not None:
            on_case(done, len(names), name)
        mask, truth = _on_one_grid(found[name], references[name], segments)
        cases[name] = {
            segment.name: measure(mask.voxels == segment.value, truth.voxels == segment.value, truth.spacing).to_dict()
            for segment in segments
        }
    if on_case is not None:
        on_case(len(names), len(names), "done")
    return Evaluation(
        cases,
        _means(cases, [segment.name for segment in segments]),
        [name for name in references if name not in found and name not in annotated],
        [name for name in found if name not in references],
        [name for name in annotated if name in references],
        sorted({makers[name] for name in names if name in makers}),
    )


def _on_one_grid(first: Path, second: Path, segments: Sequence[Segment]) -> tuple[Volume, Volume]:
    """Both masks on the fuller of their grids: a .seg.nrrd file may be cut to what is drawn in it."""
    from semisam.files.volume_files import read_mask

    one, other = read_mask(first, segments), read_mask(second, segments)
    if one.voxels.size > other.voxels.size:
        return one, read_mask(second, segments, one.geometry)
    return read_mask(first, segments, other.geometry), other


def _masks(path: Path) -> dict[str, Path]:
    from semisam.files.volume_files import case_name, find_masks

    if path.is_file():
        return {case_name(path): path}
    found = find_masks(path)
    # In a folder of proposals, each has its uncertainty beside it.
    return {name: mask for name, mask in found.items() if name.removesuffix(UNCERTAINTY) not in found.keys() - {name}}


def occurring_segments(paths: Sequence[Path], others: Sequence[Path] = ()) -> tuple[Segment, ...]:
    """The segments of some masks, with the names and values that .seg.nrrd files among them and the ``others`` give.

    Without such a file they are the values that occur in ``paths``, called by their value. Raises UsageError where
    that does not tell which value is which.
    """
    from semisam.files.volume_files import named_segments, read_mask

    named = [(path, named_segments(path)) for path in (*paths, *others)]
    if any(segments for _, segments in named):
        return _named(named)
    every = tuple(Segment(value, str(value), default_color(value - 1)) for value in range(1, 256))
    values: set[int] = set()
    for path in paths:
        values.update(np.unique(read_mask(path, every).voxels).tolist())
    found = tuple(segment for segment in every if segment.value in values)
    if not found:
        raise UsageError("The reference masks are empty: name the segments with --segments.")
    return found


def _named(files: Sequence[tuple[Path, Sequence[Segment]]]) -> tuple[Segment, ...]:
    """The segments of files that name them; label maps are among the files where one has none."""
    by_name: dict[str, Segment] = {}
    clear = True
    for _, segments in files:
        for segment in segments:
            clear &= by_name.setdefault(segment.name.casefold(), segment).value == segment.value
    by_name.pop(OUTSIDE.name, None)
    found = list(by_name.values())
    clear &= len({segment.value for segment in found if 1 <= segment.value <= 255}) == len(found)
    if clear:
        return tuple(sorted(found, key=lambda segment: segment.value))
    plain = next((path for path, segments in files if not segments), None)
    if plain is not None:
        raise UsageError(
            f'It is not clear which segment a value of "{plain}" means, because the other masks do not agree on that: '
            'say it with --segments "1=NAME,2=NAME".'
        )
    # By name alone the files tell everything.
    return tuple(replace(segment, value=value) for value, segment in enumerate(found, start=1))


def _means(cases: dict[str, dict[str, Values]], segments: Sequence[str]) -> dict[str, Values]:
    keys = list(Measures.__dataclass_fields__)
    mean = {name: {key: _mean([case[name][key] for case in cases.values()]) for key in keys} for name in segments}
    mean["all"] = {key: _mean([mean[name][key] for name in segments]) for key in keys}
    return mean


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
