"""Files of rankings: the CSV of a challenge, and distance matrices with the keys of their rows and columns."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.tracklet import AGVPREID_RANKING, VREID_XFD_RANKING, Case, Tracklet
from utils.distances import Distances
from utils.nearest import find_nearest

# First line of a file of rankings, by its form. AG-VPReID 2025's sample submission numbers the rows of both cases
# through; VReID-XFD names the case instead. Two things are not stated in what we read: how VReID-XFD spells a case
# (here by its folder), and that it, too, puts spaces between gallery tracklets.
RANKING_HEADERS = {
    AGVPREID_RANKING: ("row_id", "query_tracklet", "gallery_tracklets"),
    VREID_XFD_RANKING: ("case", "query_tracklet", "ranked_gallery_tracklets"),
}


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

    def add(self, case: Case, query: Tracklet, nearest: np.ndarray) -> None:
        """Write a query of a direction, with the indices of its nearest gallery tracklets."""
        self._num_rows += 1
        first = self._num_rows if self._form == AGVPREID_RANKING else case.name
        self._writer.writerow((first, query.name, " ".join(case.gallery[index].name for index in nearest)))

    def __enter__(self) -> "RankingFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def add_ranking(files: Sequence[RankingFile], case: Case, query: Tracklet, distances: np.ndarray, length: int) -> None:
    """Add the ranking of a query to files.

    Args:
        files: Open files, if any.
        case: The query's direction.
        query: One of its queries.
        distances: Those of the query, (G,).
        length: Gallery tracklets to list; 0 for all.
    """
    if files:
        nearest = find_nearest(distances, length or len(distances))
        for file in files:
            file.add(case, query, nearest)


def write_distances(path: Path, case: Case, distances: Distances) -> None:
    """Write all distances, (Q, G), as .npz, with key, pid and camid of every row (query) and column (gallery)."""
    distmat = distances.matrix().numpy()
    np.savez_compressed(path, distmat=distmat, **_identify("query", case.query), **_identify("gallery", case.gallery))


def _identify(side: str, tracklets: Sequence[Tracklet]) -> dict[str, Any]:
    return {
        f"{side}_keys": np.array([tracklet.key for tracklet in tracklets]),
        f"{side}_pids": np.array([tracklet.pid for tracklet in tracklets]),
        f"{side}_camids": np.array([tracklet.camid for tracklet in tracklets]),
    }
