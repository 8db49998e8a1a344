"""A training step and an evaluation step of the full-size networks on fake CUDA tensors: no CUDA device is needed.

Fake tensors have a device but no data. A tensor that was left on the CPU is an error here, as it is on CUDA, and so is
every wait for the device (``item``, ``tolist``, ``nonzero``, boolean indexing), because a fake tensor has no value.

The backward pass cannot run: torch's engine asks the CUDA driver for the device. It runs on fake CPU tensors instead,
and the update (unscaling, centralisation, fused Adam) on fake CUDA tensors again, with gradients put there by hand.
"""

import pytest
import torch

from configs import get_cfg
from processor.build import make_extractor
from processor.estimate import DatasetSize, fake_training
from solver import centralize_gradients, make_optimizer
from utils.runtime import Runtime

CONFIGS = ["configs/xtfclip_vit_b16_288x144.yml", "configs/tfclip_vit_b16_256x128.yml"]
SIZE = DatasetSize(num_identities=689, num_tracklets=3300, num_cameras=6)
BATCH_SIZE = 18
CUDA = torch.device("cuda", 0)
RUNTIME = Runtime(CUDA, torch.float16)


@pytest.fixture(autouse=True)
def _pretend_cuda(monkeypatch):
    """Without a CUDA device torch switches autocast and the scaler off, and pins no memory."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)


@pytest.fixture(params=CONFIGS)
def cfg(request):
    return get_cfg(request.param, ["INPUT.CROP_PADDING", "10", "INPUT.COLOR_JITTER", "0.2"])


def test_forward_and_losses_of_a_training_step(cfg):
    with fake_training(cfg, RUNTIME, BATCH_SIZE, SIZE) as training:
        clips = training.augment(training.clips, torch.Generator())
        with RUNTIME.autocast():
            output = training.model(clips, training.labels, memory=training.memory)
            terms = training.criterion(output, training.labels)
        held = *training.model.parameters(), *training.model.buffers(), *training.criterion.buffers()
        assert {tensor.device for tensor in (*held, clips, *terms.values())} == {CUDA}
        assert output.id_logits[0].dtype == torch.float16  # autocast is on
        assert output.id_logits[0].shape == (BATCH_SIZE, SIZE.num_identities)
        assert {term.dtype for term in terms.values()} == {torch.float32}


def test_the_update_waits_for_nothing(cfg):
    with fake_training(cfg, RUNTIME, BATCH_SIZE, SIZE) as training:
        optimizer, scaler = make_optimizer(cfg, training.model), RUNTIME.make_scaler()
        assert scaler.is_enabled()
        assert optimizer.param_groups[0]["fused"]
        scaler.scale(torch.zeros((), device=CUDA))
        for parameter in training.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        scaler.unscale_(optimizer)
        centralize_gradients(training.model.parameters())
        scaler.step(optimizer)
        scaler.update()
        states = [value for state in optimizer.state.values() for value in state.values()]
        assert {value.device for value in states} == {CUDA}


def test_backward_on_fake_cpu_tensors(cfg):
    runtime = Runtime(torch.device("cpu"), torch.float16)
    with fake_training(cfg, runtime, BATCH_SIZE, SIZE) as training:
        training.compute_loss().backward()
        for name, parameter in training.model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name


def test_features_with_mirror_images(cfg):
    cfg = cfg.clone()
    cfg.defrost()
    cfg.TEST.FLIP = True
    with fake_training(cfg, RUNTIME, BATCH_SIZE, SIZE) as training:
        clips = torch.zeros(BATCH_SIZE, cfg.INPUT.SEQ_LEN, 3, *cfg.INPUT.SIZE_TEST, dtype=torch.uint8, device="cuda")
        extractor = make_extractor(cfg, training.model.eval(), RUNTIME)
        with RUNTIME.autocast(), torch.inference_mode():
            camids = torch.zeros(BATCH_SIZE, dtype=torch.int64, device="cuda")
            features = extractor.describe(extractor.transform(clips), camids)
        encoder = training.model.encoder
    assert features.shape == (BATCH_SIZE, 2 * encoder.width + encoder.projected_width)
    assert features.device.type == "cuda"


def test_a_tensor_left_on_the_cpu_is_an_error():
    with fake_training(get_cfg(CONFIGS[0]), RUNTIME, BATCH_SIZE, SIZE) as training:
        smoothing = training.criterion.clip_classification
        smoothing.soft_labels = torch.empty_like(smoothing.soft_labels, device="cpu")
        with pytest.raises(RuntimeError, match="cpu and cuda:0"):
            training.compute_loss()
