import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from datasets.problems import Findings
from datasets.readers.listing import list_split
from datasets.readers.matlab import read_matrix
from datasets.readers.names import number_words, sort_frames


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


@pytest.mark.parametrize(
    "names",
    [
        ("x_9.png", "x_10.png"),
        ("K9F1.jpg", "K1F2.jpg", "K1F10.jpg"),
        ("9_crop1.jpg", "10_crop1.jpg"),
        ("frame_9_x300.jpg", "frame_10_x20.jpg"),
        ("cover.png", "b_frame-2.png"),
    ],
)
def test_frames_sort_by_the_number_that_f_announces_then_naturally(names):
    assert sort_frames("a", names[::-1]) == tuple(f"a/{name}" for name in names)


def add(split, folder, *names):
    Path(split, folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        Path(split, folder, name).touch()


def test_every_problem_of_a_split_is_found(tmp_path):
    for folder in ("7/a", "7/with space", "9223372036854775807/a", "9223372036854775808/a", "person/a"):
        add(tmp_path, folder, "1.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path / "7") + b"/caf\xe9")).mkdir()
    (tmp_path / "7/line\nbreak").mkdir()
    (tmp_path / "8").symlink_to("nowhere")
    os.mkfifo(tmp_path / "7/pipe")
    for name in ("notes.txt", ".hidden", "12", "7/13.zip"):
        (tmp_path / name).touch()
    findings = Findings()
    folders = list_split(tmp_path, "Toy", findings)
    assert [(folder.pid, folder.name) for folder in folders if folder.name == "a"] == [(7, "a"), (2**63 - 1, "a")]
    odd_name = "this name has spaces, or is not UTF-8."
    assert findings.places.keys() == {"identity folder", "tracklet name", "unusable entry"}
    texts = [text for places in findings.places.values() for text in places]
    assert sorted(texts) == sorted(
        [
            f"{tmp_path}/12 is a file, but a folder is expected here.",
            f"{tmp_path}/7/caf\\xe9: {odd_name}",
            f"{tmp_path}/7/line\\nbreak: {odd_name}",
            f"{tmp_path}/7/pipe is a special file: expected a folder or a regular file.",
            f"{tmp_path}/7/with space: {odd_name}",
            f"{tmp_path}/8 is a link whose target is missing or special: expected a folder or a regular file.",
            f"{tmp_path}/9223372036854775808: expected a folder name that is a number, of at most 64 bits.",
            f"{tmp_path}/person: expected a folder name that is a number, of at most 64 bits.",
        ]
    )


@pytest.mark.parametrize("size", [0, 3, 140, 1000])
@pytest.mark.parametrize("name", ["old.mat", "new.mat"])
def test_damaged_files_are_named(tmp_path, name, size):
    savemat(tmp_path / "old.mat", {"x": np.arange(1000)})
    with h5py.File(tmp_path / "new.mat", "w") as file:
        file["x"] = np.arange(1000)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:size])
    with pytest.raises(ValueError, match=rf"{name} is not a MATLAB file, or is damaged"):
        read_matrix(tmp_path / name, "x", "a set")


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["0012", "7", "", "7"], {"7": 7, "0012": 12}),
        (["cam10", "cam2", ""], {"cam2": 0, "cam10": 1}),
        (["9" * 19], {"9" * 19: 0}),  # beyond 64 bits
        ([], {}),
    ],
)
def test_words_get_numbers(words, numbers):
    assert number_words(words) == numbers
