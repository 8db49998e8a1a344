"""Files of boxes: what is read, and what is refused with its line."""

import numpy as np
import pytest

from search.boxes import SelectionRules, read_boxes, select_crops


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
        ("1,2,0,0,5,5", "expected finite numbers frame, id, .*, with commas between them, got '1,2,0,0,5,5'"),
        ("frame,id,0,0,5,5,1,-1,-1,-1", "expected finite numbers"),
        ("1,2,nan,0,5,5,1,-1,-1,-1", "expected finite numbers"),
        ("1,2,0,0,5,5,,-1,-1,-1", "expected finite numbers"),
        ('1,"2",0,0,5,5,1,-1,-1,-1', "expected finite numbers"),
        ("1.5,2,0,0,5,5,1,-1,-1,-1", "frame must be an integer from 1 up; --first_frame 0 is for .*, got 1.5, 2, 0"),
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


BOX = "10,20,30,40"  # within frames of 100 x 100 pixels
GROUND_TRUTH = [f"1,1,{BOX},1,1,0.5", f"1,2,{BOX},0,1,1", f"1,3,{BOX},1,8,1", f"1,4,{BOX},0,3,1"]


@pytest.mark.parametrize(
    ("lines", "options", "tracks"),
    [
        (GROUND_TRUTH, {}, [1]),
        (GROUND_TRUTH, {"classes": ["1", "8"]}, [1, 3]),
        ([f'1,1,{BOX},0.9,"person"', f"1,2,{BOX},0.9,Car"], {}, [1]),
        ([f"1,1,{BOX},0.9,0"], {}, [1]),  # one class in the whole file
        ([f"1,1,{BOX},0.9,-3.17,4.3", f"1,2,{BOX},0.9,5.25,1"], {}, [1, 2]),  # places in the world
        ([f"0,5,{BOX},1".replace(",", "; ")], {"first_frame": 0}, [5]),
        ([f"1,6,{BOX},1".replace(",", " ")], {}, [6]),
    ],
)
def test_forms_of_other_programs(lines, options, tracks, write_boxes):
    boxes = read_boxes(write_boxes(lines), **options)
    assert boxes.tracks.tolist() == tracks
    assert boxes.frames.tolist() == [1] * len(tracks)
    assert boxes.corners[0].tolist() == [10, 20, 40, 60]
    assert len(lines) == len(tracks) + sum(boxes.left_out.values())


def test_boxes_that_are_no_pixels_or_people_are_refused_with_advice(write_boxes):
    with pytest.raises(ValueError, match="the boxes are shares of the frame, not pixels; multiply columns 3 to 6"):
        read_boxes(write_boxes(["1,1,0.1,0.2,0.3,0.4,1"]))
    with pytest.raises(ValueError, match=r"column 8 holds the classes 3 \(1\), 4 \(1\); name those .* --classes"):
        read_boxes(write_boxes([f"1,1,{BOX},1,3", f"1,2,{BOX},1,4"]))
    with pytest.raises(ValueError, match="all boxes of people are flagged 0 in column 7"):
        read_boxes(write_boxes(GROUND_TRUTH), classes=["3"])
    for word in ("3", "car"):  # the only class of a file
        with pytest.raises(ValueError, match=rf"column 8 holds the classes {word} \(1\); name those .* --classes"):
            read_boxes(write_boxes([f"1,1,{BOX},0.9,{word}"]))
    walk = [(frame, 1, 5 + 2 * frame, 5, 15 + 2 * frame, 30, 1) for frame in range(1, 9)]  # where no edge is far
    edge = [(frame, 2, 90, 20, 99 + (frame == 1), 60, 1) for frame in range(1, 40)]
    for rows in (walk, edge, [(1, number, 60, 20, 90, 60, 1) for number in range(5)]):
        boxes = read_boxes(write_boxes(rows))
        with pytest.raises(ValueError, match="columns 5 and 6 seem to be right and bottom edges"):
            select_crops(boxes, 100, 99, SelectionRules(1, 1, 1, None, 0.0, 1, 1))
    grows = [(frame, 1, 2, 5, 10 + 2 * frame, 30 + 4 * frame, 1) for frame in range(1, 9)]  # somebody comes nearer
    select_crops(read_boxes(write_boxes(grows)), 100, 100, SelectionRules(1, 1, 1, None, 0.0, 1, 1))
