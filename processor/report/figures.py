"""Figures of an evaluation: CMC, ROC and histograms of distances, for the page and, as PNG and PDF, for a paper."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from utils.text import percent

from .direction import RankedDirection, group_by_case

SIZE = (5.2, 3.6)  # inches
LEGEND_LINE = 0.22  # inches, of a line of the legend
DOTS_PER_INCH = 200  # of the PNG files
MAX_RANK = 20  # of the CMC curve
LOWEST_RATE = 1e-5  # false-positive rates below it are drawn at it: a logarithmic axis has no zero
# Colours that stand out from white and from near-black; lines differ in their dashes, too.
COLOURS = ("#2f7de1", "#d9730d", "#1f9d63", "#a35be0", "#808080")
DASHES = ("-", "--", ":")  # as many as make every line of the first fifteen another
INK = "#000001"  # becomes the colour of the page's text
STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=len(DASHES) * COLOURS, linestyle=len(COLOURS) * DASHES),
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 10,
    "grid.alpha": 0.2,
    "grid.color": INK,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",  # text stays text
    "pdf.fonttype": 42,  # TrueType: journals refuse matplotlib's Type 3
}


def write_figures(
    directions: Sequence[RankedDirection], verification: Sequence[Mapping[str, Any]], folder: Path
) -> list[tuple[str, str, str]]:
    """Draw every figure as PNG and PDF; returns title, description for those who cannot see it, and SVG of each."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    for own in group_by_case(directions):
        title = own[0].case.title
        rates = [row for row in verification if row["direction"] == title]
        drawings: list[tuple[str, str, Callable[[Axes], str]]] = [
            ("cmc", "CMC", partial(_draw_cmc, own)),
            ("roc", "ROC", partial(_draw_roc, rates)),
            ("distances", "Distances, visual only", partial(_draw_distances, own[0])),
        ]
        for kind, heading, draw in drawings:
            description, svg = _draw(draw, f"{kind}_{own[0].case.name}", folder)
            figures.append((f"{heading}, {title}", description, svg))
    return figures


def draw_lines(name: str, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], **labels: Any) -> str:
    """Draw lines by their names, x and y, as SVG; ``name`` is the figure's, and ``labels`` are those of the axes."""

    def draw(axes: Axes) -> str:
        for label, points in lines.items():
            axes.plot(*points, marker=".", label=label)
        axes.set(**labels)
        return ""

    return _draw(draw, name)[1]


def _draw(draw: Callable[[Axes], str], name: str, folder: Path | None = None) -> tuple[str, str]:
    """Draw a figure, as PNG and PDF into a folder, too; returns what ``draw`` says of it, and SVG.

    The legend is above the axes, since curves may be anywhere; the figure becomes higher by it.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):  # ids depend on the figure, not on chance
        figure = Figure(figsize=SIZE, layout="constrained")  # no pyplot: it needs no display, keeps no state
        description = draw(axes := figure.subplots())
        figure.legend(loc="outside upper left")
        figure.set_figheight(SIZE[1] + len(axes.get_legend_handles_labels()[0]) * LEGEND_LINE)
        if folder:
            figure.savefig(folder / f"{name}.png", dpi=DOTS_PER_INCH, facecolor="white")
            figure.savefig(folder / f"{name}.pdf", facecolor="white", metadata={"CreationDate": None})
        return description, _as_svg(figure)


def _draw_cmc(directions: Sequence[RankedDirection], axes: Axes) -> str:
    for direction in directions:
        shown = 100 * direction.cmc[:MAX_RANK]
        axes.plot(range(1, len(shown) + 1), shown, label=str(direction.method))
    lowest = 100 * min(direction.cmc[0] for direction in directions)
    axes.set(xlabel="rank", xlim=(1, MAX_RANK), xticks=(1, 5, 10, 15, 20))
    axes.set(ylabel="queries with a true match, %", ylim=(min(10 * (lowest // 10), 90), 101))
    values = "; ".join(f"{direction.method} {percent(direction.cmc[0])} % at rank 1" for direction in directions)
    return f"Share of queries with a true match up to each rank. {values}."


def _draw_roc(rows: Sequence[Mapping[str, Any]], axes: Axes) -> str:
    for row in rows:
        rates = [max(point["false_positive_rate"], LOWEST_RATE) for point in row["roc"]]
        accepted = [100 * point["true_positive_rate"] for point in row["roc"]]
        axes.plot(rates, accepted, label=row["method"], drawstyle="steps-post")
    axes.set(xlabel="false pairs accepted (FPR)", xscale="log", xlim=(LOWEST_RATE, 1))
    axes.set(ylabel="true pairs accepted (TPR), %", ylim=(0, 101))
    values = "; ".join(f"{row['method']} {percent(row['equal_error_rate'])} %" for row in rows)
    return f"True pairs accepted against false pairs accepted. Equal error rate: {values}."


def _draw_distances(direction: RankedDirection, axes: Axes) -> str:
    kinds = (("true pairs", direction.num_true), ("false pairs", direction.num_false))
    for (name, counts), colour, dash in zip(kinds, COLOURS, DASHES, strict=False):
        shares, label = 100 * counts / max(counts.sum(), 1), f"{name} ({int(counts.sum()):,})"
        axes.stairs(shares, direction.edges, color=colour, linestyle=dash, linewidth=2, label=label)
    axes.set(xlabel="distance", ylabel="share of the pairs in a bin, %")
    return "Histograms of the distances of pairs of one person, and of pairs of two, each of 100 % in all."


def _as_svg(figure: Figure) -> str:
    """Return SVG that stands in a page beside others: no header, no ids but those referred to, the page's ink."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    return re.sub(r'<g id="[^"]*"', "<g", svg[svg.index("<svg") :]).replace(INK, "currentColor")
