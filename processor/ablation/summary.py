"""Sum up the runs of an ablation: what each variant changes, with intervals, what it costs, and its curves."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from configs.load import LAST_CHECKPOINT
from utils.bootstrap import PairedDifference
from utils.checkpoint import read_checkpoint
from utils.files import write_text
from utils.html_page import render_page
from utils.text import format_table, percent, read_text

from ..evaluation.results import VISUAL
from ..report import tables
from ..report.compare import compare_runs, read_pairs
from ..report.figures import draw_lines
from ..training.monitor import HISTORY, PHASES, Row, read_history
from .trials import Trial, Variant

TEMPLATE = Path(__file__).parent / "page_template" / "page.html"
NAME = "ablation"  # of the files
MEASURES = ("R1", "mAP")
CURVES = {"total": "total loss", "accuracy": "accuracy in training"}


@dataclass(frozen=True)
class Summary:
    """What the seeds of a variant that are done say."""

    name: str
    row: str  # of its results that is compared
    num_runs: int
    scores: dict[str, float]  # of this row, 0..1, the mean over seeds, of all directions together
    differences: dict[str, PairedDifference]  # to the base's row of this name or else its visual one; by measure
    costs: dict[str, float]  # seconds of a step, peak memory, parameters; empty for one that is only evaluated


def write_summary(variants: Sequence[Variant], num_seeds: int, output: Path, origin: str) -> str:
    """Write ablation.txt, .json and .html of the runs that are done; returns the table."""
    trials = {each.name: [Trial(each, seed, output) for seed in range(num_seeds)] for each in variants}
    base = next(iter(trials.values()))
    summaries = [summarize(base, own) for own in trials.values()]
    table = format_summaries(summaries, num_seeds)
    curves = {name: curve for name, own in trials.items() if (curve := _average_histories(own))}
    page = render_page(
        TEMPLATE,
        {"data": origin},
        title="Ablation",
        measures=MEASURES,
        summaries=summaries,
        num_seeds=num_seeds,
        percent=percent,
        figures=[(title, _draw_curves(curves, column, title)) for column, title in CURVES.items()] if curves else [],
    )
    write_text(f"{table}\n", output / f"{NAME}.txt")
    text = json.dumps([asdict(each) for each in summaries])
    content = json.loads(text, parse_constant=lambda infinite: None)  # ends of few people's intervals are no JSON
    write_text(f"{json.dumps(content, indent=2)}\n", output / f"{NAME}.json")
    write_text(page, output / f"{NAME}.html")
    return table


def summarize(base: Sequence[Trial], own: Sequence[Trial]) -> Summary:
    """Sum up a variant by the seeds of which both its run and that of the base are done."""
    name = own[0].variant.name
    done = [pair for pair in zip(base, own, strict=True) if pair[0].is_done and pair[1].is_done]
    if not done:
        return Summary(name, "-", 0, {}, {}, {})
    firsts, seconds = ([trial.results for trial in side] for side in zip(*done, strict=True))
    runs, of_base = [_read_rows(folder) for folder in seconds], _read_rows(firsts[0])
    changed = [method for method in runs[0] if runs[0][method] != of_base.get(method)]
    added = [method for method in changed if method not in of_base]
    method = next(iter(added or changed), str(VISUAL))
    scores = {measure: float(np.mean([run[method][measure] for run in runs])) for measure in MEASURES}
    differences = {}
    if own is not base:
        rows = compare_runs(read_pairs(firsts, seconds, (method if method in of_base else str(VISUAL), method))[0])
        differences = {row.measure: row.paired for row in rows if row.measure in MEASURES}  # the last are of all
    return Summary(name, tables.title_of(runs[0][method]), len(done), scores, differences, _measure_costs(own))


def _read_rows(results: Path) -> dict[str, tables.Row]:
    """Return the row of each method of an evaluation, of all its directions together: the last one."""
    return {row["method"]: row for row in json.loads(read_text(results / "results.json"))["results"]}


def _measure_costs(trials: Sequence[Trial]) -> dict[str, float]:
    """Return seconds of a step, peak GiB and millions of parameters of a trained variant, as far as they are known."""
    if not (history := _average_histories(trials)):
        return {}
    seconds = np.mean([sum(row[phase] for phase in PHASES) for row in history])
    costs = {"s a step": float(seconds)}
    if "peak_gib" in history[-1]:
        costs["peak GiB"] = history[-1]["peak_gib"]
    checkpoints = (trial.folder / LAST_CHECKPOINT for trial in trials)
    if path := next(filter(Path.is_file, checkpoints), None):
        costs["million parameters"] = sum(value.numel() for value in read_checkpoint(path)["model"].values()) / 1e6
    return costs


def _average_histories(trials: Sequence[Trial]) -> list[Row]:
    """Average the rows of the trials' histories, epoch by epoch, as long as all have them."""
    found = [read_history(trial.folder / HISTORY) for trial in trials if trial.is_done]
    return [
        {name: float(np.mean([row[name] for row in rows])) for name in set.intersection(*map(set, rows))}
        for rows in zip(*filter(None, found), strict=False)
    ]


def format_summaries(summaries: Sequence[Summary], num_seeds: int) -> str:
    """Lay out a row for each variant, in percent; differences are to the base."""
    columns = list(dict.fromkeys(name for each in summaries for name in each.costs))
    rows = []
    for each in summaries:
        row = [each.name, each.row, f"{each.num_runs} of {num_seeds}"]
        for measure in MEASURES:
            row.append(percent(each.scores[measure]) if each.scores else "-")
            if paired := each.differences.get(measure):
                row.append(
                    f"{percent(paired.difference, '+')} ({percent(paired.low, '+')} to {percent(paired.high, '+')})"
                )
            else:
                row.append("-")
        rows.append(row + [f"{each.costs[name]:.3g}" if name in each.costs else "-" for name in columns])
    pairs = [name for measure in MEASURES for name in (measure, "difference (95 % interval)")]
    header = ["in percent", "row", "runs", *pairs, *columns]
    return format_table(header, rows, align="<<" + ">" * (len(header) - 2))


def _draw_curves(curves: Mapping[str, Sequence[Row]], column: str, title: str) -> str:
    return draw_lines(
        f"{NAME}-{column}",
        {name: ([row["epoch"] for row in rows], [row[column] for row in rows]) for name, rows in curves.items()},
        xlabel="epoch",
        ylabel=title,
    )
