"""Fixtures for the tests of the data check."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from datasets.check.check import check_dataset
from datasets.problems import BLOCKING, CHECKS, WARNING

CASE1 = "case1_aerial_to_ground"


@pytest.fixture
def check(tiny_cfg):
    """``check(root, *overrides, sample=0, num_workers=1)``: the report on a tree; any share of frames may be bad."""

    def run(root, *opts, sample=0, num_workers=1):
        cfg = tiny_cfg("DATASETS.ROOT_DIR", root, "DATALOADER.MAX_BAD_FRACTION", 1, *opts)
        return check_dataset(cfg, sample, num_workers)

    return run


@pytest.fixture
def frames_of():
    """``frames_of(root, tracklet=...)``: the paths of a tracklet's frames, sorted."""
    return lambda root, tracklet="train/1/c0n0": sorted((root / tracklet).iterdir())


@pytest.fixture
def found():
    """``found(report, *levels)``: the checks that found something; without levels, those that are more than remarks."""
    return lambda report, *levels: {
        check for check in report.problems.places if CHECKS[check].level in (levels or (BLOCKING, WARNING))
    }


def detreidx_name(camid, number, code=1, altitude=30):
    if camid == 0:
        return f"1_{number}.jpg"
    return f"1_01_02_2024_10_30_{altitude}_40_60_Field_{code}_-1_0_0_0_0_0_0_0_0_walk_outdoor_{camid}_{number}.jpg"


@pytest.fixture
def detreidx_tree(tmp_path):
    """Two training people and a test person, seen by a drone and from the ground; ``write`` adds tracklets."""
    rng = np.random.default_rng(0)

    def write(folder, camid, **options):
        path = tmp_path / folder
        path.mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / detreidx_name(camid, number, **options))
        return path

    for pid in (1, 2):
        write(f"train/{pid}/{pid}_a", 1, code=-1 if pid == 2 else 1)
        write(f"train/{pid}/{pid}_b", 0)
    for side, camid in (("query", 1), ("gallery", 0)):
        write(f"{CASE1}/{side}/3/3_{side}", camid)
    return SimpleNamespace(root=tmp_path, write=write, frame_name=detreidx_name)


@pytest.fixture
def check_detreidx(detreidx_tree, check):
    opts = ["DATASETS.NAMES", "detreidx", "SOLVER.STAGE2.IMS_PER_BATCH", 4, "TEST.MASK_ATTRIBUTES", "()"]
    return lambda *more: check(detreidx_tree.root, *opts, *more)
