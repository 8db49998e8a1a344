import pytest

from configs import get_cfg


def test_both_views_need_two_tracklets():
    opts = ["DATALOADER.BOTH_VIEWS", "True", "SOLVER.STAGE2.IMS_PER_BATCH", "4", "DATALOADER.NUM_INSTANCE"]
    assert get_cfg(None, [*opts, "2"]).DATALOADER.BOTH_VIEWS
    with pytest.raises(ValueError, match=r"DATALOADER\.BOTH_VIEWS needs .* at least 2, got 1"):
        get_cfg(None, [*opts, "1"])


def test_balance_is_off_as_published():
    cfg = get_cfg()
    assert not cfg.DATALOADER.BOTH_VIEWS
    assert not cfg.DATALOADER.BALANCE_ALTITUDES


def test_one_clip_of_a_tracklet_as_published():
    assert get_cfg().TEST.NUM_CLIPS == 1
    with pytest.raises(ValueError, match=r"TEST\.NUM_CLIPS must lie between 1 and 1,000, got 0"):
        get_cfg(None, ["TEST.NUM_CLIPS", "0"])


def test_augmentation_is_off_as_published():
    cfg = get_cfg()
    assert (cfg.INPUT.CROP_PADDING, cfg.INPUT.COLOR_JITTER, cfg.INPUT.CONSISTENT_AUGMENTATION) == (0, 0.0, False)


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (["INPUT.CROP_PADDING", "-1"], r"INPUT\.CROP_PADDING must lie between 0 and 4,095, got -1"),
        (
            ["INPUT.CROP_PADDING", "144"],
            r"INPUT\.CROP_PADDING .* shorter side of INPUT\.SIZE_TRAIN \(288, 144\), got 144",
        ),
        (["INPUT.COLOR_JITTER", "1.5"], r"INPUT\.COLOR_JITTER must lie between 0 and 1, got 1\.5"),
    ],
)
def test_bad_augmentation(opts, message):
    with pytest.raises(ValueError, match=message):
        get_cfg(None, opts)


def test_padding_of_a_published_yaml_does_not_crop(tmp_path, caplog):
    path = tmp_path / "published.yml"
    path.write_text("INPUT:\n  PADDING: 10\n  SAMPLING: dense\n")
    assert get_cfg(path).INPUT.CROP_PADDING == 0
    (record,) = caplog.records
    assert "INPUT.PADDING" in record.getMessage()
