"""The report: one self-contained HTML page that shows a project as it is, for people.

Nothing is loaded from elsewhere: pictures are embedded, and the page works from a USB stick as well as printed.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from semisam import __version__
from semisam.errors import ProjectError, SemiSAMError
from semisam.files.atomic import write_text
from semisam.progress import duration
from semisam.project.masks import volumes_ml
from semisam.ranking import ranked_cases, shown_confidence, volumes

if TYPE_CHECKING:
    from semisam.project import Case, Project
    from semisam.segments import Segment
    from semisam.volumes import Volume

_TEMPLATE = Path(__file__).with_name("template.html")
_STATES = ("new", "in work", "proposed", "rejected", "annotated", "accepted")
# Reading files is most of the time, and the libraries that read let other threads work meanwhile.
_THREADS = 4


@dataclass
class _Row:
    """What the page tells of one case. ``dice`` by segment, if there is a reference for the proposal."""

    case: Case
    pictures: list[str] = field(default_factory=list)
    volumes_ml: dict[str, float] = field(default_factory=dict)
    dice: dict[str, float] = field(default_factory=dict)
    problem: str = ""

    @property
    def confidence(self) -> float | None:
        return shown_confidence(self.case)

    @property
    def mean_dice(self) -> float | None:
        return sum(self.dice.values()) / len(self.dice) if self.dice else None


@dataclass(frozen=True)
class References:
    """How many of the proposals could be compared with a reference mask, and why the first of the others could not."""

    used: int
    proposals: int
    problem: str = ""


def make_report(
    project: Project,
    output: Path,
    *,
    reference: Path | None = None,
    on_case: Callable[[int, int, str], None] | None = None,
) -> References:
    """Write the page about ``project`` to ``output``; what of the references it could use.

    reference  folder with true masks by case name: adds the Dice of each proposal and whether the confidence is right
    on_case    called with (done, total, name) while the pictures are drawn

    A case whose files cannot be read is shown with the reason. Raises ProjectError when the page cannot be written.
    """
    from semisam.learning.history import read_history

    references: dict[str, Path] = {}
    if reference is not None:
        from semisam.files.volume_files import find_masks

        references = find_masks(reference)
    cases = ranked_cases(project)
    rows: list[_Row] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for row in pool.map(lambda case: _make_row(project, case, references.get(case.name)), cases):
            rows.append(row)
            if on_case is not None:
                on_case(len(rows), len(cases), row.case.name)
    history = read_history(project.log_dir / "history.jsonl")
    specialist = _read_json(project.models_dir / "specialist.json")
    page = Template(_TEMPLATE.read_text("utf-8")).substitute(
        title=_text(project.path.name),
        subtitle=_subtitle(project, specialist),
        segment_styles=_segment_styles(project.segments),
        summary=_summary(project, rows, history, specialist),
        learning=_learning(history, specialist),
        quality=_quality(rows, project.segments),
        layers=_layers(rows),
        rows="\n".join(_case_html(row, project.segments, n) for n, row in enumerate(rows)),
        details=_details(project, specialist),
        version=_text(__version__),
    )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, page)
    except OSError as error:
        raise ProjectError(f'Cannot write the report "{output}" ({error.strerror or error}).') from error
    compared = [row for row in rows if row.case.proposal is not None and row.case.annotation is None]
    others = [row for row in compared if not row.dice]
    reasons = [row.problem or f'"{reference}" holds no mask of the case "{row.case.name}".' for row in others]
    return References(len(compared) - len(others), len(compared), next(iter(reasons), ""))


def _make_row(project: Project, case: Case, reference: Path | None) -> _Row:
    from semisam.files.volume_files import read_image, read_mask
    from semisam.report.pictures import CasePicture, draw_case

    row = _Row(case)
    try:
        image = project.image(case.name)
        masks: dict[str, Volume] = {}
        if case.annotation is not None:
            masks["annotation"] = project.annotation(case.name)
        if case.proposal is not None:
            masks["proposal"] = project.proposal(case.name)
        if reference is not None and case.annotation is None:
            try:
                masks["reference"] = read_mask(reference, project.segments, reference=image.geometry)
            except SemiSAMError as error:  # the case itself can be shown all the same
                row.problem = str(error)
        doubt = project.uncertainty_path(case.name) if case.proposal is not None else None
        uncertainty = None if doubt is None else read_image(doubt)
        row.volumes_ml = volumes(case)
        if not row.volumes_ml and "annotation" in masks:
            row.volumes_ml = volumes_ml(masks["annotation"], project.segments)
        if "reference" in masks and "proposal" in masks:
            row.dice = _dice(masks["proposal"], masks["reference"], project.segments)
        row.pictures = draw_case(CasePicture(image, masks, uncertainty), project.segments)
    except SemiSAMError as error:
        row.problem = str(error)
    return row


def _dice(proposal: Volume, truth: Volume, segments: Sequence[Segment]) -> dict[str, float]:
    from semisam.measure import dice

    return {s.name: dice(proposal.voxels == s.value, truth.voxels == s.value) for s in segments}


# Parts of the page ----------------------------------------------------------------------------------------------------


def _subtitle(project: Project, specialist: Mapping[str, Any]) -> str:
    names = " ".join(
        f'<span class="segment"><i class="swatch segment{s.value}"></i>{_text(s.name)}</span>' for s in project.segments
    )
    model = specialist.get("weights", "").removesuffix(".safetensors")
    made = datetime.now(UTC).astimezone().strftime("%d %B %Y, %H:%M")
    return f"{names}<span>{made}</span>" + (f"<span>{_text(model)}</span>" if model else "")


def _segment_styles(segments: Sequence[Segment]) -> str:
    return "\n".join(f".segment{s.value} {{ --c: rgb({s.color[0]} {s.color[1]} {s.color[2]}); }}" for s in segments)


def _summary(project: Project, rows: Sequence[_Row], history: Sequence[Any], specialist: Mapping[str, Any]) -> str:
    counts = Counter(row.case.state.value for row in rows)
    confidences = sorted(row.confidence for row in rows if row.confidence is not None)
    known = [row.mean_dice for row in rows if row.mean_dice is not None]
    cards = [
        _card("cases", str(len(rows)), ", ".join(f"{counts[s]} {s}" for s in _STATES if counts[s])),
    ]
    if history:
        rounds = len({line.get("round", 0) for line in history})
        seconds, steps = _totals(history)
        cards.append(_card("trained", duration(seconds), f"{steps} steps, {rounds} round{'s' if rounds > 1 else ''}"))
    if confidences:
        middle = confidences[len(confidences) // 2]
        cards.append(_card("confidence", f"{middle:.2f}", f"median of the proposals, lowest {confidences[0]:.2f}"))
    if known:
        cards.append(
            _card("Dice", f"{sum(known) / len(known):.3f}", f"mean of {len(known)} proposals, lowest {min(known):.3f}")
        )
    bar = "".join(
        f'<i class="state-{s.replace(" ", "-")}" style="flex:{counts[s]}" title="{counts[s]} {s}"></i>'
        for s in _STATES
        if counts[s]
    )
    plan = _plan_in_words(project, specialist)
    words = f'<p class="plan"><b>Plan</b> {_text(plan)}</p>' if plan else ""
    return f'<div class="cards">{"".join(cards)}</div><div class="states" aria-hidden="true">{bar}</div>{words}'


def _card(title: str, value: str, note: str) -> str:
    return f"<div class='card'><h3>{_text(title)}</h3><strong>{_text(value)}</strong><p>{_text(note)}</p></div>"


def _totals(history: Sequence[Mapping[str, Any]]) -> tuple[float, int]:
    """Seconds and steps of all rounds; both are counted anew in each."""
    last = {line.get("round", 0): line for line in history}
    return sum(line.get("seconds", 0.0) for line in last.values()), sum(line.get("step", 0) for line in last.values())


def _plan_in_words(project: Project, specialist: Mapping[str, Any]) -> str:
    from semisam.specialists.plan import Plan

    try:
        if "plan" in specialist:
            return Plan.from_dict(specialist["plan"]).in_words()
        path = project.models_dir / "plan.json"
        return Plan.load(path).in_words() if path.exists() else ""
    except (SemiSAMError, KeyError, TypeError, ValueError):
        return ""


def _learning(history: Sequence[dict[str, Any]], specialist: Mapping[str, Any]) -> str:
    if not history:
        return ""
    from semisam.report.figures import learning_curves

    seconds, steps = _totals(history)
    facts = [f"{steps / max(seconds, 1e-6):.1f} steps a second"]
    if specialist.get("generalists"):
        facts.append(
            f"asking the generalists took {specialist.get('generalist_share', 0):.0%} of the training time, "
            f"encoding for them {duration(specialist.get('encoding_seconds', 0))}, "
            f"measuring the trust in them {duration(specialist.get('measuring_seconds', 0))}"
        )
    return (
        "<section><h2>Learning</h2>"
        f"<div class='panel'>{learning_curves(history)}</div>"
        f"<p class='note'>Shaded: learning from annotated cases alone. {_text('; '.join(facts))}.</p></section>"
    )


def _quality(rows: Sequence[_Row], segments: Sequence[Segment]) -> str:
    known = [row for row in rows if row.mean_dice is not None]
    if not known:
        return ""
    from semisam.measure import rank_correlation, worst_found
    from semisam.report.figures import confidence_plot

    lines = []
    for segment in segments:
        values = sorted(row.dice[segment.name] for row in known)
        mean, middle = sum(values) / len(values), values[len(values) // 2]
        name = f'<i class="swatch segment{segment.value}"></i>{_text(segment.name)}'
        lines.append(f"<tr><td>{name}</td><td>{mean:.3f}</td><td>{middle:.3f}</td><td>{values[0]:.3f}</td></tr>")
    pairs = [(row.confidence, row.mean_dice) for row in known if row.confidence is not None]
    confidence, quality = [pair[0] for pair in pairs], [pair[1] or 0.0 for pair in pairs]
    correlation, found = rank_correlation(confidence, quality), worst_found(confidence, quality)
    remarks = [f"The confidence is off by {_mean_gap(confidence, quality):.3f} on average."]
    if correlation is not None:
        remarks.append(f"It orders the cases with a rank correlation (Spearman) of {correlation:.2f}.")
    if found is not None:
        remarks.append(f"Looking at the fifth with the lowest confidence finds {found:.0%} of the worst fifth.")
    plot = f"<div class='panel plot'>{confidence_plot(confidence, quality)}</div>" if pairs else ""
    return (
        "<section><h2>Proposals against the reference</h2><div class='columns'>"
        f"<div><table><thead><tr><th>segment</th><th>mean Dice</th><th>median</th><th>lowest</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table><p class='note'>{len(known)} proposals of cases whose annotation the "
        f"program has not seen. {' '.join(remarks) if pairs else ''}</p></div>{plot}</div></section>"
    )


def _mean_gap(confidence: Sequence[float], quality: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(confidence, quality, strict=True)) / len(confidence)


def _layers(rows: Sequence[_Row]) -> str:
    """Switches for the layers that occur in the pictures."""
    markup = "".join(picture for row in rows for picture in row.pictures)
    found = [name for name in ("proposal", "annotation", "reference") if f'class="outline {name}' in markup]
    if 'class="uncertainty"' in markup:
        found.append("uncertainty")
    return "".join(
        f'<label class="layer-{name}"><input type="checkbox" id="show-{name}" checked><i></i>{name}</label>'
        for name in found
    )


def _case_html(row: _Row, segments: Sequence[Segment], rank: int) -> str:
    case = row.case
    state = case.state.value
    facts = []
    if row.confidence is not None:
        facts.append(
            f"<div class='confidence'><span>confidence</span><meter min='0' max='1' low='.6' high='.8' optimum='1' "
            f"value='{row.confidence:.3f}'></meter><b>{row.confidence:.2f}</b></div>"
        )
    lines = []
    for segment in segments:
        cells = [f'<td><i class="swatch segment{segment.value}"></i>{_text(segment.name)}</td>']
        volume = row.volumes_ml.get(segment.name)
        cells.append(f"<td>{'' if volume is None else f'{_digits(volume)} ml'}</td>")
        if row.dice:
            cells.append(f"<td>Dice {row.dice[segment.name]:.3f}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    if row.volumes_ml:
        facts.append(f"<table class='volumes'>{''.join(lines)}</table>")
    if row.problem:
        facts.append(f"<p class='problem'>{_text(row.problem)}</p>")
    facts.append(f"<p class='origin'>{_text(_origin(case))}</p>")
    pictures = "".join(f"<figure>{picture}</figure>" for picture in row.pictures)
    keys = {
        "rank": rank,
        "name": case.name,
        "confidence": -1 if row.confidence is None else row.confidence,
        "dice": 2 if row.mean_dice is None else row.mean_dice,
        "volume": -sum(row.volumes_ml.values()),
    }
    data = " ".join(f'data-{key}="{_text(str(value))}"' for key, value in keys.items())
    return (
        f'<article class="case" {data}><div class="facts"><h3>{_text(case.name)}</h3>'
        f'<span class="state state-{state.replace(" ", "-")}">{state}</span>{"".join(facts)}</div>'
        f'<div class="pictures">{pictures}</div></article>'
    )


def _digits(volume: float) -> str:
    return f"{volume:.0f}" if volume >= 100 else f"{volume:.1f}" if volume >= 10 else f"{volume:.2f}"


def _origin(case: Case) -> str:
    """Who or what made the masks of a case, and when."""
    parts = []
    for word, record in (("annotation", case.annotation), ("proposal", case.proposal)):
        if record is not None:
            maker = record.provenance.get("author") or record.provenance.get("model") or "unknown"
            parts.append(f"{word} by {maker}, {str(record.provenance.get('created', ''))[:16].replace('T', ' ')} UTC")
    return "; ".join(parts)


def _details(project: Project, specialist: Mapping[str, Any]) -> str:
    plan = _read_json(project.models_dir / "plan.json")
    model = {key: value for key, value in specialist.items() if key != "plan"}
    blocks = [("The model", model), ("The plan in full", plan)]
    shown = "".join(
        f"<details><summary>{title}</summary><pre>{_text(_short_json(content))}</pre></details>"
        for title, content in blocks
        if content
    )
    return f"<section><h2>Details</h2>{shown}</section>" if shown else ""


def _short_json(content: Mapping[str, Any]) -> str:
    """One entry a line, lists on one line."""
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items())


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one when the file is missing or damaged: the page shows what there is."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _text(text: str) -> str:
    return html.escape(text, quote=True)
