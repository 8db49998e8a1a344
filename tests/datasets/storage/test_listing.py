import h5py
import numpy as np
import pytest
from scipy.io import savemat

from datasets.benchmarks.matlab import read_matrix
from datasets.storage.listing import last_integer, sort_frames


def test_both_generations_of_matlab_files_agree(tmp_path):
    matrix = np.arange(12).reshape(4, 3)
    savemat(tmp_path / "old.mat", {"x": matrix})
    with h5py.File(tmp_path / "new.mat", "w") as file:
        file["x"] = matrix.T.astype(float)  # MATLAB writes columns first, and doubles
        file.create_group("#refs#")
    for name in ("old.mat", "new.mat"):
        found = read_matrix(tmp_path / name, "x", "a set")
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, matrix)
    with pytest.raises(ValueError, match=r"new\.mat: expected a variable 'y', found x"):
        read_matrix(tmp_path / "new.mat", "y", "a set")


def test_frames_sort_by_their_last_number():
    assert last_integer("cam1_person003_00317.png") == 317
    assert last_integer("cover.png") == -1
    assert sort_frames("a", ["x_10.png", "x_9.png"]) == ("a/x_9.png", "a/x_10.png")


@pytest.mark.parametrize("generation", ["old", "new"])
@pytest.mark.parametrize("size", [0, 3, 100, 140, 1000])
def test_damaged_files_are_named(tmp_path, generation, size):
    path = tmp_path / "a.mat"
    if generation == "old":
        savemat(path, {"x": np.arange(1000)})
    else:
        with h5py.File(path, "w") as file:
            file["x"] = np.arange(1000)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"a\.mat is not a MATLAB file, or is damaged"):
        read_matrix(path, "x", "a set")
