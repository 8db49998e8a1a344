"""Reading matrices of integers from MATLAB files."""

import zlib
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from ..storage.listing import missing_path

# What scipy and h5py answer files with that are truncated or something else.
_DAMAGED = (MatReadError, zlib.error, OSError, ValueError, TypeError, IndexError, NotImplementedError)


def read_matrix(path: Path, key: str, dataset: str) -> np.ndarray:
    """Read a matrix of integers from a MATLAB file, of version 7.3 (which is HDF5) or older.

    Args:
        path: The .mat file.
        key: Variable name.
        dataset: For messages.
    Returns:
        int64, shaped as in MATLAB.
    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no MATLAB file, is damaged, or has no such variable, or one that is not made of integers.
    """
    if not path.is_file():
        raise missing_path(path, dataset)
    try:
        content = _load(path)
    except _DAMAGED as error:
        raise ValueError(f"{path} is not a MATLAB file, or is damaged: {error}") from error
    if key not in content:
        raise ValueError(f"{path}: expected a variable {key!r}, found {', '.join(sorted(content)) or 'none'}.")
    matrix = np.asarray(content[key])
    if matrix.dtype.kind not in "iuf" or (matrix != np.round(matrix)).any():
        raise ValueError(f"{path}: {key} must hold integers.")
    return matrix.astype(np.int64)


def _load(path: Path) -> dict[str, np.ndarray]:
    """Variables by name; HDF5 keeps the columns of a MATLAB matrix first."""
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            return {name: np.array(item).T for name, item in file.items() if isinstance(item, h5py.Dataset)}
    return {name: item for name, item in loadmat(path).items() if not name.startswith("__")}


def read_rows(path: Path, key: str, num_rows: int, dataset: str) -> np.ndarray:
    """Read a MATLAB vector of row numbers, 1-based, as 0-based, in file order; each must occur once and exist."""
    rows = read_matrix(path, key, dataset).ravel() - 1
    if len(rows) and not 0 <= rows.min() <= rows.max() < num_rows:
        raise ValueError(f"{path}: {key} must lie in 1..{num_rows}, found {rows.min() + 1}..{rows.max() + 1}.")
    if len(np.unique(rows)) != len(rows):
        raise ValueError(f"{path}: {key} names {len(rows) - len(np.unique(rows))} rows more than once.")
    return rows
