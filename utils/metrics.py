"""Retrieval metrics: CMC, mAP, mINP and mAP@20 of a ranking by distance, by a named protocol.

The scores of a query need only the ranks of its true matches. Among equal distances, the rank of a query's first,
second, ... true match is the mean of the best and the worst that it could have: where b entries are nearer, and m
matches and o others are at one distance, the j-th of these matches is at best at rank b + j, at worst at b + o + j, and
counts as at b + j + o / 2. Ranks may therefore end in .5, and the order of the gallery changes none.

A protocol says how a ranking is scored. The dataset that builds query and gallery decides what is ranked: whether
queries stay in the gallery, and which tracklets are junk.

Axes: Q queries, G galleries, V valid queries, R ranks; n true matches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from .distances import ALL, Distances, given_distances, sort_rows
from .mistake import Mistake
from .unknown import UNKNOWN

TOP_K = 20  # ranks that mAP@20 looks at, the score of AG-VPReID's challenge
# Matches of a query from which on its distances are sorted on the CPU. On an AMD EPYC, sorting 20,000 float32 numbers
# takes 205 us, and counting those below a number and those above another 11 us.
_MIN_SORTED = 16
Ids = Sequence[int] | np.ndarray | Tensor
Array = TypeVar("Array", np.ndarray, Tensor)


@dataclass(frozen=True)
class Protocol:
    """The rules by which a ranking is scored."""

    name: str  # as in ``PROTOCOLS`` and TEST.PROTOCOL
    description: str  # one sentence, printed with every result
    leave_out_same_camera: bool = True  # whether entries of the query's identity and camera are not ranked
    count_unmatched: bool = False  # whether a query without a true match counts as zero, or in no mean
    # The mean of the precisions at the true matches, or of those at and just before them (1 before the first rank), as
    # Oxford-buildings style code integrates it. AP@k takes steps in any case.
    average_precision: Literal["step", "trapezoidal"] = "step"

    def __str__(self) -> str:
        return f"{self.name}: {self.description}"

    def leaves_out(self, q_pids: int | Array, q_camids: int | Array, g_pids: Array, g_camids: Array) -> Array:
        """Mark the gallery entries, (G,), that are removed from the ranking of a query, or of a query for each."""
        same_camera = (g_camids == q_camids) & (q_camids != UNKNOWN)
        return (g_pids == q_pids) & same_camera & self.leave_out_same_camera


CROSS_CAMERA = Protocol(
    "cross-camera",
    "gallery tracklets of the query's person and camera are left out; queries without a true match are not counted; "
    "AP is the mean of the precisions at the true matches",
)
ALL_CAMERAS = Protocol(
    "all-cameras",
    "the whole gallery is ranked, the query's camera included; queries without a true match are not counted; AP is "
    "the mean of the precisions at the true matches",
    leave_out_same_camera=False,
)
# Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-identification", ECCV 2016, and its MATLAB code.
MARS_OFFICIAL = Protocol(
    "mars-official",
    "gallery tracklets of the query's person and camera are left out; every query is counted, as zero without a true "
    "match; AP is trapezoidal",
    count_unmatched=True,
    average_precision="trapezoidal",
)
# The challenge's scorer filters by the number in the tracklet's name, not by the camera, so nothing is left out here.
VREID_XFD = Protocol(
    "vreid-xfd",
    "the whole gallery is ranked, the query's camera included; queries without a true match are not counted; AP is "
    "trapezoidal",
    leave_out_same_camera=False,
    average_precision="trapezoidal",
)
# By name, as in TEST.PROTOCOL. Add a new one to the choices of TEST.PROTOCOL in configs/, too; a test compares them.
PROTOCOLS = {protocol.name: protocol for protocol in (CROSS_CAMERA, ALL_CAMERAS, MARS_OFFICIAL, VREID_XFD)}


@dataclass(frozen=True, eq=False)
class RankingResult:
    """The scores of each query of a ranking, and their means, in fractions of 1.

    Valid queries, V of Q, are those that count: those with a true match, or all if the protocol counts the others as
    zero.
    """

    num_matches: np.ndarray  # true matches of each query, (Q,), int64
    valid_queries: np.ndarray  # (Q,), bool; its ``flatnonzero`` joins the arrays of valid queries to queries
    average_precisions: np.ndarray  # (V,), in query order
    first_ranks: np.ndarray  # of the first true match, (V,); infinity if there is none
    # Inverse negative penalty, (V,): the number of true matches over the rank of the last (Ye et al., "Deep Learning
    # for Person Re-identification: A Survey and Outlook", TPAMI 2021).
    inverse_penalties: np.ndarray
    # AP@20, (V,): the sum of the precisions at true matches of ranks up to 20, over the smaller of their number and 20.
    precisions_at_20: np.ndarray
    max_rank: int = 50  # R

    @property
    def cmc(self) -> np.ndarray:
        """Share of valid queries whose first true match is at rank r or better, (R,), rank 1 first."""
        ranks = np.minimum(np.ceil(self.first_ranks), self.max_rank + 1).astype(np.int64)
        counts = np.bincount(ranks, minlength=self.max_rank + 2)
        return np.cumsum(counts[1 : self.max_rank + 1]) / self.num_valid_queries

    @property
    def mAP(self) -> float:  # noqa: N802 - the field's name for it
        return float(self.average_precisions.mean())

    @property
    def mINP(self) -> float:  # noqa: N802
        return float(self.inverse_penalties.mean())

    @property
    def mAP_at_20(self) -> float:  # noqa: N802
        return float(self.precisions_at_20.mean())

    @property
    def num_valid_queries(self) -> int:
        return len(self.average_precisions)

    @property
    def num_unmatched(self) -> int:
        """Number of queries without a true match, counted or not."""
        return int((self.num_matches == 0).sum())


_ARRAYS = [field.name for field in fields(RankingResult) if field.name != "max_rank"]


def evaluate_ranking(
    distmat: np.ndarray | Tensor | Distances,
    q_pids: Ids,
    g_pids: Ids,
    q_camids: Ids,
    g_camids: Ids,
    max_rank: int = 50,
    protocol: Protocol = CROSS_CAMERA,
) -> RankingResult:
    """Rank the gallery for every query and score the ranking by a protocol.

    Distances are (Q, G); infinity is allowed, NaN is not. Identities and cameras are (Q,) or (G,); camera -1 is unknown
    and equals no camera, not even another unknown one. The CMC curve has ``max_rank`` values; where the gallery is
    smaller, it keeps the last one.
    """
    return require_match(score_queries(distmat, q_pids, g_pids, q_camids, g_camids, max_rank, protocol), protocol)


def score_queries(
    distmat: np.ndarray | Tensor | Distances,
    q_pids: Ids,
    g_pids: Ids,
    q_camids: Ids,
    g_camids: Ids,
    max_rank: int = 50,
    protocol: Protocol = CROSS_CAMERA,
    within: slice = ALL,
) -> RankingResult:
    """Score all queries, or those ``within``, as ``evaluate_ranking`` does; none need have a true match."""
    distances = distmat if isinstance(distmat, Distances) else given_distances(distmat)
    Q, G = distances.shape
    q_pids, q_camids = _check_ids("q_pids", q_pids, Q), _check_ids("q_camids", q_camids, Q)
    g_pids, g_camids = _check_ids("g_pids", g_pids, G), _check_ids("g_camids", g_camids, G)
    start, stop, _ = within.indices(Q)
    matches = [(np.empty(0, dtype=np.int64),) * 3]
    by_pid = np.argsort(g_pids, kind="stable")
    sorted_pids = g_pids[by_pid]
    for rows, block in distances.blocks(within) if G else ():
        pids = q_pids[rows]
        first, end = (np.searchsorted(sorted_pids, pids, side) for side in ("left", "right"))
        row = np.repeat(np.arange(len(pids)), end - first)  # of each pair of one identity, (m,)
        column = by_pid[np.arange(len(row)) + np.repeat(end - np.cumsum(end - first), end - first)]
        left_out = protocol.leaves_out(pids[row], q_camids[rows][row], g_pids[column], g_camids[column])
        below, up_to = _count_in_block(block, row, column, left_out)
        matches.append((row[~left_out] + rows.start - start, below, up_to))
    query, rank = _rank_ties(*(np.concatenate(parts) for parts in zip(*matches, strict=True)))
    return _score_ranks(query, rank, stop - start, max_rank, protocol)


def require_match(result: RankingResult, protocol: Protocol) -> RankingResult:
    """Return a result with at least one true match; Mistake: if it has none."""
    if not result.num_matches.any():
        others = " from another camera" if protocol.leave_out_same_camera else ""
        raise Mistake(
            f"No query has a true match: none of the {len(result.num_matches)} queries shares its identity with a "
            f"gallery entry{others}. Check that query and gallery number people alike."
        )
    return result


def merge_rankings(results: Sequence[RankingResult]) -> RankingResult:
    """Join the queries of several results, at least one, in this order; all have one ``max_rank``."""
    arrays = {name: np.concatenate([getattr(result, name) for result in results]) for name in _ARRAYS}
    return replace(results[0], **arrays)  # type: ignore[arg-type]  # the names are those of arrays


def _count_in_block(
    block: Tensor, row: np.ndarray, column: np.ndarray, left_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Count, for each true match in a block, the ranked entries that are nearer, and those that are not farther.

    ``row`` and ``column``, (m,), are entries of one identity with their query, row by row; those to be left out become
    infinite in ``block``, (R, G). The counts are of the others, in order; a match itself is not farther.
    """
    rows, columns, removed = (torch.as_tensor(each, device=block.device) for each in (row, column, left_out))
    block[rows[removed], columns[removed]] = torch.inf  # behind all that is ranked
    rows, columns = rows[~removed], columns[~removed]
    count = _count_on_cpu if block.device.type == "cpu" else _count_by_sorting
    below, up_to = (counts.cpu().numpy() for counts in count(block, rows, block[rows, columns]))
    num_left_out = np.bincount(row[left_out], minlength=len(block))
    return below, np.minimum(up_to, block.shape[1] - num_left_out[row[~left_out]])  # at infinity, less those left out


def _count_on_cpu(block: Tensor, row: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Count, for each match, the entries of its row that are below its distance, and those that are not above."""
    below, up_to = np.empty(len(row), dtype=np.int64), np.empty(len(row), dtype=np.int64)
    start = 0
    for distances, end in zip(block.numpy(), row.bincount(minlength=len(block)).cumsum(0).tolist(), strict=True):
        values = own[start:end].numpy()
        if end - start < _MIN_SORTED:
            below[start:end] = [np.count_nonzero(distances < value) for value in values]
            up_to[start:end] = [np.count_nonzero(distances <= value) for value in values]
        else:
            ordered = np.sort(distances)
            below[start:end] = np.searchsorted(ordered, values, "left")
            up_to[start:end] = np.searchsorted(ordered, values, "right")
        start = end
    return torch.from_numpy(below), torch.from_numpy(up_to)


def _count_by_sorting(block: Tensor, row: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Count as ``_count_on_cpu`` does, by sorting all rows at once: for a GPU."""
    if not len(row):
        return row, row
    ordered, num_matches = sort_rows(block), row.bincount(minlength=len(block))
    number = torch.arange(len(row), device=row.device) - (num_matches.cumsum(0) - num_matches)[row]  # in its row
    table = own.new_zeros(len(block), int(num_matches.max()))
    table[row, number] = own
    below, up_to = (torch.searchsorted(ordered, table, right=right)[row, number] for right in (False, True))
    return below, up_to


def _rank_ties(query: np.ndarray, below: np.ndarray, up_to: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order matches, and share out the ranks of those at one distance from their query.

    ``below`` and ``up_to`` count the ranked gallery entries that are nearer, and those that are not farther. Returns
    the query of each match, ascending, and its rank from 1, ascending within a query, (n,) each.
    """
    order = np.lexsort((below, query))
    query, below, up_to = query[order], below[order], up_to[order]
    is_first = np.ones(len(query), dtype=bool)
    is_first[1:] = (query[1:] != query[:-1]) | (below[1:] != below[:-1])
    tie = np.cumsum(is_first) - 1
    number = np.arange(1, len(query) + 1) - np.flatnonzero(is_first)[tie]  # 1, 2, ... within each tie
    others = up_to - below - np.bincount(tie)[tie]
    return query, below + number + others / 2


def _score_ranks(
    query: np.ndarray, rank: np.ndarray, num_queries: int, max_rank: int, protocol: Protocol
) -> RankingResult:
    """Score the ranks of all true matches, as ``_rank_ties`` returns them."""
    counts = np.bincount(query, minlength=num_queries)
    ends = np.cumsum(counts)
    matched = counts > 0
    number = np.arange(1, len(query) + 1) - (ends - counts)[query]  # 1, 2, ... within each query
    precision = number / rank
    at_20 = np.bincount(query, weights=precision * (rank <= TOP_K), minlength=num_queries) / np.clip(counts, 1, TOP_K)
    first_ranks, last_precisions = np.full(num_queries, np.inf), np.zeros(num_queries)
    first_ranks[matched] = rank[(ends - counts)[matched]]
    last_precisions[matched] = precision[(ends - 1)[matched]]
    if protocol.average_precision == "trapezoidal":
        before = np.where(rank > 1, (number - 1) / np.maximum(rank - 1, 0.5), 1.0)  # the next rank after 1 is 1.5
        precision = (before + precision) / 2
    precisions = np.bincount(query, weights=precision, minlength=num_queries) / np.maximum(counts, 1)
    valid = np.ones_like(matched) if protocol.count_unmatched else matched
    scores = precisions[valid], first_ranks[valid], last_precisions[valid], at_20[valid]
    return RankingResult(counts, valid, *scores, max_rank)


def _check_ids(name: str, values: Ids, length: int) -> np.ndarray:
    ids = torch.as_tensor(values).detach().cpu().long().numpy()
    if ids.shape != (length,):
        raise Mistake(f"{name} must have shape ({length},) to match distmat, got {ids.shape}.")
    return ids
