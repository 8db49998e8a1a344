"""Measure the speed of the full-size model: one training step, and feature extraction with flips.

    python -m benchmarks.full_model                         the winner's recipe, K = 689, on the GPU if there is one
    python -m benchmarks.full_model --train_batch 2 --test_batch 2 MODEL.DEVICE cpu

Weights and frames are random, so no data set and no CLIP file is needed. Each line shows the frames per second, the
peak memory (allocated on the GPU, or of the whole process on the CPU) and the rate of floating-point operations as a
share of the rate of a large matrix product in the same run.
"""

import argparse
import logging
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch

from configs import get_cfg
from datasets.clips.transforms import Augmenter, Normalizer, flip_clips
from loss import make_loss
from model import make_model
from processor.plan import DatasetSize, count_feature_flops, count_training_flops
from processor.state import TrainingState
from processor.train import compute_losses, update_weights
from solver import make_optimizer, make_schedule
from utils.arguments import at_least
from utils.runtime import Runtime, make_runtime, run_command

logger = logging.getLogger(__name__)

NUM_CLASSES = 689  # training identities of AG-VPReID 2025
NUM_CAMERAS = 6
NUM_INSTANCES = 2  # clips of each identity; the cost of a step does not depend on it
MATRIX_SIDE = 4096


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished, so that a clock measures its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_calls(function: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median seconds of one call, after one warm-up call."""
    function()
    seconds = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure_matrix_rate(runtime: Runtime, repeats: int) -> float:
    """Return the floating-point operations per second of a large square matrix product in the run's precision."""
    dtype = runtime.dtype or torch.float32
    a, b = (torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=runtime.device).to(dtype) for _ in range(2))
    return 2 * MATRIX_SIDE**3 / time_calls(lambda: torch.mm(a, b), runtime.device, repeats)


def peak_memory(device: torch.device) -> float:
    """Return the peak memory in GiB: allocated on the GPU, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report(
    name: str, step: Callable[[], None], num_frames: int, flops: int, rate: float, runtime: Runtime, repeats: int
) -> dict[str, float]:
    """Time a step of ``flops`` operations and log its line; returns the logged figures."""
    if runtime.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(runtime.device)
    seconds = time_calls(step, runtime.device, repeats)
    result = {
        "frames_per_second": num_frames / seconds,
        "peak_memory_gib": peak_memory(runtime.device),
        "share_of_matrix_rate": flops / seconds / rate,
    }
    logger.info(
        "%-18s %4d frames  %8.3f s  %8.1f frames/s  peak %6.2f GiB  %5.1f TFLOP  %4.0f %% of the matrix-product rate",
        name,
        num_frames,
        seconds,
        result["frames_per_second"],
        result["peak_memory_gib"],
        flops / 1e12,
        100 * result["share_of_matrix_rate"],
    )
    return result


def run(argv: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure both steps; returns the logged figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config_file", default="configs/xtfclip_vit_b16_288x144.yml")
    parser.add_argument("--train_batch", type=at_least(2), default=18, help="clips in a training step, even")
    parser.add_argument("--test_batch", type=at_least(1), default=32, help="clips in a test batch, each also flipped")
    parser.add_argument("--repeats", type=at_least(1), default=5, help="timed repeats; the median is reported")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    cfg = get_cfg(args.config_file, [*args.opts, "MODEL.PRETRAINED", "False"])
    runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
    device = runtime.device
    torch.manual_seed(cfg.SOLVER.SEED)
    model = make_model(cfg, NUM_CLASSES, NUM_CAMERAS).to(device)
    criterion = make_loss(cfg, NUM_CLASSES).to(device)
    optimizer = make_optimizer(cfg, model)
    state = TrainingState(
        model,
        criterion,
        optimizer,
        make_schedule(cfg, optimizer),
        runtime.make_scaler(),
        memory=torch.randn(NUM_CLASSES, model.encoder.projected_width, device=device),
        pids=list(range(NUM_CLASSES)),
        camids=list(range(NUM_CAMERAS)),
    )
    shape = (cfg.INPUT.SEQ_LEN, 3, *cfg.INPUT.SIZE_TRAIN)
    train_clips = torch.randint(256, (args.train_batch, *shape), dtype=torch.uint8, device=device)
    test_clips = torch.randint(256, (args.test_batch, *shape), dtype=torch.uint8, device=device)
    labels = torch.arange(args.train_batch, device=device) // NUM_INSTANCES
    augment = Augmenter(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)
    transform = Normalizer(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)
    generator = torch.Generator().manual_seed(0)

    def train_step() -> None:
        clips = augment(train_clips, generator)
        terms, _ = compute_losses(state, clips, labels % NUM_CAMERAS, labels, runtime)
        update_weights(state, terms["total"])

    @torch.inference_mode()
    def extract_step() -> None:
        clips = transform(test_clips)
        with runtime.autocast():
            model(torch.cat([clips, flip_clips(clips)]))

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    rate = measure_matrix_rate(runtime, args.repeats)
    logger.info(
        "%s, %s, torch %s: matrix product %.2f TFLOP/s",
        name,
        runtime.dtype or torch.float32,
        torch.__version__,
        rate / 1e12,
    )
    # Extraction comes first: on the CPU the peak is that of the process, which never falls, and training needs more.
    model.eval()
    test_frames = 2 * args.test_batch * cfg.INPUT.SEQ_LEN
    size = DatasetSize(NUM_CLASSES, 0, NUM_CAMERAS)
    flops = count_feature_flops(cfg, 2 * args.test_batch, size)
    extraction = report("feature extraction", extract_step, test_frames, flops, rate, runtime, args.repeats)
    model.train()
    train_frames = args.train_batch * cfg.INPUT.SEQ_LEN
    _, flops = count_training_flops(cfg, args.train_batch, size)
    step = report("training step", train_step, train_frames, flops, rate, runtime, args.repeats)
    return {"training": step, "extraction": extraction}


def main() -> None:
    """Measure with the options of the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run()


if __name__ == "__main__":
    sys.exit(run_command(main))
