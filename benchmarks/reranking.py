"""Measure how fast and in how much memory features are re-ranked, against the usual dense code in NumPy.

    python -m benchmarks.reranking
    python -m benchmarks.reranking --queries 10000 --gallery 90000 --width 512 --without_peer

The usual code, kept here as the peer, holds three matrices of all samples, (Q + G)^2, sorts each row whole, and loops
over the samples in Python. The features are those of ``benchmarks.ranking``. Re-ranked distances come in blocks; each
is scored and dropped, as evaluation does.
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.full_model import peak_memory
from benchmarks.ranking import Data, time_all
from utils.arguments import at_least
from utils.commands import run_command
from utils.metrics import evaluate_ranking
from utils.reranking import find_neighbourhoods, re_rank, re_ranked_distances

logger = logging.getLogger(__name__)

K1, K2, LAMBDA = 20, 6, 0.3
CPU = torch.device("cpu")


def re_rank_usually(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Re-rank as most re-identification code does; arguments and result as those of ``re_rank``."""
    features, Q = np.concatenate([query, gallery]), len(query)
    N = len(features)
    norms = np.square(features).sum(axis=1)
    distances = norms[:, None] + norms - 2 * features @ features.T
    distances = np.maximum(distances, 0) / distances.max(axis=1, keepdims=True)
    np.fill_diagonal(distances, 0)
    order = np.argsort(distances, axis=1).astype(np.int32)

    def find_reciprocal(sample: int, k: int) -> np.ndarray:
        near = order[sample, : k + 1]
        return near[(order[near, : k + 1] == sample).any(axis=1)]

    weights = np.zeros((N, N), dtype=np.float32)
    for sample in range(N):
        base = members = find_reciprocal(sample, K1)
        for other in base:
            added = find_reciprocal(other, round(K1 / 2))
            if len(np.intersect1d(added, base)) > 2 / 3 * len(added):
                members = np.append(members, added)
        members = np.unique(members)
        values = np.exp(-distances[sample, members])
        weights[sample, members] = values / values.sum()
    weights = np.stack([weights[near].mean(axis=0) for near in order[:, :K2]])
    holders = [np.flatnonzero(column) for column in weights.T]
    jaccard = np.empty((Q, N), dtype=np.float32)
    for sample in range(Q):
        shared = np.zeros(N, dtype=np.float32)
        for member in np.flatnonzero(weights[sample]):
            others = holders[member]
            shared[others] += np.minimum(weights[sample, member], weights[others, member])
        jaccard[sample] = 1 - shared / (2 - shared)
    return LAMBDA * distances[:Q, Q:] + (1 - LAMBDA) * jaccard[:, Q:]


def run(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Measure with the options of the command line, and log; returns the logged figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=at_least(1), default=3023)
    parser.add_argument("--gallery", type=at_least(1), default=2751)
    parser.add_argument("--width", type=at_least(1), default=2048, help="numbers of a feature")
    parser.add_argument("--per_identity", type=at_least(1), default=5, help="gallery entries of each identity")
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--without_peer", action="store_true", help="for sizes that the peer has no memory for")
    args = parser.parse_args(argv)
    data = Data(args.queries, args.gallery, args.width, args.per_identity, CPU)
    query, gallery = data.query, data.gallery
    before, start = peak_memory(CPU), time.perf_counter()
    distances = re_ranked_distances(query, gallery, find_neighbourhoods(query, gallery, K1, K2), LAMBDA)
    prepared = time.perf_counter() - start
    result = evaluate_ranking(distances, *data.ids)
    figures = {"prepared": prepared, "scored": time.perf_counter() - start, "memory": peak_memory(CPU) - before}
    logger.info("%s queries, %s gallery entries, %s numbers", *(f"{n:,}" for n in (len(query), *gallery.shape)))
    logger.info("R1 %.1f %%, mAP %.1f %%", 100 * result.cmc[0], 100 * result.mAP)
    logger.info(
        "prepared in %.1f s, scored after %.1f s; peak memory %.2f GiB, of which the features and Python are %.2f GiB",
        prepared,
        figures["scored"],
        peak_memory(CPU),
        before,
    )
    if args.without_peer:
        return figures
    sides = query.numpy(), gallery.numpy()
    difference = float(np.abs(re_rank(*sides, K1, K2, LAMBDA) - re_rank_usually(*sides)).max())
    figures |= time_all({"ours": lambda: re_rank(*sides), "usual": lambda: re_rank_usually(*sides)}, args.repeats, CPU)
    figures["difference"] = difference
    for clock in ("", "cpu "):
        logger.info(
            "%s: ours %.2f s, usual %.2f s, %.1f times as fast",
            "processor time" if clock else "time",
            figures[f"{clock}ours"],
            figures[f"{clock}usual"],
            figures[f"{clock}usual"] / figures[f"{clock}ours"],
        )
    logger.info("largest difference between both: %.1e", difference)
    return figures


def main() -> None:
    """Measure with the options of the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run()


if __name__ == "__main__":
    sys.exit(run_command(main))
