"""Files of rankings: the CSV of a challenge, and distance matrices with the keys of their rows and columns."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets import Case, Tracklet
from datasets.tracklet import AGVPREID_RANKING, VREID_XFD_RANKING
from utils.distances import Distances
from utils.nearest import iterate_nearest

# First line of a file of rankings, by its form. AG-VPReID 2025's sample submission numbers the rows of both cases
# through; VReID-XFD names the case instead. Two things are not stated in what we read: how VReID-XFD spells a case
# (here by its folder), and that it, too, puts spaces between gallery tracklets.
RANKING_HEADERS = {
    AGVPREID_RANKING: ("row_id", "query_tracklet", "gallery_tracklets"),
    VREID_XFD_RANKING: ("case", "query_tracklet", "ranked_gallery_tracklets"),
}


def write_rankings(path: Path, rankings: Sequence[tuple[Case, Distances]], length: int) -> None:
    """Write the CSV of the data set's challenge.

    It has one row per query of the directions given, with the names of gallery tracklets, nearest first, separated by
    spaces.

    Args:
        path: File to write.
        rankings: Directions of one data set, with their distances (Q, G).
        length: Gallery tracklets per query; 0 for all.
    """
    form = rankings[0][0].ranking_form
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(RANKING_HEADERS[form])
        row_id = 0
        for case, distances in rankings:
            for query, nearest in zip(case.query, iterate_nearest(distances, length or len(case.gallery)), strict=True):
                row_id += 1
                first = row_id if form == AGVPREID_RANKING else case.name
                writer.writerow((first, query.name, " ".join(case.gallery[index].name for index in nearest)))


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
