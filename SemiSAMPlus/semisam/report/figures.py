"""The curves of the report as SVG that takes the colors of the page: text and axes follow its light or dark style."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stands for "the color of the text around" until the SVG is written.
_TEXT = "#010203"
# Legible on white and on near-black alike.
_COLORS = ("#3b82c4", "#e08a2e", "#3fa66b", "#c0567f", "#8b6fd1", "#9a8f3c")
# Any: the stubs want a type for every single key.
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "text.parse_math": False,  # a $ in the name of a segment is one
    "lines.linewidth": 1.6,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor"), _TEXT),
    **dict.fromkeys(("xtick.color", "ytick.color", "grid.color"), _TEXT),
}
_LOSSES = (
    ("loss", "all together"),
    ("loss_supervised", "annotated cases"),
    ("loss_consistency", "consistency"),
    ("loss_generalist", "generalists"),
)
# Up to so many segments each has a curve of its own.
_FEW_SEGMENTS = 4

Line = dict[str, Any]


def learning_curves(history: Sequence[Line]) -> str:
    """Loss, learning rate, trust in the generalists, and agreement of the pseudo-labels, over the minutes."""
    minutes = _running_minutes(history)
    with _figure(9.6, 5.2) as figure:
        axes = figure.subplots(2, 2)
        _draw_losses(axes[0, 0], history, minutes)
        _curve(axes[0, 1], minutes, [line.get("learning_rate") for line in history], _COLORS[0])
        axes[0, 1].set_title("Learning rate")
        axes[0, 1].set_ylim(bottom=0)
        _draw_trust(axes[1, 0], history, minutes)
        _curve(axes[1, 1], minutes, [line.get("pseudo_label_agreement") for line in history], _COLORS[2])
        axes[1, 1].set_title("Agreement with the pseudo-labels (Dice)")
        axes[1, 1].set_ylim(0, 1)
        for panel in axes.flat:
            panel.set_xlim(0, max([*minutes, 1e-3]))
            _shade_supervised(panel, history, minutes)
        for panel in axes[1]:
            panel.set_xlabel("minutes")
        return _svg(figure, "Curves of the training")


def confidence_plot(confidence: Sequence[float], quality: Sequence[float]) -> str:
    """Each case as a point: the Dice that the specialist expected against the true one."""
    with _figure(3.7, 3.5) as figure:
        panel = figure.subplots()
        low = min([*confidence, *quality, 0.9])
        low = max(0.0, np.floor(low * 10) / 10)
        panel.plot([low, 1], [low, 1], color=_TEXT, alpha=0.35, linewidth=1, linestyle="--")
        panel.scatter(confidence, quality, s=26, color=_COLORS[0], alpha=0.75, linewidths=0)
        panel.set(xlim=(low, 1), ylim=(low, 1), xlabel="confidence", ylabel="true Dice", aspect="equal")
        return _svg(figure, "Confidence against true Dice")


def _running_minutes(history: Sequence[Line]) -> list[float]:
    """Minutes since the first round began; the clock of a line starts anew with each round."""
    minutes, before, last = [], 0.0, 0.0
    for line in history:
        seconds = float(line.get("seconds") or 0.0)
        if seconds < last:
            before += last
        last = seconds
        minutes.append((before + seconds) / 60)
    return minutes


def _draw_losses(panel: Axes, history: Sequence[Line], minutes: Sequence[float]) -> None:
    drawn: list[list[float | None]] = []
    for color, (key, label) in zip(_COLORS, _LOSSES, strict=False):
        values = [line.get(key) for line in history]
        # With annotated cases alone, all together is the same curve.
        if any(value is not None for value in values) and values not in drawn:
            drawn.append(values)
            _curve(panel, minutes, _smoothed(values), color, label)
    panel.set_title("Loss")
    panel.set_ylim(bottom=0)
    panel.legend(fontsize=8)


def _draw_trust(panel: Axes, history: Sequence[Line], minutes: Sequence[float]) -> None:
    """A curve for each generalist and segment; with many segments one for each generalist, and the range around it."""
    trusts = [line.get("trust", {}) for line in history]
    generalists = sorted({name for trust in trusts for name in trust})
    segments = sorted({segment for trust in trusts for values in trust.values() for segment in values})
    for name, color in zip(generalists, itertools.cycle(_COLORS)):
        if len(segments) <= _FEW_SEGMENTS:
            for segment, style in zip(segments, ("-", "--", ":", "-."), strict=False):
                values = [trust.get(name, {}).get(segment) for trust in trusts]
                _curve(panel, minutes, values, color, f"{name}, {segment}", style)
            continue
        known = [
            (minute, list(trust[name].values()))
            for minute, trust in zip(minutes, trusts, strict=True)
            if trust.get(name)
        ]
        when = [minute for minute, _ in known]
        panel.fill_between(
            when, [min(v) for _, v in known], [max(v) for _, v in known], color=color, alpha=0.12, linewidth=0
        )
        _curve(panel, when, [sum(v) / len(v) for _, v in known], color, f"{name}, mean of {len(segments)} segments")
    panel.set_title("Trust in the generalists")
    panel.set_ylim(-0.02, 1.02)
    if generalists:
        panel.legend(fontsize=7, ncols=1 if len(panel.get_lines()) < 7 else 2)
    else:
        panel.text(0.5, 0.5, "no generalist was asked", transform=panel.transAxes, ha="center", alpha=0.6)


def _shade_supervised(panel: Axes, history: Sequence[Line], minutes: Sequence[float]) -> None:
    for index, (line, minute) in enumerate(zip(history, minutes, strict=True)):
        if line.get("phase") == "supervised":
            start = minutes[index - 1] if index else 0.0
            panel.axvspan(start, minute, color=_TEXT, alpha=0.06, linewidth=0)


def _curve(
    panel: Axes,
    minutes: Sequence[float],
    values: Sequence[float | None],
    color: str,
    label: str | None = None,
    style: str = "-",
) -> None:
    known = [(minute, value) for minute, value in zip(minutes, values, strict=True) if value is not None]
    if known:
        marker = "o" if len(known) == 1 else None
        panel.plot(*zip(*known, strict=True), color=color, label=label, linestyle=style, marker=marker, markersize=4)


def _smoothed(values: Sequence[float | None], weight: float = 0.75) -> list[float | None]:
    """Exponential mean, so that the trend shows through the noise of single batches."""
    smooth: list[float | None] = []
    mean: float | None = None
    for value in values:
        if value is None:
            smooth.append(None)
            continue
        mean = value if mean is None else weight * mean + (1 - weight) * value
        smooth.append(mean)
    return smooth


class _figure:
    """A matplotlib figure in the report's style, without the state of pyplot."""

    def __init__(self, width: float, height: float) -> None:
        import matplotlib

        self._context = matplotlib.rc_context(_STYLE)
        self._size = (width, height)

    def __enter__(self) -> Figure:
        self._context.__enter__()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=self._size, layout="constrained")
        FigureCanvasAgg(figure)
        return figure

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)


def _svg(figure: Figure, label: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_TEXT, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # The page decides on the width; the height follows.
    text = re.sub(r'<svg (.*?)height="[\d.]+pt"', r"<svg \1", text, count=1, flags=re.DOTALL)
    attributes = f'class="figure" role="img" aria-label="{label}"'
    return re.sub(r'(<svg .*?)width="[\d.]+pt"', rf"\1{attributes}", text, count=1, flags=re.DOTALL)
