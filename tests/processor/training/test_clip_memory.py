"""CLIP memory by hand."""

import pytest
import torch
from torch import nn

from datasets.build import make_dataset, make_memory_loader
from datasets.clips.transforms import Normalizer
from model import make_model
from processor.evaluation.features import FeatureExtractor
from processor.training.clip_memory import build_memory
from utils.runtime import make_runtime

PLAIN = Normalizer((0.0,), (1.0,))
RUNTIME = make_runtime("cpu", "fp32")


class FrameMean(nn.Module):
    """Encodes a clip by the mean of its pixels, as the real one averages over frames."""

    def encode_memory(self, clips):
        assert not self.training
        mean = clips.mean(dim=(1, 2, 3, 4))
        return torch.stack([mean, -mean], dim=1)


def extractor():
    return FeatureExtractor(FrameMean(), PLAIN, RUNTIME)


def loader_of(*items):
    """Batches of two from (tracklet, frame values) items; clips are (T, 1, 1, 1)."""
    batches = []
    for start in range(0, len(items), 2):
        part = items[start : start + 2]
        batches.append(
            {
                "clips": torch.tensor([frames for _, frames in part], dtype=torch.uint8).reshape(
                    len(part), -1, 1, 1, 1
                ),
                "tracklet": torch.tensor([tracklet for tracklet, _ in part]),
                "camid": torch.full((len(part),), 3),
                "unreadable": torch.full((len(part), 2), -1),
            }
        )
    return batches


@pytest.fixture
def tracklets(make_tracklet):
    """Identities 12, 5 and 12: labels 1, 0, 1."""
    return [make_tracklet(12, name="long"), make_tracklet(5), make_tracklet(12, name="short")]


ITEMS = ((0, (0, 102)), (0, (51, 51)), (0, (51, 51)), (1, (255, 255)), (2, (204, 204)))


def test_memory_averages_frames_then_clips_then_tracklets(tracklets):
    model = FrameMean().train()
    memory = build_memory(FeatureExtractor(model, PLAIN, RUNTIME), loader_of(*ITEMS), tracklets)
    # Identity 12: three clips of 0.2 and one of 0.8; a mean over clips would be biased to 0.35.
    torch.testing.assert_close(memory, torch.tensor([[1.0, -1.0], [0.5, -0.5]]))
    assert memory.dtype == torch.float32
    assert model.training


def test_memory_of_files_ignores_cameras_and_equals_a_slow_reference(make_tree, tiny_cfg):
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree(train=(3, 8), num_frames=6), "TEST.IMS_PER_BATCH", 3)
    dataset = make_dataset(cfg)
    model = make_model(cfg, 2, 2)
    with torch.no_grad():
        model.encoder.camera_embedding.normal_()
        model.encoder.frame_embedding.normal_()
    transform = Normalizer(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)
    loader = make_memory_loader(cfg, dataset)
    memory = build_memory(FeatureExtractor(model, transform, RUNTIME), loader, dataset.train)
    model.eval()
    by_pid = {3: {}, 8: {}}
    with torch.no_grad():
        for item in loader.dataset:
            tokens = model.encoder.encode_frames(transform(item["clips"].unsqueeze(0))[0])
            feature = model.encoder.project(tokens[:, 0]).mean(dim=0)
            tracklet = dataset.train[item["tracklet"]]
            by_pid[tracklet.pid].setdefault(tracklet.key, []).append(feature)
    for label, pid in enumerate(by_pid):
        assert [len(clips) for clips in by_pid[pid].values()] == [2] * 4  # 6 frames make 2 clips of 4
        means = [torch.stack(clips).mean(dim=0) for clips in by_pid[pid].values()]
        torch.testing.assert_close(memory[label], torch.stack(means).mean(dim=0))
