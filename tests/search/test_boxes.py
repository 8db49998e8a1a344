"""Files of boxes: what is read, and what is refused with its line."""

from dataclasses import replace

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


# ---- which boxes become frames of which tracklet: hand-worked cases in frames of 100 x 200 pixels (height, width)

ALL = SelectionRules(min_frames=1, min_width=1, min_height=1, min_confidence=None, margin=0.0, stride=1, gap=1000)


@pytest.fixture
def select(write_boxes):
    """``select(lines, **rules)``: the selection of the boxes in these lines."""

    def run(lines, **rules):
        return select_crops(read_boxes(write_boxes(lines)), 100, 200, replace(ALL, **rules))

    return run


def line(frame, track, left=10, top=20, width=30, height=60, confidence=1):
    return frame, track, left, top, width, height, confidence


def names(selection):
    return [tracklet["folder"] for tracklet in selection.tracklets]


def test_edges_are_rounded_and_clipped(select):
    # The right edge of the first is 30.6, the lower one 50.9; the last one is rounded to the border.
    lines = [line(1, 1, 10.4, 20.6, 20.2, 30.3), line(1, 2, -5, -7, 20, 30), line(1, 3, 190, 90, 20, 30)]
    selection = select([*lines, line(1, 4, 180, 70, 20.4, 30.4)])
    assert selection.edges.tolist() == [[10, 21, 31, 51], [0, 0, 15, 23], [190, 90, 200, 100], [180, 70, 200, 100]]
    assert selection.report == "of 4 boxes, none was left out; 2 of the crops are clipped at the border of the frame"
    assert [t["mean_width"] for t in selection.tracklets] == [21, 15, 10, 20]
    assert [t["mean_height"] for t in selection.tracklets] == [30, 23, 10, 30]


def test_boxes_outside_and_empty_boxes_are_left_out_and_counted(select):
    outside = [line(2, 1, -30), line(3, 1, 200), line(4, 1, top=-60), line(5, 1, top=100), line(6, 1, width=0)]
    selection = select([line(1, 1), *outside, line(7, 1, height=0.3), line(8, 1, -1e308), line(9, 1, 1e308)])
    assert selection.frames.tolist() == [1]
    assert selection.report.startswith("of 9 boxes, 8 are outside the frame or empty;")


def test_the_margin_is_a_share_of_the_size_and_ends_at_the_border(select):
    selection = select([line(1, 1, 50, 40, 20, 40), line(2, 1, 0, 0, 20, 100)], margin=0.1)
    assert selection.edges.tolist() == [[48, 36, 72, 84], [0, 0, 22, 100]]
    assert "0 of the crops are clipped" in selection.report
    assert selection.tracklets[0]["mean_width"] == 20


def test_boxes_that_are_too_small_inside_the_frame_or_below_the_confidence_are_left_out(select):
    lines = [line(1, 1, 10, 20, 16, 32), line(2, 1, -1, 20, 16, 32), line(3, 1, 10, 69, 16, 32)]
    selection = select([*lines, line(4, 1, confidence=0.5)], min_width=16, min_height=32, margin=1, min_confidence=0.6)
    assert selection.frames.tolist() == [1]
    assert "2 are smaller than 16x32 pixels (--min_width, --min_height)" in selection.report
    assert "1 are below --min_confidence 0.6" in selection.report
    assert select([line(1, 1, confidence=-1)]).frames.tolist() == [1]


def test_a_track_is_split_where_it_is_absent_for_more_than_the_gap(select):
    lines = [line(frame, 7) for frame in (1, 2, 5, 9, 20)]
    assert names(select(lines, gap=3)) == ["track_0007", "track_0007_2"]  # frames 6 to 8 are missing, and 10 to 19
    selection = select([*lines, line(3, 12345)], gap=2)
    assert names(selection) == ["track_0007", "track_0007_2", "track_0007_3", "track_12345"]
    spans = [(t["first_frame"], t["last_frame"], t["num_frames"]) for t in selection.tracklets]
    assert spans == [(1, 5, 3), (9, 9, 1), (20, 20, 1), (3, 3, 1)]
    assert selection.owners.tolist() == [0, 0, 3, 0, 1, 2]
    assert names(select(lines, gap=2, min_frames=2)) == ["track_0007"]
    assert names(select([*lines, line(21, 7)], gap=2, min_frames=2)) == ["track_0007", "track_0007_3"]


def test_the_stride_keeps_every_nth_frame_of_the_video_and_splits_nothing(select):
    lines = [line(frame, track) for frame in range(2, 12) for track in (1, 2) if frame != 7 or track == 2]
    selection = select(lines, stride=3, gap=1)
    assert [selection.frames[selection.owners == owner].tolist() for owner in (0, 1)] == [[4, 10], [4, 7, 10]]
    assert names(select(lines, stride=3, min_frames=3)) == ["track_0002"]


def test_without_a_tracklet_the_options_that_left_none_are_named(select):
    lines = [line(1, 1, width=5), line(2, 1, confidence=0.1), line(3, 1), line(4, 1), line(5, 1, left=500)]
    message = (
        r"^No tracklet is left: of 5 boxes, 1 are outside the frame or empty, 1 are smaller than 8x1 pixels "
        r"\(--min_width, --min_height\), 1 are below --min_confidence 0\.5, 1 are skipped by --stride 3, 1 are in "
        r"tracklets of fewer than 2 frames \(--min_frames\)\.$"
    )
    with pytest.raises(ValueError, match=message):
        select([*lines[:2], line(3, 1), line(4, 1), lines[4]], min_width=8, min_confidence=0.5, stride=3, min_frames=2)
