"""Figures of an evaluation: CMC, ROC and histograms of distances, for the page and, as PNG and PDF, for a paper."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .direction import RankedDirection, group_by_case

SIZE = (5.2, 3.6)  # inches
LEGEND_LINE = 0.22  # inches, of a line of the legend
DOTS_PER_INCH = 200  # of the PNG files
MAX_RANK = 20  # of the CMC curve
LOWEST_RATE = 1e-5  # false-positive rates below it are drawn at it: a logarithmic axis has no zero
# Colours that stand out from white and from near-black; lines differ in their dashes, too.
COLOURS = ("#2f7de1", "#d9730d", "#1f9d63", "#a35be0")
DASHES = ("-", "--", "-.", ":")
INK = "#000001"  # becomes the colour of the page's text
STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 10,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",  # text stays text
    "pdf.fonttype": 42,  # TrueType: journals refuse matplotlib's Type 3
}


@dataclass(frozen=True)
class PageFigure:
    """A figure as the page embeds it: a title, a sentence for those who cannot see it, and SVG."""

    title: str
    description: str
    svg: str


def write_figures(
    directions: Sequence[RankedDirection], verification: Sequence[Mapping[str, Any]], folder: Path
) -> list[PageFigure]:
    """Draw every figure once; write it as PNG and PDF, and return it as SVG for the page.

    Args:
        directions: By every method, the visual one first.
        verification: What results.json holds of them.
        folder: It is created.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures: list[PageFigure] = []
    with mpl.rc_context(STYLE):
        for own in group_by_case(directions):
            name, title = own[0].case.name, own[0].case.title
            drawn = {
                "cmc": ("CMC", *_draw_cmc(own)),
                "roc": ("ROC", *_draw_roc([row for row in verification if row["direction"] == title])),
                "distances": ("Distances, visual only", *_draw_distances(own[0])),
            }
            for kind, (heading, description, figure) in drawn.items():
                stem = f"{kind}_{name}"
                figure.savefig(folder / f"{stem}.png", dpi=DOTS_PER_INCH, facecolor="white")
                figure.savefig(folder / f"{stem}.pdf", facecolor="white", metadata={"CreationDate": None})
                figures.append(PageFigure(f"{heading}, {title}", description, _as_svg(figure, stem)))
    return figures


def _draw_cmc(directions: Sequence[RankedDirection]) -> tuple[str, Figure]:
    figure, axes = _axes("rank", "queries with a true match, %")
    for direction, look in zip(directions, _looks(), strict=False):
        shown = 100 * direction.cmc[:MAX_RANK]
        axes.plot(range(1, len(shown) + 1), shown, label=str(direction.method), **look)
    axes.set_xlim(1, MAX_RANK)
    axes.set_xticks((1, 5, 10, 15, 20))
    lowest = 100 * min(direction.cmc[0] for direction in directions)
    axes.set_ylim(min(10 * (lowest // 10), 90), 101)
    _add_legend(figure, len(directions))
    values = "; ".join(f"{direction.method} {100 * direction.cmc[0]:.2f} % at rank 1" for direction in directions)
    return f"Share of queries with a true match up to each rank. {values}.", figure


def _draw_roc(rows: Sequence[Mapping[str, Any]]) -> tuple[str, Figure]:
    figure, axes = _axes("false pairs accepted (FPR)", "true pairs accepted (TPR), %")
    for row, look in zip(rows, _looks(), strict=False):
        rates = [max(point["false_positive_rate"], LOWEST_RATE) for point in row["roc"]]
        accepted = [100 * point["true_positive_rate"] for point in row["roc"]]
        axes.plot(rates, accepted, label=row["method"], drawstyle="steps-post", **look)
    axes.set_xscale("log")
    axes.set_xlim(LOWEST_RATE, 1)
    axes.set_ylim(0, 101)
    _add_legend(figure, len(rows))
    values = "; ".join(f"{row['method']} {100 * row['equal_error_rate']:.2f} %" for row in rows)
    return f"True pairs accepted against false pairs accepted. Equal error rate: {values}.", figure


def _draw_distances(direction: RankedDirection) -> tuple[str, Figure]:
    figure, axes = _axes("distance", "share of the pairs in a bin, %")
    kinds = (("false pairs", direction.num_false, "#d9730d", "--"), ("true pairs", direction.num_true, "#2f7de1", "-"))
    for name, counts, colour, dash in kinds:
        label = f"{name} ({int(counts.sum()):,})"
        shares = 100 * counts / max(counts.sum(), 1)
        axes.stairs(shares, direction.edges, color=colour, fill=True, alpha=0.25)
        axes.stairs(shares, direction.edges, color=colour, linestyle=dash, linewidth=1.8, label=label)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)  # above: peaks may be anywhere
    return "Histograms of the distances of pairs of one person, and of pairs of two, each of 100 % in all.", figure


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")  # no pyplot: it needs no display and keeps no state
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.2, color=INK, linewidth=0.6)
    return figure, axes


def _add_legend(figure: Figure, num_lines: int) -> None:
    """List the lines above the axes, since curves may be anywhere; the figure becomes higher by the legend."""
    figure.legend(loc="outside upper left")
    figure.set_figheight(SIZE[1] + num_lines * LEGEND_LINE)


def _looks() -> Iterator[dict[str, Any]]:
    """Yield styles of lines that differ in colour and dashes."""
    for index in count():
        dash = DASHES[(index + index // len(COLOURS)) % len(DASHES)]
        yield {"color": COLOURS[index % len(COLOURS)], "linestyle": dash, "linewidth": 2}


def _as_svg(figure: Figure, name: str) -> str:
    """Return SVG that stands in a page beside others: no header, no ids but those referred to, the page's ink."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):  # ids depend on the figure, not on chance
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r'<g id="[^"]*"', "<g", svg).replace(INK, "currentColor")
