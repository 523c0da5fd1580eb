"""Pictures of a comparison, as SVG text that stands in a page: no script, no font, nothing from elsewhere."""

import datetime as dt
import io
from collections.abc import Callable, Iterator

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from rendezvous_router.compare.results import Comparison, Difference

__all__ = ["Picture", "draw_pictures"]

FIRST, SECOND, INK, FAINT = "#2563a8", "#d9691a", "#1f2933", "#c5ced8"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rendezvous",
    "font.family": ["sans-serif"],
    "font.size": 10,
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e9edf1",
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "svg.image_inline": True,
}

Picture = tuple[str, str, str]
"""Title, what it shows, SVG."""

_OVER_TIME = ("accuracy", "brier", "mae", "score", "latency_ms", "failed")


def draw_pictures(comparison: Comparison) -> list[Picture]:
    """Returns the pictures that the comparison has numbers for."""
    return list(_all(comparison))


def _all(comparison: Comparison) -> Iterator[Picture]:
    first, second = comparison.first, comparison.second
    name = comparison.score_column or "score"
    if first.histogram and second.histogram:
        yield (
            "Scores",
            f"How often each model gives which {name}.",
            _svg(lambda axes: _histogram(axes, comparison)),
        )
    if first.score and second.score:
        yield (
            "Quantile against quantile",
            "On the line, both give the same scores equally often; faint dots are rows of a sample.",
            _svg(lambda axes: _qq(axes, comparison)),
        )
    if first.calibration or second.calibration:
        yield (
            "Calibration",
            f"Of rows given a probability, how many were {comparison.truth.positive or 'positive'}; perfect: the line.",
            _svg(lambda axes: _calibration(axes, comparison)),
        )
    if first.latency_ms and second.latency_ms:
        yield (
            "Latency",
            "Milliseconds from the stored request to the stored score, by share of rows.",
            _svg(lambda axes: _latency(axes, comparison)),
        )
    for difference in _over_time(comparison):
        yield (
            f"Difference over time: {difference.title}",
            f"{second.name} - {first.name}, of all requests up to then. The band holds at every moment together.",
            _svg(lambda axes, told=difference: _band(axes, told)),  # type: ignore[misc]
        )


def _over_time(comparison: Comparison) -> list[Difference]:
    by_key = {each.key: each for each in comparison.differences if len(each.over_time) > 1}
    return [by_key[key] for key in _OVER_TIME if key in by_key][:4]


def _svg(draw: Callable[[Axes], None]) -> str:
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type] # names of options
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _histogram(axes: Axes, comparison: Comparison) -> None:
    for model, colour in ((comparison.first, FIRST), (comparison.second, SECOND)):
        axes.stairs(model.histogram, comparison.score_edges, color=colour, lw=1.6, label=model.name)
        axes.stairs(model.histogram, comparison.score_edges, color=colour, alpha=0.13, fill=True)
    axes.set_ylabel("share of rows")
    axes.set_xlabel(comparison.score_column or "score")
    axes.set_ylim(bottom=0)
    axes.legend()


def _qq(axes: Axes, comparison: Comparison) -> None:
    x, y = list((comparison.first.score or {}).values()), list((comparison.second.score or {}).values())
    if comparison.sample:
        x_dots, y_dots = zip(*comparison.sample, strict=True)
        axes.scatter(x_dots, y_dots, s=3, color="#8796a5", alpha=0.25, linewidths=0, rasterized=True)
    low, high = min(*x, *y), max(*x, *y)
    axes.plot([low, high], [low, high], color=FAINT, lw=1.2)
    axes.plot(x, y, color=SECOND, lw=1.4, marker="o", ms=4.5)
    for name, at_x, at_y in zip(comparison.first.score or {}, x, y, strict=True):
        axes.annotate(name, (at_x, at_y), textcoords="offset points", xytext=(6, -9), fontsize=8, color="#52606d")
    axes.set_xlabel(comparison.first.name)
    axes.set_ylabel(comparison.second.name)


def _calibration(axes: Axes, comparison: Comparison) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1.2)
    for model, colour in ((comparison.first, FIRST), (comparison.second, SECOND)):
        if model.calibration:
            most = max(each["rows"] for each in model.calibration)
            x, y = ([each[key] for each in model.calibration] for key in ("predicted", "came_true"))
            axes.plot(x, y, color=colour, lw=1.3, label=model.name)
            axes.scatter(x, y, s=[8 + 50 * each["rows"] / most for each in model.calibration], color=colour, zorder=3)
    axes.set(xlabel="probability given", ylabel="share that came true", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend()


def _latency(axes: Axes, comparison: Comparison) -> None:
    for model, colour in ((comparison.first, FIRST), (comparison.second, SECOND)):
        told = model.latency_ms or {}
        places = range(len(told))
        axes.plot(places, list(told.values()), color=colour, marker="o", ms=4.5, lw=1.4, label=model.name)
        axes.set_xticks(list(places), ["p99.9" if name == "p999" else name for name in told])
    if all(value > 0 for model in (comparison.first, comparison.second) for value in (model.latency_ms or {}).values()):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    axes.set_ylabel("ms")
    axes.legend()


def _band(axes: Axes, difference: Difference) -> None:
    told = difference.over_time
    when = [dt.datetime.fromtimestamp(each.unix_us / 1e6, dt.UTC) for each in told]
    axes.fill_between(when, [e.low for e in told], [e.high for e in told], color=SECOND, alpha=0.18, lw=0)  # type: ignore[arg-type] # times
    axes.plot(when, [each.difference for each in told], color=SECOND, lw=1.6)  # type: ignore[arg-type] # the same
    axes.axhline(0, color=INK, lw=0.9)
    # The first spans hold few requests; what they leave open would flatten all the rest.
    settled = told[len(told) // 6 :]
    low, high = min(0, *(each.low for each in settled)), max(0, *(each.high for each in settled))
    margin = 0.08 * ((high - low) or 1)
    axes.set_ylim(low - margin, high + margin)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))  # type: ignore[no-untyped-call] # matplotlib's
    axes.set_ylabel(difference.title)
