from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from configs import get_cfg
from datasets import build
from datasets.build import (
    choose_cases,
    make_dataset,
    make_memory_loader,
    make_test_loader,
    make_test_transform,
    make_train_loader,
    make_train_transform,
    train_cameras,
)
from processor.evaluation.features import FeatureExtractor
from utils.mistake import Mistake
from utils.processes import Processes
from utils.runtime import make_runtime

CASES = {"case1_aerial_to_ground": (5, 1), "case2_ground_to_aerial": (1, 5)}


def add_tracklet(root, folder, camid, num_frames, value):
    path = Path(root, folder)
    path.mkdir(parents=True)
    for frame in range(num_frames):
        name = f"P1T2310171A2C{camid}E1K1F{frame}.png"
        Image.new("RGB", (4, 8), (value, frame, 0)).save(path / name)


@pytest.fixture
def cfg(tmp_path):
    for pid in (3, 10, 12):
        for number, camid in enumerate((0, 5, 5)):
            add_tracklet(tmp_path, f"train/{pid}/{number}", camid, 5 + number, value=pid)
    for case, (query, gallery) in CASES.items():
        for pid in (20, 21):
            add_tracklet(tmp_path, f"{case}/query/{pid}/q", query, 3, value=pid)
            add_tracklet(tmp_path, f"{case}/gallery/{pid}/g", gallery, 3, value=pid)
    cfg = get_cfg()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    cfg.INPUT.SIZE_TRAIN, cfg.INPUT.SIZE_TEST, cfg.INPUT.SEQ_LEN = (8, 4), (6, 2), 4
    cfg.DATASETS.ROOT_DIR = str(tmp_path)
    cfg.DATALOADER.NUM_INSTANCE, cfg.DATALOADER.NUM_WORKERS = 2, 0
    cfg.SOLVER.STAGE2.IMS_PER_BATCH, cfg.TEST.IMS_PER_BATCH = 4, 3
    return cfg


def test_train_batches(cfg):
    dataset = make_dataset(cfg)
    loader = make_train_loader(cfg, dataset)
    batches = list(loader)
    assert len(batches) == len(loader)
    labels = {3: 0, 10: 1, 12: 2}
    for batch in batches:
        assert batch["clips"].shape == (4, 4, 3, 8, 4)
        assert batch["clips"].dtype == torch.uint8
        assert torch.unique(batch["label"], return_counts=True)[1].tolist() == [2, 2]
        for clip, label, camid, number in zip(
            *(batch[key] for key in ("clips", "label", "camid", "tracklet")), strict=False
        ):
            tracklet = dataset.train[number]
            assert labels[tracklet.pid] == label
            assert {0: 0, 5: 1}[tracklet.camid] == camid
            assert (clip[:, 0] == tracklet.pid).all()  # the pixels of that person


@pytest.mark.parametrize("num_workers", [0, 1])
def test_epoch_reaches_the_frames(cfg, num_workers):
    cfg.DATALOADER.NUM_WORKERS = num_workers
    loader = make_train_loader(cfg, make_dataset(cfg))
    epochs = []
    for epoch in (0, 1, 0):
        loader.batch_sampler.set_epoch(epoch)
        epochs.append(torch.cat([batch["clips"] for batch in loader]))
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])


def test_processes_load_slices_of_the_same_batches(cfg):
    dataset = make_dataset(cfg)
    whole = list(make_train_loader(cfg, dataset))
    slices = [list(make_train_loader(cfg, dataset, Processes(rank, 2))) for rank in (0, 1)]
    assert [len(parts) for parts in slices] == [len(whole)] * 2
    for batch, *parts in zip(whole, *slices, strict=True):
        for key, values in batch.items():
            assert torch.equal(torch.cat([part[key] for part in parts]), values)


@pytest.mark.parametrize("world_size", [2, 3, 20])
def test_processes_share_the_tracklets_of_memory_and_test(cfg, world_size):
    dataset = make_dataset(cfg)
    launches = [Processes(rank, world_size) for rank in range(world_size)]
    cfg.TEST.NUM_CLIPS = 2
    for make_loader in (
        lambda processes: make_memory_loader(cfg, dataset, processes),
        lambda processes: make_test_loader(cfg, dataset.train, processes=processes),
    ):
        shares = [[int(n) for batch in make_loader(launch) for n in batch["tracklet"]] for launch in launches]
        assert sum(shares, []) == [number for number in range(9) for _ in range(2)]  # all, in order, no padding
        assert all(share.count(number) == 2 for share in shares for number in share)  # whole tracklets
        assert max(map(len, shares)) - min(map(len, shares)) <= 2


def test_views_and_altitudes_reach_the_sampler(cfg):
    cfg.DATALOADER.BOTH_VIEWS = True
    dataset = make_dataset(cfg)
    sampler = make_train_loader(cfg, dataset).batch_sampler
    assert (sampler.balance_altitudes, sampler.both_views) == (False, True)
    for batch in sampler:
        views = sorted((dataset.train[draw.item].pid, dataset.train[draw.item].view) for draw in batch)
        assert [view for _, view in views] == ["aerial", "ground"] * 2
    cfg.DATALOADER.BOTH_VIEWS, cfg.DATALOADER.BALANCE_ALTITUDES = False, True
    sampler = make_train_loader(cfg, dataset).batch_sampler
    assert (sampler.balance_altitudes, sampler.both_views) == (True, False)


def test_memory_loader_gives_every_frame_once_in_order(cfg):
    dataset = make_dataset(cfg)
    batches = list(make_memory_loader(cfg, dataset))
    assert [len(batch["label"]) for batch in batches] == [3] * 6  # 9 tracklets of 5 to 7 frames: 2 clips each
    numbers = torch.cat([batch["tracklet"] for batch in batches])
    assert numbers.tolist() == [number for number in range(9) for _ in range(2)]
    assert torch.cat([batch["label"] for batch in batches]).tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert batches[0]["clips"][:2, :, 1, 0, 0].tolist() == [[0, 1, 2, 3], [4, 4, 4, 4]]


def test_test_loader_keeps_order_and_size(cfg):
    dataset = make_dataset(cfg)
    case = dataset.cases["case1"]
    (batch,) = make_test_loader(cfg, case.query, {1: 0, 5: 1})
    assert batch["clips"].shape == (2, 4, 3, 6, 2)
    assert batch["clips"][:, 0, 0, 0, 0].tolist() == [20, 21]
    assert batch["camid"].tolist() == [1, 1]
    assert batch["tracklet"].tolist() == [0, 1]
    (batch,) = make_test_loader(cfg, case.gallery, train_cameras(dataset.train))
    assert batch["camid"].tolist() == [-1, -1]  # camera 1 took no training tracklet


def test_features_are_averaged_over_test_clips(cfg):
    # What stands for the model gives the mean of the green channel: the mean number of the frames taken.
    cfg.TEST.NUM_CLIPS = 2
    dataset = make_dataset(cfg)
    loader = make_test_loader(cfg, dataset.train)
    extractor = FeatureExtractor(nn.Module(), torch.Tensor.float, make_runtime("cpu", "fp32"))
    mean_green = lambda clips, camids: clips[:, :, 1].mean(dim=(1, 2, 3)).unsqueeze(1)  # noqa: E731
    features = extractor.average_over_tracklets(mean_green, loader, dataset.train, "test").features
    # 5 to 7 frames in segments of two: the first of each, then the second; the last frame fills up.
    expected = [sum(min(place, last) for place in range(8)) / 8 for last in (4, 5, 6)]
    assert features.squeeze(1).tolist() == expected * 3


def test_cases_are_chosen_by_name(cfg):
    dataset = make_dataset(cfg)
    cfg.DATASETS.EVAL_CASE = "all"
    assert choose_cases(cfg, dataset) == list(dataset.cases.values())
    cfg.DATASETS.EVAL_CASE = "case2"
    assert choose_cases(cfg, dataset) == [dataset.cases["case2"]]
    cfg.DATASETS.EVAL_CASE = "case3"
    with pytest.raises(ValueError, match=r"DATASETS\.EVAL_CASE is case3, but .* holds only case1, case2"):
        choose_cases(cfg, dataset)
    cfg.DATASETS.EVAL_CASE, cfg.DATASETS.EVAL_SPLIT, cfg.TEST.PROTOCOL = "case1", "validation", "all-cameras"
    with pytest.raises(ValueError, match=r"EVAL_SPLIT is validation, but .* DATASETS\.VALIDATION_FRACTION"):
        choose_cases(cfg, dataset)
    assert {case.protocol for case in dataset.cases.values()} == {"cross-camera"}
    assert {case.protocol for case in make_dataset(cfg).cases.values()} == {"all-cameras"}


def test_transforms_are_the_configs(cfg):
    cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD = (0.0, 0.5, 1.0), (1.0, 0.5, 0.25)
    clips = torch.full((2, 4, 3, 8, 4), 255, dtype=torch.uint8)
    assert make_test_transform(cfg)(clips)[0, 0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]
    cfg.INPUT.PROB, cfg.INPUT.RE_PROB, cfg.INPUT.CROP_PADDING, cfg.INPUT.COLOR_JITTER = 0.25, 0.75, 3, 0.1
    cfg.INPUT.CONSISTENT_AUGMENTATION = True
    augment = make_train_transform(cfg)
    assert (augment.flip_probability, augment.erase_probability, augment.padding) == (0.25, 0.75, 3)
    assert (augment.color_jitter, augment.consistent) == (0.1, True)
    assert augment.normalize(clips)[0, 0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("from_file", [False, True])
def test_validation_people_are_not_trained_on_and_can_be_evaluated(make_tree, tiny_cfg, tmp_path, from_file):
    (tmp_path / "pids.txt").write_text("4\n9\n")
    held = ("PIDS", tmp_path / "pids.txt") if from_file else ("FRACTION", 0.5)
    opts = ["DATASETS.ROOT_DIR", make_tree(masked=True), f"DATASETS.VALIDATION_{held[0]}", held[1]]
    dataset = make_dataset(tiny_cfg(*opts))
    pids = {tracklet.pid for tracklet in dataset.validation["case1"].query}
    assert len(pids) == 2
    assert not from_file or pids == {4, 9}
    trained = {tracklet.pid for tracklet in dataset.train}
    assert trained | pids == {1, 4, 6, 9}
    assert not trained & pids
    assert make_train_loader(tiny_cfg(*opts), dataset).dataset.labels.keys() == trained
    cfg = tiny_cfg(*opts, "DATASETS.EVAL_SPLIT", "validation", "DATASETS.EVAL_CASE", "all")
    cases = choose_cases(cfg, make_dataset(cfg, with_train=False))
    assert cases == list(dataset.validation.values())
    assert [case.name for case in cases] == ["validation_case1_aerial_to_ground", "validation_case2_ground_to_aerial"]
    assert all(case.identities_masked for case in choose_cases(tiny_cfg(*opts), dataset))


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [(24, 24, None), (24, 4096, 96), (96, 96, 96), (24, -1, 96), (-1, -1, -1), (4096, -1, 4096)],
)
def test_loaders_raise_the_limit_of_open_files_or_name_it(soft, hard, raised, tiny_cfg, monkeypatch):
    resource = pytest.importorskip("resource")
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: limits.append(pair))
    build._loader_options(tiny_cfg("DATALOADER.NUM_WORKERS", 0))
    assert len(limits) == 1
    if raised is None:
        with pytest.raises(
            Mistake, match=r"may open 24 files here \(ulimit -n\), and DATALOADER.NUM_WORKERS needs about 96"
        ):
            build._loader_options(tiny_cfg("DATALOADER.NUM_WORKERS", 2))
    else:
        build._loader_options(tiny_cfg("DATALOADER.NUM_WORKERS", 2))
        assert limits[-1] == (raised, hard)
