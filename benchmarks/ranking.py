"""Measure how fast and in how much memory features are ranked, against the usual argsort and loop in NumPy.

    python -m benchmarks.ranking
    python -m benchmarks.ranking --device cuda

The features are generated: an identity's are its centre plus noise, so that true matches lie among other people as a
trained model's do. The usual code, kept here as the peer, computes all distances, sorts their indices, and loops over
the queries. For a size that takes long, --measured_queries ranks the first queries only, without the peer, and states
the time that all would take.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.full_model import peak_memory
from utils.arguments import at_least
from utils.commands import run_command
from utils.distances import Distances, squared_distances
from utils.matrix_rate import wait_for
from utils.metrics import evaluate_ranking
from utils.runtime import make_runtime

logger = logging.getLogger(__name__)

# Cosine of two features of one identity, in standard deviations of the cosine of two people's.
SIGNAL = 3.5
NUM_CAMERAS = 6

Ids = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Data:
    """Generated features and their identities and cameras.

    Attributes:
        query, gallery: (Q, D) and (G, D), float32, of length 1, on ``device``.
        ids: q_pids, g_pids, q_camids and g_camids.
    """

    def __init__(self, num_queries: int, num_gallery: int, width: int, per_identity: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        num_identities = max(1, num_gallery // per_identity)
        centres = torch.randn(num_identities, width, generator=generator)
        noise = max(0.0, width**0.5 / SIGNAL - 1) ** 0.5  # its deviation; that of the centres is 1
        sides = []
        for size in (num_queries, num_gallery):
            pids = torch.arange(size) % num_identities
            features = torch.randn(size, width, generator=generator).mul_(noise)
            for start in range(0, size, 10_000):  # no second copy of the features
                part = slice(start, start + 10_000)
                features[part] = F.normalize(features[part] + centres[pids[part]], dim=1)
            sides.append((features.to(device), pids.numpy()))
        (self.query, q_pids), (self.gallery, g_pids) = sides
        rng = np.random.default_rng(0)
        cameras = rng.integers(NUM_CAMERAS, size=num_queries), rng.integers(NUM_CAMERAS, size=num_gallery)
        self.ids: Ids = (q_pids, g_pids, *cameras)

    def first(self, num_queries: int) -> tuple[Tensor, Tensor, Ids]:
        """Return the first queries, the gallery, and their ids."""
        q_pids, g_pids, q_camids, g_camids = self.ids
        return self.query[:num_queries], self.gallery, (q_pids[:num_queries], g_pids, q_camids[:num_queries], g_camids)


def compute_distances_usually(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Compute all squared distances, (Q, G), as most re-identification code does."""
    norms = np.square(query).sum(axis=1, keepdims=True) + np.square(gallery).sum(axis=1)
    return norms - 2 * query @ gallery.T


def rank_usually(
    distmat: np.ndarray, q_pids: np.ndarray, g_pids: np.ndarray, q_camids: np.ndarray, g_camids: np.ndarray
) -> tuple[np.ndarray, float]:
    """Rank by argsort and a loop over queries; returns the CMC curve, (50,), and mAP."""
    order = np.argsort(distmat, axis=1)
    matches = g_pids[order] == q_pids[:, None]
    curves, precisions = [], []
    for query in range(len(distmat)):
        ranked = order[query]
        keep = ~((g_pids[ranked] == q_pids[query]) & (g_camids[ranked] == q_camids[query]))
        found = matches[query][keep].astype(np.int32)
        if not found.any():
            continue
        cumulative = found.cumsum()
        curves.append(np.minimum(cumulative, 1)[:50])
        precisions.append((cumulative / np.arange(1, len(found) + 1) * found).sum() / found.sum())
    return np.mean(curves, axis=0), float(np.mean(precisions))


def time_all(functions: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, float]:
    """Call the functions in turn; returns the median seconds of each, and those of the processor as ``cpu NAME``.

    Seconds of the processor, of all threads together, depend less on other work of the machine.
    """
    seconds: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, function in functions.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            function()
            wait_for(device)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
            seconds.setdefault(f"cpu {name}", []).append(time.process_time() - cpu_start)
    return {name: median(values) for name, values in seconds.items()}


def compute_blocks(query: Tensor, gallery: Tensor) -> None:
    """Compute all blocks of distances, and keep none."""
    for _ in squared_distances(query, gallery).blocks():
        pass


def run(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Measure with the options of the command line, and log; returns the logged figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=at_least(1), default=5000)
    parser.add_argument("--gallery", type=at_least(1), default=20_000)
    parser.add_argument("--width", type=at_least(1), default=2048, help="numbers of a feature")
    parser.add_argument("--per_identity", type=at_least(1), default=5, help="gallery entries of each identity")
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--measured_queries", type=at_least(1), help="rank only so many of the queries; no peer")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; the peer stays on the CPU")
    args = parser.parse_args(argv)
    device = make_runtime(args.device, "fp32").device
    data = Data(args.queries, args.gallery, args.width, args.per_identity, device)
    before = peak_memory(device)
    query, gallery, ids = data.first(args.measured_queries or args.queries)
    start = time.perf_counter()
    result = evaluate_ranking(squared_distances(query, gallery), *ids)
    figures = {"both": time.perf_counter() - start, "features": before, "memory": peak_memory(device) - before}
    logger.info(
        "%s queries, %s gallery entries, %s numbers", *(f"{n:,}" for n in (*data.query.shape[:1], *gallery.shape))
    )
    logger.info("R1 %.1f %%, mAP %.1f %%", 100 * result.cmc[0], 100 * result.mAP)
    logger.info("peak memory: %.2f GiB over the %.2f GiB before ranking", figures["memory"], before)
    if args.measured_queries:
        figures["all"] = figures["both"] * args.queries / len(query)
        logger.info("%d queries took %.1f s; all would take %.0f s", len(query), figures["both"], figures["all"])
        return figures

    matrix = squared_distances(query, gallery).matrix().to(device)
    kept = Distances((len(query), len(gallery)), matrix.__getitem__)  # so that ranking is timed alone
    query_array, gallery_array = query.cpu().numpy(), gallery.cpu().numpy()
    distmat = compute_distances_usually(query_array, gallery_array)
    functions: dict[str, Callable[[], object]] = {
        "product": lambda: torch.mm(query, gallery.T),
        "distances": lambda: compute_blocks(query, gallery),
        "ranking": lambda: evaluate_ranking(kept, *ids),
        "both": lambda: evaluate_ranking(squared_distances(query, gallery), *ids),
        "usual distances": lambda: compute_distances_usually(query_array, gallery_array),
        "usual ranking": lambda: rank_usually(distmat, *ids),
    }
    figures |= time_all(functions, args.repeats, device)
    for name in functions:
        logger.info("%-16s %7.2f s, processor %7.2f s", name, figures[name], figures[f"cpu {name}"])
    for clock in ("", "cpu "):
        share = {name: figures[f"{clock}{name}"] for name in functions}
        usual = share["usual distances"] + share["usual ranking"]
        logger.info(
            "%s: distances %.2f times the matrix product, ranking %.1f %% of the usual, both %.1f %% of the usual",
            "processor time" if clock else "time",
            share["distances"] / share["product"],
            100 * share["ranking"] / share["usual ranking"],
            100 * share["both"] / usual,
        )
    return figures


def main() -> None:
    """Measure with the options of the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run()


if __name__ == "__main__":
    sys.exit(run_command(main))
