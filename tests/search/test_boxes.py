"""Files of boxes: what is read, and what is refused with its line."""

import numpy as np
import pytest

from search.boxes import read_boxes


def test_lines_in_any_order_are_sorted_by_frame_and_track(write_boxes):
    lines = ["2,7,1.5,2,3,4.25,0.9,-1,-1,-1", "", "1, 8, 0, 0, 1, 1, 1,-1,-1,-1", "1,3,-5,6,7,8,-1,-1,-1,-1"]
    boxes = read_boxes(write_boxes(lines))
    assert boxes.frames.tolist() == [1, 1, 2]
    assert boxes.tracks.tolist() == [3, 8, 7]
    assert boxes.lines.tolist() == [4, 3, 1]
    assert boxes.corners.tolist() == [[-5, 6, 2, 14], [0, 0, 1, 1], [1.5, 2, 4.5, 6.25]]
    assert boxes.confidences.tolist() == [-1, 1, 0.9]
    assert len(boxes) == 3


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf1,1,0,0,5,5,1\r\n2,1,0,0,5,5,1\r\n", b"1.0,1.0e+00,0,0,5,5,1\n2,1,0,0,5,5,1"]
)
def test_files_of_other_programs(content, tmp_path):
    (tmp_path / "boxes.txt").write_bytes(content)
    assert read_boxes(tmp_path / "boxes.txt").frames.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,0,0,5,5", r"expected at least 7 values with commas between them \(frame, id, .*\), got 6\."),
        ("1,2,0,0,5,5,1,-1", "expected 10 values, as in the first line, got 8"),
        ("1.5,2,0,0,5,5,1,-1,-1,-1", "frame must be an integer from 1 up, got '1.5'"),
        ("frame,id,0,0,5,5,1,-1,-1,-1", "frame must be a number, got 'frame'"),
        ("1,-1,0,0,5,5,1,-1,-1,-1", "id must be an integer from 0 up, got '-1'; -1 marks detections"),
        ("1,2,nan,0,5,5,1,-1,-1,-1", "left must be finite, got 'nan'"),
        ("1,2,0,0,5,-5,1,-1,-1,-1", "height must not be negative, got '-5'"),
        ("1,2,0,0,5,5,,-1,-1,-1", "confidence must be a number, got ''"),
        ("1_0,2,0,0,5,5,1,-1,-1,-1", "frame must be a number, got '1_0'"),
        ("1,2,0,0,\u0665,5,1,-1,-1,-1", "width must be a number, got '\u0665'"),
        ('1,2,0,0,5,5,1,-1,-1,"-1,-1"', "expected 10 values, as in the first line, got 11"),
        ('1,"2",0,0,5,5,1,-1,-1,-1', "id must be a number, got '\"2\"'"),
        ("1e30,2,0,0,5,5,1,-1,-1,-1", "frame must be an integer from 1 up, got '1e30'"),
    ],
)
def test_a_bad_line_is_named(line, message, write_boxes):
    with pytest.raises(ValueError, match=rf"boxes\.txt, line 2: {message}"):
        read_boxes(write_boxes([(1, 1, 0, 0, 5, 5, 1), line]))


def test_two_boxes_of_a_track_in_one_frame_name_both_lines(write_boxes):
    lines = [(2, 7, 0, 0, 5, 5, 1), (1, 7, 0, 0, 5, 5, 1), (1, 8, 0, 0, 5, 5, 1), (2, 7, 1, 1, 5, 5, 1)]
    with pytest.raises(ValueError, match=r"line 4: frame 2 has a box of track 7 on line 1 already; remove one"):
        read_boxes(write_boxes(lines))


def test_files_without_boxes(write_boxes, tmp_path):
    with pytest.raises(ValueError, match=r"boxes\.txt holds no box"):
        read_boxes(write_boxes(["", " "]))
    with pytest.raises(FileNotFoundError, match="nowhere is not a file; it must hold the boxes"):
        read_boxes(tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(np.random.default_rng(0).integers(0, 256, 10_000, dtype=np.uint8).tobytes())
    with pytest.raises(ValueError, match=r"binary, line \d+: "):
        read_boxes(tmp_path / "binary")
