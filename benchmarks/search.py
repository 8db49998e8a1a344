"""Measure the search in an index of tracklets: exact, and approximate by compact codes.

    python -m benchmarks.search

The features are generated: those of a tracklet are its person's centre plus noise. Their spectrum decays, as that of
learned features does: the variance of number i is proportional to 1 / i.
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from search.described import DescribedTracklets
from search.index import TrackletIndex, read_index, write_index
from utils.arguments import at_least
from utils.commands import run_command

logger = logging.getLogger(__name__)

NOISE = 0.8  # deviation of a tracklet from its person's centre, in deviations of the centres
K = 10
NUM_SINGLES = 50  # queries that are answered alone


def make_features(count: int, width: int, per_person: int) -> np.ndarray:
    """Generate features of length 1, (count, width), float32; those of a person are not neighbouring rows."""
    rng = np.random.default_rng(0)
    scale = (1 / np.sqrt(1 + np.arange(width))).astype(np.float32)
    num_people = -(-count // per_person)
    centres = rng.standard_normal((num_people, width), dtype=np.float32)
    features = rng.standard_normal((count, width), dtype=np.float32)
    features *= NOISE
    for start in range(0, count, num_people):
        part = features[start : start + num_people]
        part += centres[: len(part)]
    features *= scale
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features


def describe(features: np.ndarray) -> DescribedTracklets:
    """Return described tracklets that have these features."""
    keys = [f"{row:09}" for row in range(len(features))]
    return DescribedTracklets(keys, features, np.full(len(features), -1), keys)


def resident_memory() -> float:
    """Return the memory that this process holds now, in GiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**30


def time_queries(index: TrackletIndex, queries: np.ndarray, name: str) -> tuple[np.ndarray, dict[str, float]]:
    """Answer all queries at once, and then some one by one; returns the rows, and the milliseconds of a query."""
    start = time.perf_counter()
    rows, _ = index.find_nearest(queries, K)
    together = time.perf_counter()
    singles = queries[:NUM_SINGLES]
    for query in singles:
        index.find_nearest(query[None], K)
    alone = time.perf_counter()
    figures = {
        f"{name} together": 1000 * (together - start) / len(queries),
        f"{name} alone": 1000 * (alone - together) / len(singles),
    }
    logger.info(
        "%s: a query takes %.1f ms alone, %.1f ms of %d together", name, *reversed(figures.values()), len(queries)
    )
    return rows, figures


def run(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Measure with the options of the command line, and log; returns the logged figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracklets", type=at_least(100), default=200_000)
    parser.add_argument("--width", type=at_least(2), default=512, help="numbers of a feature")
    parser.add_argument("--per_person", type=at_least(1), default=10, help="tracklets of each person")
    parser.add_argument("--queries", type=at_least(1), default=500)
    args = parser.parse_args(argv)
    features = make_features(args.tracklets + args.queries, args.width, args.per_person)
    tracklets, queries = describe(features[: args.tracklets]), features[args.tracklets :]

    logger.info("%s tracklets, features of %d numbers", f"{args.tracklets:,}", args.width)
    wanted, figures = time_queries(TrackletIndex(tracklets, exact_limit=args.tracklets), queries, "exact")

    index = TrackletIndex(tracklets, exact_limit=args.tracklets - 1)
    before, start = resident_memory(), time.perf_counter()
    codes = index.prepare()
    assert codes is not None
    figures |= {"build": time.perf_counter() - start, "memory": resident_memory() - before}
    found, times = time_queries(index, queries, "approximate")
    figures |= times
    figures["recall"] = float(
        np.mean([len(set(one) & set(other)) / K for one, other in zip(wanted, found, strict=True)])
    )
    logger.info(
        "approximate: made and measured in %(build).1f s, %(memory).2f GiB beside the features; recall@10 %(recall).4f",
        figures,
    )
    logger.info("of each query, %d tracklets are compared", codes.effort.candidates)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "people.index"
        start = time.perf_counter()
        write_index(index, path)
        written = time.perf_counter()
        read_index(path)
        figures |= {
            "write": written - start,
            "read": time.perf_counter() - written,
            "file": path.stat().st_size / 2**30,
        }
    logger.info("file of %(file).2f GiB, written in %(write).1f s and read in %(read).1f s", figures)
    return figures


def main() -> None:
    """Measure with the options of the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run()


if __name__ == "__main__":
    sys.exit(run_command(main))
