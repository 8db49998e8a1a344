"""Which boxes become frames of which tracklet: hand-worked cases in frames of 100 x 200 pixels (height, width)."""

from dataclasses import replace

import pytest

from search.boxes import SelectionRules, read_boxes, select_crops

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
