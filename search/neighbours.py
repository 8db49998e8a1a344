"""Nearest neighbours in a matrix of features: exact ones, and those that compact codes of the features find faster.

Axes: n rows, D feature width, Q queries, k neighbours.
"""

from dataclasses import dataclass

import faiss
import numpy as np

from utils.mistake import Mistake

# Codes are chosen, and not a graph or inverted lists, by a measurement on generated features in clusters of 10, whose
# spectrum decays; one thread. The machine had other work, so times are rough; recall does not depend on that.
#                                                  200,000 x 512 numbers            50,000 x 2,048 numbers
#                                                  made in  a query  recall@10      made in  a query  recall@10
#   exact                                                    40 ms                             120 ms
#   HNSW, 32 links, efSearch 512                   404 s      5 ms   0.917          258 s       17 ms   0.956
#   4 sqrt(n) inverted lists, 256 searched          66 s     31 ms   0.905          113 s      104 ms   0.970
#   codes of 4 bits for 2 numbers, 200 candidates   18 s     12 ms   0.981           94 s       27 ms   0.988
#   the same, 1,000 candidates                      18 s     18 ms   0.998           94 s       55 ms   0.998
NUMBERS_PER_CODE = 2
CODE_BITS = 4  # the size that faiss compares fastest
NUM_TRAINED = 16_384  # rows that the codes are fitted to
# Rows whose codes are nearest, and whose features are compared, to find the 10 nearest: the first number that reaches
# the recall, or else the last.
CANDIDATES = (50, 100, 200, 400, 800, 1600, 3200)
TARGET_RECALL = 0.99
NUM_NEIGHBOURS = 10  # the k of recall@k
NUM_SAMPLES = 200  # rows that the recall is measured on


@dataclass(frozen=True)
class Effort:
    """How many rows a search compares, and the share of the exact neighbours that it finds.

    Attributes:
        candidates: Rows whose features are compared to find ``NUM_NEIGHBOURS``.
        recall: Recall@10 of a sample of the index's own rows, 0..1.
    """

    candidates: int
    recall: float


def find_exactly(features: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Return the rows of ``features`` nearest to each query, (Q, k), by Euclidean distance; k is at most n."""
    return faiss.knn(queries, features, k)[1]


class CompactCodes:
    """Codes of the rows of a matrix, which are compared instead of them; the nearest are then compared themselves.

    Args:
        index: The codes.
        effort: Of a search.

    Attributes:
        effort: Likewise.

    Reference:
        Andre, Kermarrec, Le Scouarnec, "Cache Locality is not Enough: High-Performance Nearest Neighbor Search with
        Product Quantization Fast Scan", VLDB 2015; in faiss's implementation.
    """

    def __init__(self, index: faiss.IndexPQFastScan, effort: Effort) -> None:
        self._index = index
        self.effort = effort

    @classmethod
    def fit(cls, features: np.ndarray) -> "CompactCodes":
        """Fit codes to a matrix, (n, D), and encode its rows."""
        count, width = features.shape
        numbers = NUMBERS_PER_CODE if width % NUMBERS_PER_CODE == 0 else 1
        index = faiss.IndexPQFastScan(width, width // numbers, CODE_BITS)
        index.train(features[np.random.default_rng(0).permutation(count)[:NUM_TRAINED]])
        codes = cls(index, Effort(0, 0.0))
        codes.extend(features)
        return codes

    @classmethod
    def restore(cls, content: np.ndarray, shape: tuple[int, ...], effort: Effort) -> "CompactCodes":
        """Return the codes that ``as_array`` returned.

        Raises:
            ValueError: If they are not of ``shape``, or with an effort that is none.
            AssertionError, RuntimeError: If they are damaged; of faiss.
        """
        if type(effort.candidates) is not int or effort.candidates < 1 or not isinstance(effort.recall, int | float):
            raise Mistake(f"its effort is {effort}")
        index = faiss.deserialize_index(content)
        if not isinstance(index, faiss.IndexPQFastScan) or (index.ntotal, index.d) != shape:
            raise Mistake(f"its codes are not those of {shape[0]} features of {shape[1]} numbers")
        return cls(index, effort)

    def as_array(self) -> np.ndarray:
        """Return all that is needed to restore the codes, (bytes,), uint8."""
        return faiss.serialize_index(self._index)

    def __len__(self) -> int:
        return self._index.ntotal

    def extend(self, features: np.ndarray) -> None:
        """Encode the rows that were added to a matrix at its end, and measure again; ``features`` are all, (n, D)."""
        self._index.add(features[len(self) :])
        rows = np.random.default_rng(0).permutation(len(features))[:NUM_SAMPLES]
        k = min(NUM_NEIGHBOURS + 1, len(features))  # a row finds itself, too
        exact = find_exactly(features, features[rows], k)
        for candidates in CANDIDATES:
            self.effort = Effort(candidates, 0.0)
            recall = _compute_recall(rows, exact, self.find(features, features[rows], k))
            self.effort = Effort(candidates, recall)
            if recall >= TARGET_RECALL:
                break

    def find(self, features: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
        """Return the rows that are nearest to each query among the candidates, (Q, k); k is at most n."""
        candidates = min(len(self), -(-k * self.effort.candidates // NUM_NEIGHBOURS))
        nearest = np.empty((len(queries), k), dtype=np.int64)
        for query, rows, result in zip(queries, self._index.search(queries, candidates)[1], nearest, strict=True):
            result[:] = rows[find_exactly(features[rows], query[None], k)[0]]
        return nearest


def _compute_recall(rows: np.ndarray, exact: np.ndarray, found: np.ndarray) -> float:
    """Return the share of the exact neighbours of some rows, themselves left out, that were found."""
    wanted = [set(one) - {row} for row, one in zip(rows.tolist(), exact.tolist(), strict=True)]
    num_right = sum(len(one & set(other)) for one, other in zip(wanted, found.tolist(), strict=True))
    return num_right / max(1, sum(map(len, wanted)))
