"""The curves of a training run as one picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LOSSES = ("id", "triplet", "memory", "frame")
PHASES = ("data", "forward", "backward", "update")

History = Sequence[Mapping[str, float]]


def draw_curves(rows: History, path: Path) -> None:
    """Draw losses, accuracy with validation, learning rate, and seconds of a step, over the epochs.

    Args:
        rows: Means of each epoch, with its number as "epoch"; a curve that no row has is left out.
        path: PNG file to write.
    """
    figure = Figure(figsize=(12, 8))  # no pyplot: it needs no display and keeps no state
    figure.subplots_adjust(0.05, 0.07, 0.98, 0.95, hspace=0.25, wspace=0.15)
    (losses, accuracy), (rate, seconds) = figure.subplots(2, 2)
    for index, name in enumerate(LOSSES):
        _plot(losses, rows, name, color=f"C{index}")
        _plot(losses, rows, f"{name}_hard", color=f"C{index}", linestyle=":")
    _plot(losses, rows, "total", color="black")
    losses.set_yscale("log")
    losses.set_title("loss terms, unweighted (dotted: against the hard labels)")
    _plot(accuracy, rows, "accuracy")
    for name in ("validation_mAP", "monitoring_mAP"):
        _plot(accuracy, rows, name, linestyle="", marker="o")
        _plot(accuracy, rows, f"{name}_averaged", linestyle="", marker="s")
    accuracy.set_ylim(0, 1.02)
    accuracy.set_title("accuracy in training, and validation mAP")
    _plot(rate, rows, "lr")
    rate.set_yscale("log")
    rate.set_title("learning rate")
    names = [f"seconds_{name}" for name in PHASES]
    complete = [row for row in rows if all(name in row for name in names)]
    if complete:
        epochs = [row["epoch"] for row in complete]
        seconds.stackplot(epochs, *([row[name] for row in complete] for name in names), labels=PHASES)
    seconds.set_title("seconds of a step (data: waiting for it)")
    for axes in (losses, accuracy, rate, seconds):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=80)


def _plot(
    axes: Axes, rows: History, name: str, color: str | None = None, linestyle: str = "-", marker: str = "."
) -> None:
    points = [(row["epoch"], row[name]) for row in rows if name in row]
    if points:
        axes.plot(*zip(*points, strict=True), label=name, color=color, linestyle=linestyle, marker=marker)
