"""Files of boxes: what is read, and what is refused with its line."""

import numpy as np
import pytest

from search.boxes import read_boxes


def test_lines_in_any_order_are_sorted_by_track_and_frame(write_boxes):
    lines = ["2,7,1.5,2,3,4.25,0.9,-1,-1,-1", "", "1, 8, 0, 0, 1, 1, 1,person", "1,7,-5,6,7,8,-1,-1,-1,-1"]
    boxes = read_boxes(write_boxes(lines))
    assert boxes.frames.tolist() == [1, 2, 1]
    assert boxes.tracks.tolist() == [7, 7, 8]
    assert boxes.corners.tolist() == [[-5, 6, 2, 14], [1.5, 2, 4.5, 6.25], [0, 0, 1, 1]]
    assert boxes.confidences.tolist() == [-1, 0.9, 1]


def test_files_of_other_programs(tmp_path):
    (tmp_path / "boxes.txt").write_bytes(b"\xef\xbb\xbf1.0,1.0e+00,0,0,5,5,1\r\n2,1,0,0,5,5,1")
    assert read_boxes(tmp_path / "boxes.txt").frames.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,0,0,5,5", "expected finite numbers frame, id, .*, with ',' between them, got '1,2,0,0,5,5'"),
        ("frame,id,0,0,5,5,1,-1,-1,-1", "expected finite numbers"),
        ("1,2,nan,0,5,5,1,-1,-1,-1", "expected finite numbers"),
        ("1,2,0,0,5,5,,-1,-1,-1", "expected finite numbers"),
        ('1,"2",0,0,5,5,1,-1,-1,-1', "expected finite numbers"),
        ("1.5,2,0,0,5,5,1,-1,-1,-1", "frame must be an integer from 1 up, got 1.5, 2, 0"),
        ("1e30,2,0,0,5,5,1,-1,-1,-1", "frame must be an integer from 1 up"),
        ("1,-1,0,0,5,5,1,-1,-1,-1", "id must be an integer from 0 up; -1 marks detections"),
        ("1,2,0,0,5,-5,1,-1,-1,-1", "width and height must not be negative"),
        ("1,1,1,1,5,5,1", "another line has a box of this track in this frame"),
    ],
)
def test_a_bad_line_is_named(line, message, write_boxes):
    with pytest.raises(ValueError, match=rf"boxes\.txt, line 2: {message}"):
        read_boxes(write_boxes([(1, 1, 0, 0, 5, 5, 1), line, (3, 1, 0, 0, 5, 5, 1)]))


def test_files_without_boxes(write_boxes, tmp_path):
    with pytest.raises(ValueError, match=r"boxes\.txt holds no box"):
        read_boxes(write_boxes(["", " "]))
    with pytest.raises(FileNotFoundError, match="nowhere is not a file; it must hold the boxes"):
        read_boxes(tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(np.random.default_rng(0).integers(0, 256, 10_000, dtype=np.uint8).tobytes())
    with pytest.raises(ValueError, match=r"binary, line \d+: "):
        read_boxes(tmp_path / "binary")
