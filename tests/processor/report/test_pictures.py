"""Pictures of the best and the worst ranked queries."""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from processor.report import pictures
from processor.report.pictures import draw_best_and_worst
from processor.report.write import write_report

ORIGIN = {"checkpoint": "logs/all/checkpoint_best.pth", "data": "data/AG-VPReID"}


def test_pictures_are_valid_and_different(run, tmp_path):
    torch.manual_seed(0)
    write_report(run(cases=("case1",), tracklets=1), tmp_path, ranking_length=20, origin=ORIGIN)
    images = []
    for name in ("ranked_best.png", "ranked_worst.png"):
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"
            images.append(np.asarray(image.convert("RGB")))
    assert min(min(picture.shape[:2]) for picture in images) > 200
    assert images[0].std() > 10
    assert images[0].shape != images[1].shape or (images[0] != images[1]).any()


def test_pictures_survive_an_unreadable_frame(run, tmp_path):
    evaluation = run(cases=("case1",), tracklets=1, num_frames=1)
    for tracklet in evaluation.cases[0].case.query:
        with open(tracklet.frame_paths[0], "wb") as file:
            file.write(b"not an image")
    written = write_report(evaluation, tmp_path, ranking_length=20, origin=ORIGIN)
    assert tmp_path / "ranked_best.png" in written


def test_pictures_leave_out_what_the_protocol_leaves_out(run, survey, tmp_path, monkeypatch):
    evaluation = run(cases=("case1",), tracklets=1)
    (result,) = evaluation.cases
    drawn = []
    monkeypatch.setattr(pictures, "_draw_tracklet", lambda axis, tracklet, title, colour: drawn.append(tracklet))
    first, *others = result.case.gallery
    gallery = (replace(first, camid=result.case.query[0].camid), *others)
    for protocol, leaves_out in (("cross-camera", True), ("all-cameras", False)):
        drawn.clear()
        changed = replace(result, case=replace(result.case, gallery=gallery, protocol=protocol))
        draw_best_and_worst(survey(replace(evaluation, cases=[changed]))[0], tmp_path)
        assert len(drawn) == 2 * (3 * (1 + 3) - leaves_out)  # of 3 people the query and the gallery, best and worst


def test_every_row_shows_another_person(run, survey, tmp_path, monkeypatch):
    visual, *_ = survey(run(cases=("case1",), tracklets=2))
    assert len(visual.case.query) == 2 * 3
    queries = []
    monkeypatch.setattr(
        pictures,
        "_draw_tracklet",
        lambda axis, tracklet, title, colour: queries.append(tracklet.pid) if title.startswith("query") else None,
    )
    draw_best_and_worst(visual, tmp_path)
    assert [sorted(queries[:3]), sorted(queries[3:])] == [[20, 21, 22]] * 2


def test_the_first_match_is_shown_however_far_down_it_is():
    matches = np.zeros(50, dtype=bool)
    assert pictures._places_to_show(matches) == list(range(8))
    matches[40] = True
    assert pictures._places_to_show(matches) == [0, 1, 2, 3, 4, 5, 6, 40]
    matches[3] = True
    assert pictures._places_to_show(matches) == list(range(8))
    assert pictures._places_to_show(np.array([False, True])) == [0, 1]
