"""Write files of rankings, distances and scores of queries."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.tracklet import AGVPREID_RANKING, VREID_XFD_RANKING, Case, Tracklet
from utils.distances import Distances

from ..evaluation.results import Evaluation

# First line of a file of rankings, by its form. AG-VPReID 2025's sample submission numbers the rows of both cases
# through; VReID-XFD names the case instead. Two things are not stated in what we read: how VReID-XFD spells a case
# (here by its folder), and that it, too, puts spaces between gallery tracklets.
RANKING_HEADERS = {
    AGVPREID_RANKING: ("row_id", "query_tracklet", "gallery_tracklets"),
    VREID_XFD_RANKING: ("case", "query_tracklet", "ranked_gallery_tracklets"),
}
QUERY_COLUMNS = (
    "method",
    "direction",
    "key",
    "pid",
    "camid",
    "view",
    "altitude",
    "day",
    "num_frames",
    "average_precision",
    "first_match_rank",
    "inverse_negative_penalty",
)


class RankingFile:
    """The CSV of the data set's challenge: a row for each query, of one direction or several.

    A row holds the names of gallery tracklets, nearest first, separated by spaces.

    Args:
        path: File to write.
        form: The ``ranking_form`` of the directions.
    """

    def __init__(self, path: Path, form: str) -> None:
        self._form, self._num_rows = form, 0
        self._file = path.open("w", newline="", encoding="utf-8", errors="surrogateescape")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(RANKING_HEADERS[form])

    def add(self, case: Case, query: int, nearest: np.ndarray) -> None:
        """Write a query of a direction, by its index, with the indices of its nearest gallery tracklets."""
        self._num_rows += 1
        first = self._num_rows if self._form == AGVPREID_RANKING else case.name
        names = " ".join(case.gallery[index].name for index in nearest)
        self._writer.writerow((first, case.query[query].name, names))

    def __enter__(self) -> "RankingFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def write_distances(path: Path, case: Case, distances: Distances) -> None:
    """Write all distances, (Q, G), as .npz, with key, pid and camid of every row (query) and column (gallery)."""
    distmat = distances.matrix().cpu().numpy()
    np.savez_compressed(path, distmat=distmat, **_identify("query", case.query), **_identify("gallery", case.gallery))


def _identify(side: str, tracklets: Sequence[Tracklet]) -> dict[str, Any]:
    return {
        f"{side}_keys": np.array([tracklet.key for tracklet in tracklets]),
        f"{side}_pids": np.array([tracklet.pid for tracklet in tracklets]),
        f"{side}_camids": np.array([tracklet.camid for tracklet in tracklets]),
    }


def write_queries(path: Path, evaluation: Evaluation) -> None:
    """Write a row for each method and counted query: numbers with all digits, and an empty cell for what is unknown."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(QUERY_COLUMNS)
        for method, result, ranking in evaluation.scored_rankings():
            scores = np.stack([ranking.average_precisions, ranking.first_ranks, ranking.inverse_penalties], axis=1)
            for query, values in zip(result.valid_queries(method), scores.tolist(), strict=True):
                known = (query.key, query.pid, query.camid, query.view, query.altitude, query.day)
                writer.writerow((method, result.case.title, *known, len(query.frame_paths), *values))
