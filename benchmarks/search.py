"""Measure the search among tracklets: exact in memory, and approximate in a table of LanceDB.

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

from search.feature_file import make_table
from search.find import Gallery, MemoryGallery
from utils.arguments import at_least
from utils.commands import run_command

logger = logging.getLogger(__name__)

NOISE = 0.8  # deviation of a tracklet from its person's centre, in deviations of the centres
K = 10


def make_features(count: int, width: int, per_person: int = 10) -> np.ndarray:
    """Generate features of length 1, (count, width), float32; those of a person are not neighbouring rows."""
    rng = np.random.default_rng(0)
    num_people = -(-count // per_person)
    centres = rng.standard_normal((num_people, width), dtype=np.float32)
    features = NOISE * rng.standard_normal((count, width), dtype=np.float32)
    features += centres[np.arange(count) % num_people]
    features /= np.sqrt(1 + np.arange(width, dtype=np.float32))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features


def time_search(gallery: Gallery, queries: np.ndarray, name: str) -> tuple[list[set[str]], float]:
    """Answer all queries; returns the keys that each finds, and the milliseconds of a query."""
    start = time.perf_counter()
    found = [{entry["key"] for entry, _ in found} for found in gallery.nearest(queries, K, "feature")]
    milliseconds = 1000 * (time.perf_counter() - start) / len(queries)
    logger.info("%s: %.1f ms a query", name, milliseconds)
    return found, milliseconds


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Measure with the options of the command line, and log; returns the logged figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracklets", type=at_least(100), default=200_000)
    parser.add_argument("--width", type=at_least(2), default=512, help="numbers of a feature")
    parser.add_argument("--queries", type=at_least(1), default=500)
    args = parser.parse_args(argv)
    from search.lance_table import LanceGallery, load, update_index

    features = make_features(args.tracklets + args.queries, args.width)
    keys = [f"{row:09}" for row in range(args.tracklets)]
    tracklets = make_table({"weights": "none"}, key=keys, feature=features[: args.tracklets], picture=keys)
    queries = features[args.tracklets :]
    logger.info("%s tracklets, features of %d numbers", f"{args.tracklets:,}", args.width)
    wanted, exact = time_search(MemoryGallery(tracklets, "generated"), queries, "exact, in memory")
    with TemporaryDirectory() as folder:
        uri = str(Path(folder, "people.lance"))
        start = time.perf_counter()
        load(uri, tracklets, "generated")
        loaded = time.perf_counter()
        update_index(uri)
        indexed = time.perf_counter()
        found, approximate = time_search(LanceGallery(uri), queries, "LanceDB")
    recall = float(np.mean([len(one & other) / K for one, other in zip(wanted, found, strict=True)]))
    figures = {"exact": exact, "approximate": approximate, "load": loaded - start, "index": indexed - loaded}
    logger.info("LanceDB: loaded in %(load).1f s; index made, and its recall measured, in %(index).1f s", figures)
    logger.info("recall@%d %.4f", K, recall)
    return {**figures, "recall": recall}


if __name__ == "__main__":
    sys.exit(run_command(main))
