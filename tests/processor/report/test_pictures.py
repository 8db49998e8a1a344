"""Pictures of the best and the worst ranked queries."""

from dataclasses import replace

import numpy as np
from PIL import Image

from processor.evaluation.results import Evaluation
from processor.report import pictures
from processor.report.direction import Place, RankedQuery
from processor.report.pictures import draw_best_and_worst


def note_drawn(monkeypatch):
    """Tracklet, title and colour of what is drawn from now on."""
    drawn = []
    monkeypatch.setattr(pictures, "_draw_tracklet", lambda axis, *words: drawn.append(words))
    return drawn


def test_pictures_are_valid_and_different_and_survive_an_unreadable_frame(run, collect, tmp_path):
    visual, *_ = collect(run(("case1",), tracklets=1))
    first, *others = visual.case.query
    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    query = (replace(first, frame_paths=(str(tmp_path / "bad.jpg"),)), *others)
    images = []
    draw_best_and_worst(replace(visual, case=replace(visual.case, query=query)), tmp_path)
    for name in ("best", "worst"):
        with Image.open(tmp_path / f"ranked_{name}.png") as image:
            assert image.format == "PNG"
            images.append(np.asarray(image.convert("RGB")))
    assert min(min(picture.shape[:2]) for picture in images) > 200
    assert images[0].std() > 10
    assert images[0].shape != images[1].shape or (images[0] != images[1]).any()


def test_pictures_leave_out_what_the_protocol_leaves_out(run, collect, tmp_path, monkeypatch):
    (result,) = run(("case1",), tracklets=1).cases
    drawn = note_drawn(monkeypatch)
    first, *others = result.case.gallery
    gallery = (replace(first, camid=result.case.query[0].camid), *others)
    for protocol, leaves_out in (("cross-camera", True), ("all-cameras", False)):
        drawn.clear()
        changed = replace(result, case=replace(result.case, gallery=gallery, protocol=protocol))
        draw_best_and_worst(collect(Evaluation([changed]))[0], tmp_path)
        assert len(drawn) == 2 * (3 * (1 + 3) - leaves_out)  # of 3 people the query and the gallery, best and worst


def test_the_first_match_is_shown_however_far_down_it_is(run, collect, tmp_path, monkeypatch):
    visual, *_ = collect(run(("case1",)))
    pid = visual.case.query[0].pid
    right, wrong = (
        next(index for index, other in enumerate(visual.case.gallery) if (other.pid == pid) is same)
        for same in (True, False)
    )
    drawn = note_drawn(monkeypatch)
    for match, last in ((3, 8), (10, 10), (40, 40), (None, 8)):
        places = [Place(rank, right if rank == match else wrong, 0.5) for rank in range(1, 11)]
        places += [Place(match, right, 0.5)] if match == 40 else []
        drawn.clear()
        draw_best_and_worst(replace(visual, queries=[RankedQuery(0, 0.1, match or np.inf, tuple(places))]), tmp_path)
        assert [int(title.split(".")[0]) for _, title, _ in drawn[1 : len(drawn) // 2]] == [*range(1, 8), last]
