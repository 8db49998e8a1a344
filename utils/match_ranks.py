"""The ranks of true matches, found by counting how many gallery entries are nearer.

A query has few true matches, so two comparisons of its distances with each of them cost less than sorting the distances
(a sort pays from about 16 matches on), and much less than sorting their indices.

Among equal distances, the rank of a query's first, second, ... true match is the mean of the best and the worst that it
could have: where b entries are nearer, and m matches and o others are at one distance, the j-th of these matches is at
best at rank b + j, at worst at b + o + j, and counts as at b + j + o / 2. Ranks may therefore end in .5, and the order
of the gallery changes none.

Axes: Q queries, G galleries; m the entries of a block that share a query's identity.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from .distances import DistanceBlock, Distances
from .mistake import Mistake

# Elements of a given matrix copied and ranked at a time: 16 MiB in float32.
_BLOCK_ELEMENTS = 1 << 22
# Matches of a query from which on its distances are sorted rather than counted. On an AMD EPYC, sorting 20,000 float32
# numbers takes 205 us, and counting those below a number and above another 11 us.
_MIN_SORTED = 16
# Elements looked through at a time for entries as near as a match.
_SCAN_ELEMENTS = 1 << 20

LeavesOut = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class GivenDistances(Distances):
    """A whole matrix, (Q, G), handed out in blocks; its numbers count as exact."""

    def __init__(self, distmat: np.ndarray | Tensor) -> None:
        self.shape = (len(distmat), distmat.shape[1])
        self._distmat = distmat

    def blocks(self) -> Iterator[DistanceBlock]:
        """Copy the rows, in order, to float32 or float64."""
        Q, G = self.shape
        step = max(1, _BLOCK_ELEMENTS // max(1, G))
        for start in range(0, Q, step):
            rows = slice(start, min(start + step, Q))
            yield DistanceBlock(rows, self._to_floats(self._distmat[rows]).clone(), None)

    def part(self, rows: slice) -> "GivenDistances":
        """Return the distances of some queries."""
        return GivenDistances(self._distmat[rows])

    @staticmethod
    def _to_floats(part: np.ndarray | Tensor) -> Tensor:
        values = part.detach() if isinstance(part, Tensor) else torch.tensor(part)
        return values.to(
            torch.promote_types(values.dtype, torch.float32) if values.is_floating_point() else torch.double
        )


def rank_matches(
    distances: Distances,
    q_pids: np.ndarray,
    g_pids: np.ndarray,
    q_camids: np.ndarray,
    g_camids: np.ndarray,
    leaves_out: LeavesOut,
) -> tuple[np.ndarray, np.ndarray]:
    """Rank the true matches of every query.

    Args:
        distances: (Q, G).
        q_pids, g_pids: Identities of queries, (Q,), and gallery, (G,).
        q_camids, g_camids: Their cameras.
        leaves_out: ``leaves_out(q_pids, q_camids, g_pids, g_camids)`` marks the pairs of one identity, (m,) each, whose
            gallery entries are not ranked.
    Returns:
        Query of each match, ascending, and its rank from 1, ascending within a query, (n,) each.
    Raises:
        ValueError: On NaN distances.
    """
    by_pid = np.argsort(g_pids, kind="stable")
    sorted_pids = g_pids[by_pid]
    none = np.empty(0, dtype=np.int64)
    queries, belows, up_tos = [none], [none], [none]
    for block in distances.blocks() if len(q_pids) and len(g_pids) else ():
        pids = q_pids[block.rows]
        first, end = np.searchsorted(sorted_pids, pids, "left"), np.searchsorted(sorted_pids, pids, "right")
        row = np.repeat(np.arange(len(pids)), end - first)
        ends = np.cumsum(end - first)
        column = by_pid[np.arange(len(row)) + np.repeat(end - ends, end - first)]
        left_out = leaves_out(pids[row], q_camids[block.rows][row], g_pids[column], g_camids[column])
        queries.append(row[~left_out] + block.rows.start)
        below, up_to = _count_in_block(block, distances, row, column, left_out)
        belows.append(below)
        up_tos.append(up_to)
    return _rank_ties(np.concatenate(queries), np.concatenate(belows), np.concatenate(up_tos))


def _rank_ties(query: np.ndarray, below: np.ndarray, up_to: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order matches, and share out the ranks of those at one distance from their query.

    Args:
        query: Query of each match, (n,).
        below, up_to: Numbers of ranked gallery entries that are nearer, and of those that are not farther.
    Returns:
        As ``rank_matches``.
    """
    order = np.lexsort((below, query))
    query, below, up_to = query[order], below[order], up_to[order]
    is_first = np.ones(len(query), dtype=bool)
    is_first[1:] = (query[1:] != query[:-1]) | (below[1:] != below[:-1])
    tie = np.cumsum(is_first) - 1
    number = np.arange(1, len(query) + 1) - np.flatnonzero(is_first)[tie]  # 1, 2, ... within each tie
    others = up_to - below - np.bincount(tie)[tie]
    return query, below + number + others / 2


def _count_in_block(
    block: DistanceBlock, distances: Distances, row: np.ndarray, column: np.ndarray, left_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Count, for each true match in a block, the ranked entries that are nearer, and those that are not farther.

    Args:
        block: Distances; unchanged on return.
        distances: The matrix that the block is part of.
        row, column: Entries of one identity with their query, (m,), row by row.
        left_out: Which of them are not ranked, (m,).
    Returns:
        Both counts for each of the others, in order; a match itself is not farther.
    """
    values = block.distances
    if torch.isnan(values.amax()):
        num_nan = int(torch.isnan(values).sum())
        raise Mistake(f"distmat holds NaN: {num_nan} value(s) in rows {block.rows.start} to {block.rows.stop - 1}.")
    removed = _on_device(row[left_out], values), _on_device(column[left_out], values)
    kept = values[removed]
    values[removed] = torch.inf  # behind all that is ranked
    row, column, num_left_out = row[~left_out], column[~left_out], np.bincount(row[left_out], minlength=len(values))
    at_row = _on_device(row, values)
    own = values[at_row, _on_device(column, values)]
    # Both distances of a comparison may be wrong by the margin.
    margin = torch.zeros_like(own) if block.margins is None else 2 * block.margins[at_row]
    count = _count_on_cpu if values.device.type == "cpu" else _count_by_sorting
    below, up_to = count(values, row, own - margin, own + margin)
    up_to = np.minimum(up_to, values.shape[1] - num_left_out[row])  # at infinity, less those left out
    if block.margins is not None:
        for match, near in _find_near(values, row, own - margin, own + margin, up_to - below > 1):
            exact = _compute_exactly(distances, row[match] + block.rows.start, near, values.device)
            own_exact = np.empty(len(row))
            is_own = near == column[match]
            own_exact[match[is_own]] = exact[is_own]
            settled = match[is_own]
            nearer = np.bincount(match, weights=exact < own_exact[match], minlength=len(row))
            as_near = np.bincount(match, weights=exact == own_exact[match], minlength=len(row))
            below[settled] += nearer[settled].astype(np.int64)
            up_to[settled] = below[settled] + as_near[settled].astype(np.int64)
    values[removed] = kept
    return below, up_to


def _count_on_cpu(values: Tensor, row: np.ndarray, low: Tensor, high: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Count, for each match, the entries of its row that are below ``low``, and those that are not above ``high``."""
    table, lows, highs = values.numpy(), low.numpy(), high.numpy()
    below, up_to = np.empty(len(row), dtype=np.int64), np.empty(len(row), dtype=np.int64)
    ends = np.cumsum(np.bincount(row, minlength=len(table)))
    flags = np.empty(table.shape[1], dtype=bool)
    start = 0
    for distances, end in zip(table, ends.tolist(), strict=True):
        if end - start >= _MIN_SORTED:
            ordered = np.sort(distances)
            below[start:end] = np.searchsorted(ordered, lows[start:end], "left")
            up_to[start:end] = np.searchsorted(ordered, highs[start:end], "right")
        else:
            for match in range(start, end):
                below[match] = np.count_nonzero(np.less(distances, lows[match], out=flags))
                up_to[match] = np.count_nonzero(np.less_equal(distances, highs[match], out=flags))
        start = end
    return below, up_to


def _count_by_sorting(values: Tensor, row: np.ndarray, low: Tensor, high: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Count as ``_count_on_cpu`` does, by sorting all rows at once: for a GPU."""
    ordered = values.sort(dim=1).values
    num_matches = np.bincount(row, minlength=len(values))
    number = np.arange(len(row)) - (np.cumsum(num_matches) - num_matches)[row]  # of a match in its row
    place = _on_device(row, values), _on_device(number, values)
    counts = []
    for edges, right in ((low, False), (high, True)):
        table = edges.new_zeros(len(values), int(num_matches.max()))
        table[place] = edges
        counts.append(torch.searchsorted(ordered, table, right=right)[place].cpu().numpy())
    return counts[0], counts[1]


def _find_near(
    values: Tensor, row: np.ndarray, low: Tensor, high: Tensor, wanted: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Find the entries between ``low`` and ``high`` of the matches wanted.

    Yields:
        Match and column of each entry, (n,) each; all those of a match at once.
    """
    matches = np.flatnonzero(wanted)
    step = max(1, _SCAN_ELEMENTS // values.shape[1])
    for start in range(0, len(matches), step):
        match = matches[start : start + step]
        chosen = _on_device(match, values)
        rows = values[_on_device(row[match], values)]
        between = (rows >= low[chosen].unsqueeze(1)) & (rows <= high[chosen].unsqueeze(1))
        number, column = between.nonzero(as_tuple=True)
        yield match[number.cpu().numpy()], column.cpu().numpy()


def _compute_exactly(distances: Distances, row: np.ndarray, column: np.ndarray, device: torch.device) -> np.ndarray:
    """Compute single distances, (n,), float64, each pair once."""
    G = distances.shape[1]
    pairs, place = np.unique(row * G + column, return_inverse=True)
    rows, columns = (torch.as_tensor(part, device=device) for part in np.divmod(pairs, G))
    return distances.exact(rows, columns).cpu().numpy()[place]


def _on_device(indices: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(indices, device=like.device)
