"""Small copies of data sets."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat


def _add_tracks(root, split, tracks):
    """Write the frames and the table of (pid, camera, number of frames); returns the names in the table's order."""
    table, names, end = [], [], 0
    for number, (pid, camera, num_frames) in enumerate(tracks, start=1):
        folder = "00-1" if pid == -1 else f"{pid:04d}"
        path = root / f"bbox_{split}" / folder
        path.mkdir(parents=True, exist_ok=True)
        for frame in range(1, num_frames + 1):
            names.append(f"{folder}C{camera}T{number:04d}F{frame:03d}.jpg")
            Image.new("RGB", (2, 4)).save(path / names[-1])
        table.append([end + 1, end + num_frames, pid, camera])
        end += num_frames
    savemat(root / "info" / f"tracks_{split}_info.mat", {f"track_{split}_info": np.array(table)})
    return names


@pytest.fixture
def build_mars_tree(tmp_path):
    """Write a tree laid out as MARS, without lists of names; query holds 1-based rows of test."""

    def build(train, test, query):
        (tmp_path / "info").mkdir(exist_ok=True)
        names = {"train": _add_tracks(tmp_path, "train", train), "test": _add_tracks(tmp_path, "test", test)}
        savemat(tmp_path / "info/query_IDX.mat", {"query_IDX": np.array([query], dtype=np.uint16)})
        return SimpleNamespace(root=tmp_path, names=names)

    return build
