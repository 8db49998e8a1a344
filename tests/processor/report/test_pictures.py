"""Pictures of the best and the worst ranked queries."""

from dataclasses import replace

import numpy as np
from PIL import Image

from processor.report.pictures import draw_best_and_worst


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
