"""A table of LanceDB: tracklets beyond what memory holds, in a folder, a bucket or on a server, with an index."""

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from utils.mistake import MissingFile, Mistake
from utils.text import shorten

from .feature_file import WORDS, FeatureTable, require_comparable
from .find import Column, Condition, Neighbours, having


@contextmanager
def _hiding_datasets() -> Iterator[None]:
    """Hide our folder ``datasets`` from LanceDB, which takes a module of that name for Hugging Face's."""
    ours = sys.modules.pop("datasets", None)
    try:
        yield
    finally:
        if ours is not None:
            sys.modules["datasets"] = ours


with _hiding_datasets():
    import lancedb
    from lancedb.index import IvfRq, IvfSq

logger = logging.getLogger(__name__)

TABLE = "tracklets"
INDEX_FROM = 100_000  # rows; below, every vector is compared
# Codes of one bit a number (RaBitQ) choose REFINED times k rows, whose vectors are compared. All partitions are
# searched: of generated features, a search of a quarter of them misses a fifth of the neighbours.
PARTITION_ROWS = 8192
ALL_PARTITIONS = 1 << 20
REFINED = 20
NUM_SAMPLES, NUM_NEIGHBOURS = 20, 10  # of the recall that is measured


class LanceGallery:
    """The tracklets of a table that fit conditions; ``uri`` is a folder or address that ``lancedb.connect`` takes."""

    def __init__(self, uri: str, where: Sequence[Condition] = ()) -> None:
        if not _exists(uri):
            raise MissingFile(f"{uri} is no table of tracklets: `python -m tools.search load` makes one.")
        self.name, self.table = uri, lancedb.connect(uri).open_table(TABLE)
        self.form = FeatureTable(self.table.schema.empty_table())
        self._where = " AND ".join(condition.as_sql() for condition in where) or None

    def __len__(self) -> int:
        return self.table.count_rows(self._where)

    def fetch(self, keys: Sequence[str]) -> FeatureTable:
        rows = self.table.search().where(having("key", keys)).limit(len(keys)).to_arrow()
        return FeatureTable(rows.replace_schema_metadata(self.table.schema.metadata)).select(keys, self.name)

    def has_camera(self, word: str) -> bool:
        return self.table.count_rows(having("camera", [word])) > 0

    def nearest(self, vectors: np.ndarray, k: int, column: Column, indexed: bool = True) -> Iterator[Neighbours]:
        """Yield for each vector the k nearest tracklets; their distances are computed in double precision."""
        for vector in vectors:
            query = self._search(vector, column).limit(k)
            query = query.nprobes(ALL_PARTITIONS).refine_factor(REFINED) if indexed else query.bypass_vector_index()
            found = FeatureTable(query.select([*self.table.schema.names, "_distance"]).to_arrow())
            own = found.words if column == WORDS else found.features
            assert own is not None
            distances = np.square(own - vector.astype(np.float64)).sum(axis=1)
            order = np.argsort(distances, kind="stable")
            yield list(zip(found.list_entries(order.tolist()), distances[order].tolist(), strict=True))

    def count_within(self, vector: np.ndarray, limit: float) -> int:
        """Count in single precision, whose rounding may decide about a tracklet at the limit; the index is not used."""
        bound = float(np.nextafter(np.float32(limit), np.float32(np.inf)))
        query = self._search(vector, "feature").bypass_vector_index().distance_range(upper_bound=bound)
        return len(query.limit(len(self)).select(["_distance"]).to_arrow())

    def _search(self, vector: np.ndarray, column: Column) -> Any:
        search: Any = self.table.search  # its type does not say that vectors are searched
        query = search(vector, vector_column_name=column).distance_type("l2")
        return query.where(self._where, prefilter=True) if self._where else query


def load(uri: str, tracklets: FeatureTable, source: str, replaces: bool = False) -> None:
    """Add tracklets to a table, or make it; all of them or none. ``source`` is their file, for messages."""
    if not _exists(uri):
        with _hiding_datasets():
            lancedb.connect(uri).create_table(TABLE, tracklets.rows)
        return
    gallery = LanceGallery(uri)
    require_comparable(gallery.form, uri, tracklets, source, joined=True)
    kept = gallery.table.search().select(["key"]).limit(gallery.table.count_rows()).to_arrow()["key"].to_pylist()
    present = set(kept).intersection(tracklets.keys)
    if present and not replaces:
        raise Mistake(f"{source}: {uri} has {shorten(min(present))} already; --replace puts the new one there.")
    merging = gallery.table.merge_insert("key").when_not_matched_insert_all().when_matched_update_all()
    with _hiding_datasets():
        merging.execute(tracklets.rows)


def update_index(uri: str) -> None:
    """Make the index of a large table, or add the rows that it lacks, and log its recall."""
    gallery = LanceGallery(uri)
    table, count = gallery.table, len(gallery)
    if count < INDEX_FROM:
        return
    if list(table.list_indices()):
        table.optimize()
    else:
        for column in ("feature",) if gallery.form.words is None else ("feature", "words"):
            width = table.schema.field(column).type.list_size
            codes = IvfRq if width % 8 == 0 else IvfSq  # RaBitQ packs bits into bytes; the other has a byte a number
            table.create_index(column, config=codes(distance_type="l2", num_partitions=-(-count // PARTITION_ROWS)))
    vectors = FeatureTable(table.search().limit(NUM_SAMPLES).to_arrow()).features
    exact, found = (
        {(row, entry["key"]) for row, each in enumerate(nearest) for entry, _ in each}
        for nearest in (gallery.nearest(vectors, NUM_NEIGHBOURS, "feature", indexed) for indexed in (False, True))
    )
    recall = f"{100 * len(exact & found) / len(exact):.1f} % of the {NUM_NEIGHBOURS} nearest of {NUM_SAMPLES} tracklets"
    logger.info("From %s tracklets on, search is approximate: the index finds %s.", f"{INDEX_FROM:,}", recall)


def delete(uri: str, keys: Sequence[str]) -> None:
    """Delete tracklets from a table, or none if one of them is not there.

    The rows that stay are written again, because LanceDB would only mark the others and keep their vectors.
    """
    gallery = LanceGallery(uri)
    gallery.fetch(keys)
    rows = gallery.table.search().where(f"NOT ({having('key', keys)})").to_batches()
    with _hiding_datasets():
        table = lancedb.connect(uri).create_table(TABLE, rows, schema=gallery.table.schema, mode="overwrite")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that other commands which search meanwhile may fail
        table.optimize(cleanup_older_than=timedelta(0))
    update_index(uri)


def _exists(uri: str) -> bool:
    """Whether there is a table; LanceDB would make the folder to find out."""
    return ("://" in uri or Path(uri).is_dir()) and TABLE in lancedb.connect(uri).list_tables().tables
