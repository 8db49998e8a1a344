"""CLIP memory against a slow reference."""

import torch

from datasets.build import make_dataset, make_memory_loader
from datasets.clips.transforms import Normalizer
from model import make_model
from processor.build import build_memory
from processor.training.train import train
from utils.runtime import make_runtime


def test_memory_averages_clips_then_tracklets_and_ignores_cameras(make_tree, tiny_cfg):
    """One tracklet has 2 frames, the others 6, which make 2 clips of 4: a mean over clips would be another one."""
    root = make_tree(train=(8, 3), num_frames=6)
    for frame in sorted((root / "train/3/c0n0").iterdir())[2:]:
        frame.unlink()
    cfg = tiny_cfg("DATASETS.ROOT_DIR", root, "TEST.IMS_PER_BATCH", 3)
    dataset = make_dataset(cfg)
    model = make_model(cfg, 2, 2).train()
    with torch.no_grad():
        model.encoder.camera_embedding.normal_()
        model.encoder.frame_embedding.normal_()
    memory = build_memory(cfg, dataset, model, make_runtime("cpu", "fp32"))
    assert memory.dtype == torch.float32
    assert model.training
    model.eval()
    transform = Normalizer(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)
    by_pid = {3: {}, 8: {}}
    with torch.no_grad():
        for item in make_memory_loader(cfg, dataset).dataset:
            tokens = model.encoder.encode_frames(transform(item["clips"].unsqueeze(0))[0])
            feature = model.encoder.project(tokens[:, 0]).mean(dim=0)
            tracklet = dataset.train[item["tracklet"]]
            by_pid[tracklet.pid].setdefault(tracklet.key, []).append(feature)
    assert sorted(len(clips) for clips in by_pid[3].values()) == [1, 2, 2, 2]
    for label, pid in enumerate(by_pid):
        means = [torch.stack(clips).mean(dim=0) for clips in by_pid[pid].values()]
        torch.testing.assert_close(memory[label], torch.stack(means).mean(dim=0))


def test_proxies_begin_every_epoch_at_the_people_as_the_network_sees_them_then(set_up, monkeypatch):
    """One clip stands for a tracklet: 4 of its 6 frames."""
    parts = set_up("LOSS.MEMORY", "proxies", "SOLVER.STAGE2.MAX_EPOCHS", 3)
    state, proxies = parts.state, parts.state.criterion.proxies
    frames, begun, followed = [], [], []
    rebuild, encode = proxies.rebuild, state.model.encode_memory

    def remember(memory):
        followed.append(proxies.proxies.clone())
        rebuild(memory)
        begun.append((proxies.proxies.clone(), build_memory(parts.cfg, parts.dataset, state.model, parts.runtime)))

    def count(clips):
        frames.append(clips.shape[:2].numel())
        return encode(clips)

    monkeypatch.setattr(proxies, "rebuild", remember)
    train(state, parts.loader, parts.augment, parts.output, lambda model: 0.0)
    assert len(begun) == 3
    for (mean, hardest), memory in begun:
        assert torch.equal(mean, hardest)
        assert torch.nn.functional.cosine_similarity(mean, memory).min() > 0.99
    assert not torch.allclose(begun[0][0], begun[1][0])  # the network learned
    assert not torch.equal(*followed[1])  # mean and hardest followed it
    monkeypatch.setattr(state.model, "encode_memory", count)
    state.describe_people()
    assert sum(frames) == 4 * len(parts.dataset.train)
