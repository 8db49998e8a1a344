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
    with pytest.raises(ValueError, match=r"TEST\.NUM_CLIPS must be positive, got 0"):
        get_cfg(None, ["TEST.NUM_CLIPS", "0"])
