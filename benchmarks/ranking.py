"""Measure how fast eval_main.py ranks and re-ranks features, against the usual argsort and loops in NumPy.

    python -m benchmarks.ranking --device cuda
    python -m benchmarks.ranking --re_rank --queries 3023 --gallery 2751
    python -m benchmarks.ranking --without_peer --queries 50000 --gallery 500000 --width 512

The features are generated: an identity's are its centre plus noise, so that true matches lie among other people as a
trained model's do. "distances and ranks" is what an evaluation scores; "report" is what it collects besides for its
files and page: lists of the nearest, verification, histogram. The usual code, kept here as the peer, computes all
distances, sorts their indices, and loops over the queries; it stays on the CPU.
"""

import argparse
import sys
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import time_in_turns
from configs import get_cfg
from datasets.tracklet import Case, Tracklet
from processor.evaluation.features import FeatureSet
from processor.evaluation.rank import RankingOptions, compute_distances, score_distances
from processor.evaluation.results import CaseResult
from processor.report.direction import collect_direction
from utils.arguments import at_least
from utils.commands import run_command, show
from utils.distances import Distances, squared_distances
from utils.metrics import CROSS_CAMERA
from utils.reranking import re_rank
from utils.runtime import make_runtime
from utils.text import format_table

# Cosine of two features of one identity, in standard deviations of the cosine of two people's.
SIGNAL = 3.5
NUM_CAMERAS = 6
ENTRIES_PER_IDENTITY = 5
K1, K2, LAMBDA = 20, 6, 0.3

Ids = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def make_data(num_queries: int, num_gallery: int, width: int, device: torch.device) -> tuple[Tensor, Tensor, Ids]:
    """Generate features of length 1, (Q, D) and (G, D); returns them with q_pids, g_pids, q_camids and g_camids."""
    generator = torch.Generator().manual_seed(0)
    num_identities = max(1, num_gallery // ENTRIES_PER_IDENTITY)
    centres = torch.randn(num_identities, width, generator=generator)
    noise = max(0.0, width**0.5 / SIGNAL - 1) ** 0.5  # its deviation; that of the centres is 1
    sides, pids = [], [torch.arange(size) % num_identities for size in (num_queries, num_gallery)]
    for own in pids:
        features = torch.randn(len(own), width, generator=generator).mul_(noise).add_(centres[own])
        sides.append(F.normalize(features, dim=1).to(device))
    rng = np.random.default_rng(0)
    cameras = rng.integers(NUM_CAMERAS, size=num_queries), rng.integers(NUM_CAMERAS, size=num_gallery)
    return sides[0], sides[1], (pids[0].numpy(), pids[1].numpy(), *cameras)


def list_tracklets(pids: np.ndarray, camids: np.ndarray) -> tuple[Tracklet, ...]:
    """Return a tracklet for each feature of one side."""
    pairs = zip(pids.tolist(), camids.tolist(), strict=True)
    return tuple(Tracklet(f"{number}", (), pid, camid, "ground", None) for number, (pid, camid) in enumerate(pairs))


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


def re_rank_usually(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Re-rank as most re-identification code does: matrices of (Q + G)^2, whole rows sorted, a loop over samples."""
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


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Measure with the options of the command line; returns the seconds by name, and other figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=at_least(1), default=5000)
    parser.add_argument("--gallery", type=at_least(1), default=20_000)
    parser.add_argument("--width", type=at_least(1), default=2048, help="numbers of a feature")
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--re_rank", action="store_true", help="measure re-ranking in place of plain ranking")
    parser.add_argument("--without_peer", action="store_true", help="for sizes that the peer has no memory for")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N; the peer stays on the CPU")
    args = parser.parse_args(argv)
    device = make_runtime(args.device, "fp32").device
    query, gallery, ids = make_data(args.queries, args.gallery, args.width, device)
    arrays = query.cpu().numpy(), gallery.cpu().numpy()
    q_pids, g_pids, q_camids, g_camids = ids
    queries, others = list_tracklets(q_pids, q_camids), list_tracklets(g_pids, g_camids)
    sides, case = (FeatureSet(queries, query), FeatureSet(others, gallery)), Case("case1", "generated", queries, others)
    options = RankingOptions(get_cfg(opts=["TEST.RE_RANKING", str(args.re_rank)]).TEST)

    def rank() -> CaseResult:
        distances = compute_distances(*sides, None, options)
        return CaseResult(case, distances, score_distances(distances, *sides, CROSS_CAMERA))

    found = rank()
    *_, method = found.distances  # the re-ranked one, if there is one
    result, lists = found.rankings[method], [lambda case, query, names: None]
    ours: dict[str, Callable[[], object]] = {"re-ranking": lambda: re_rank(query, gallery, K1, K2, LAMBDA)}
    usual: dict[str, Callable[[], object]]
    if args.re_rank:
        usual = {"usual re-ranking": lambda: re_rank_usually(*arrays)}
    else:
        product = Distances(found.distances[method].shape, lambda rows: torch.mm(query[rows], gallery.T))
        ours = {
            "matrix product": lambda: deque(product.blocks(), maxlen=0),  # keeps none
            "distances": lambda: deque(squared_distances(query, gallery).blocks(), maxlen=0),
            "distances and ranks": rank,
        }
        usual = {"usual distances and ranks": lambda: rank_usually(compute_distances_usually(*arrays), *ids)}
    compared, base = list(ours)[-1], list(usual)[-1]
    ours["distances and ranks"] = rank
    ours["report"] = lambda: collect_direction(found, method, lists, options.test.RANKING_LENGTH)
    show(
        f"{len(query):,} queries, {len(gallery):,} gallery entries, {args.width} numbers: "
        f"R1 {100 * result.cmc[0]:.1f} %, mAP {100 * result.mAP:.1f} %"
    )
    seconds = time_in_turns(ours if args.without_peer else {**ours, **usual}, args.repeats, device)
    rows = [[name, f"{clock:.2f}", f"{processor:.2f}"] for name, (clock, processor) in seconds.items()]
    show(format_table(("median of a call", "s", "processor s"), rows))
    figures = {name: clock for name, (clock, _) in seconds.items()}
    if not args.without_peer:
        figures["times as fast"] = seconds[base].clock / seconds[compared].clock
        show(f"{compared}: {figures['times as fast']:.1f} times as fast as the usual")
    if args.re_rank and not args.without_peer:
        figures["difference"] = float(np.abs(re_rank(query, gallery, K1, K2, LAMBDA) - re_rank_usually(*arrays)).max())
        show(f"largest difference between both: {figures['difference']:.1e}")
    if not args.re_rank:
        show(f"distances: {seconds['distances'].clock / seconds['matrix product'].clock:.2f} times the matrix product")
    return figures


if __name__ == "__main__":
    sys.exit(run_command(main))
