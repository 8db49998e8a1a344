"""Unreadable frames are counted over all workers, listed, and too many of them stop training."""

from pathlib import Path

import pytest
import torch

from configs.load import LAST_CHECKPOINT
from datasets.build import make_dataset, train_cameras
from processor.build import build_memory, make_training_state
from processor.evaluation.bad_frames import BadFrames
from processor.training.train import train
from utils.pictures import UnreadableFrameError
from utils.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")


def batch(tracklets, unreadable):
    return {"tracklet": torch.tensor(tracklets), "unreadable": torch.tensor(unreadable)}


def test_replaced_frames_are_counted_and_listed(make_tracklet, caplog):
    tracklets = [make_tracklet(1, num_frames=4), make_tracklet(2, num_frames=4)]
    bad = BadFrames(tracklets, "epoch 3", 2, max_fraction=0.5)
    bad.add(batch([0, 1], [[-1, 3], [-1, 0]]))
    bad.add(batch([1, 1], [[0, -1], [-1, -1]]))
    bad.finish()
    assert (bad.num_replaced, bad.num_frames) == (3, 8)
    assert caplog.messages == [
        "epoch 3: 3 of 8 frames (37.50%) could not be read, and neighbours took their place:\n"
        "  1/a/3.jpg\n  2/a/0.jpg (2 times)"
    ]


def test_too_many_stop_as_soon_as_that_is_certain(make_tracklet):
    bad = BadFrames([make_tracklet(1, num_frames=9)], "epoch 1", num_batches=5, max_fraction=0.1)  # of 20 frames
    bad.add(batch([0], [[0, 1, -1, -1]]))
    with pytest.raises(UnreadableFrameError, match=r"epoch 1: 3 .* \(0\.1\) of 20\. First: 1/a/0\.jpg, 1/a/1"):
        bad.add(batch([0], [[-1, -1, 5, -1]]))


def test_batches_smaller_than_the_first_count_as_they_are(make_tracklet):
    bad = BadFrames([make_tracklet(1, num_frames=9)], "CLIP memory", num_batches=2, max_fraction=0.4)
    bad.add(batch([0, 0], [[0, -1], [1, -1]]))
    bad.add(batch([0], [[2, -1]]))  # 3 of 6 frames; 3 of 8 would have passed
    with pytest.raises(UnreadableFrameError, match=r"0\.4\) of 6\."):
        bad.finish()


def break_frames(root, pattern):
    paths = sorted(Path(root).glob(pattern))
    for path in paths:
        path.write_bytes(path.read_bytes()[:100])
    return list(map(str, paths))


def test_too_many_bad_frames_stop_training_and_leave_the_last_checkpoint(make_tree, set_up, tmp_path):
    root = make_tree()
    parts = set_up("DATALOADER.NUM_WORKERS", 2, root=root)
    parts.state.save(tmp_path / LAST_CHECKPOINT)
    break_frames(root, "train/1/*/*[1-4].jpg")
    with pytest.raises(UnreadableFrameError, match=r"epoch 1: .*DATALOADER\.MAX_BAD_FRACTION \(0\.01\)"):
        train(parts.state, parts.loader, parts.augment, tmp_path, lambda model: 0.0)
    assert (tmp_path / LAST_CHECKPOINT).is_file()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_bad_copy_stops_clip_memory_and_is_listed_by_evaluation(make_tree, tiny_cfg, run_evaluation, caplog):
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree(), "DATALOADER.MAX_BAD_FRACTION", 0.0)
    dataset = make_dataset(cfg)
    model = make_training_state(cfg, dataset, RUNTIME).model
    break_frames(cfg.DATASETS.ROOT_DIR, "train/1/*/*F1.jpg")
    with pytest.raises(UnreadableFrameError, match=r"CLIP memory: .*DATALOADER\.MAX_BAD_FRACTION"):
        build_memory(cfg, dataset, model, RUNTIME)
    caplog.clear()
    broken = break_frames(cfg.DATASETS.ROOT_DIR, "case1_*/query/*/*n0/*F100.jpg")
    run_evaluation(cfg, model, list(dataset.cases.values()), train_cameras(dataset.train))
    (message,) = [text for text in caplog.messages if "could not be read, and" in text]
    assert message.startswith("aerial to ground: query: 3 of 24 frames")
    assert [line.strip() for line in message.splitlines()[1:]] == broken
