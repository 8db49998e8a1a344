"""Read matrices of integers from MATLAB files."""

import zlib
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from utils.mistake import Mistake

from .listing import missing_path_error

# Errors of scipy and h5py for files that are truncated, or not MATLAB files.
_DAMAGED = (MatReadError, zlib.error, OSError, ValueError, TypeError, IndexError, NotImplementedError)


def read_matrix(path: Path, key: str, dataset: str) -> np.ndarray:
    """Read a variable, integers as int64, shaped as in MATLAB, from a file of version 7.3 (which is HDF5) or older."""
    if not path.is_file():
        raise missing_path_error(path, dataset)
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:  # HDF5 stores MATLAB's matrices transposed
                content = {name: np.array(item).T for name, item in file.items() if isinstance(item, h5py.Dataset)}
        else:
            content = {name: item for name, item in loadmat(path).items() if not name.startswith("__")}
    except _DAMAGED as error:
        raise Mistake(f"{path} is not a MATLAB file, or is damaged: {error}") from error
    if key not in content:
        raise Mistake(f"{path}: expected a variable {key!r}, found {', '.join(sorted(content)) or 'none'}.")
    matrix = np.asarray(content[key])
    if matrix.dtype.kind not in "iuf" or (matrix != np.round(matrix)).any():
        raise Mistake(f"{path}: {key} must hold integers.")
    return matrix.astype(np.int64)


def read_rows(path: Path, key: str, num_rows: int, dataset: str) -> np.ndarray:
    """Read a vector of different row numbers, in file order; 1-based in the file, 0-based in the result."""
    rows = read_matrix(path, key, dataset).ravel() - 1
    if len(rows) and not 0 <= rows.min() <= rows.max() < num_rows:
        raise Mistake(f"{path}: {key} must lie in 1..{num_rows}, found {rows.min() + 1}..{rows.max() + 1}.")
    if len(np.unique(rows)) != len(rows):
        raise Mistake(f"{path}: {key} names {len(rows) - len(np.unique(rows))} rows more than once.")
    return rows
