"""Measure the speed of the full-size model: one training step, and feature extraction with flips.

    python -m benchmarks.full_model                         the winner's recipe, K = 689, on the GPU if there is one
    python -m benchmarks.full_model --train_batch 2 --test_batch 2 MODEL.DEVICE cpu
    python -m benchmarks.full_model --vs_plain --train_batch 4 --test_batch 4 MODEL.DEVICE cpu SOLVER.PRECISION fp32

Weights and frames are random, so no data set and no CLIP file is needed. Each line shows the frames per second, the
peak memory (allocated on the GPU, or of the whole process on the CPU) and the rate of floating-point operations as a
share of the rate of a large matrix product in the same run. ``--vs_plain`` times our steps and those of
``benchmarks.plain_model`` in turns; each peak is then that of a process of its own.
"""

import argparse
import logging
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from torch import Tensor
from yacs.config import CfgNode

from benchmarks.plain_model import PATCH, PlainModel, initial_soft_labels
from configs import get_cfg
from datasets.clips.transforms import Augmenter, Normalizer, flip_clips
from loss import make_loss
from model import make_model
from processor.estimate import DatasetSize, count_feature_flops, measure_step
from processor.training.state import TrainingState
from processor.training.train import add_gradients, compute_losses, update_weights
from solver import make_optimizer, make_schedule
from utils.arguments import at_least
from utils.commands import run_command
from utils.matrix_rate import measure_matrix_rate, wait_for
from utils.mistake import Mistake
from utils.runtime import Runtime, make_runtime

logger = logging.getLogger(__name__)

NUM_CLASSES = 689  # training identities of AG-VPReID 2025
NUM_CAMERAS = 6
NUM_INSTANCES = 2  # clips of each identity; the cost of a step does not depend on it


def time_calls(function: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median seconds of one call, after one warm-up call."""
    function()
    return statistics.median(time_once(function, device) for _ in range(repeats))


def time_once(function: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call."""
    wait_for(device)
    start = time.perf_counter()
    function()
    wait_for(device)
    return time.perf_counter() - start


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


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, CfgNode]:
    """Read the command line and the configuration that it names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config_file", default="configs/xtfclip_vit_b16_288x144.yml")
    parser.add_argument("--train_batch", type=at_least(2), default=18, help="clips in a training step, even")
    parser.add_argument("--test_batch", type=at_least(1), default=32, help="clips in a test batch, each also flipped")
    parser.add_argument("--repeats", type=at_least(1), default=5, help="timed repeats; the median is reported")
    parser.add_argument("--vs_plain", action="store_true", help="compare with the plain network, in turns")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    return args, get_cfg(args.config_file, [*args.opts, "MODEL.PRETRAINED", "False"])


@dataclass(frozen=True)
class Steps:
    """One training step and one batch of feature extraction of a network."""

    train: Callable[[], None]
    extract: Callable[[], None]


@dataclass(frozen=True)
class Batches:
    """Random frames and labels in the shapes that a configuration names.

    Attributes:
        train_clips, test_clips: (B, T, C, H, W), uint8.
        labels, camids: (B,), of the training clips.
        memory: CLIP memory (K, P).
    """

    train_clips: Tensor
    test_clips: Tensor
    labels: Tensor
    camids: Tensor
    memory: Tensor


def make_batches(cfg: CfgNode, args: argparse.Namespace, width: int, device: torch.device) -> Batches:
    """Draw the batches; ``width`` is the projected width P."""
    shape = (cfg.INPUT.SEQ_LEN, 3, *cfg.INPUT.SIZE_TRAIN)
    labels = torch.arange(args.train_batch, device=device) // NUM_INSTANCES
    return Batches(
        torch.randint(256, (args.train_batch, *shape), dtype=torch.uint8, device=device),
        torch.randint(256, (args.test_batch, *shape), dtype=torch.uint8, device=device),
        labels,
        labels % NUM_CAMERAS,
        torch.randn(NUM_CLASSES, width, device=device),
    )


def make_steps(cfg: CfgNode, args: argparse.Namespace, runtime: Runtime) -> Steps:
    """Build our network and the steps that training and evaluation take with it."""
    device = runtime.device
    model = make_model(cfg, NUM_CLASSES, NUM_CAMERAS).to(device)
    criterion = make_loss(cfg, NUM_CLASSES).to(device)
    optimizer = make_optimizer(cfg, model)
    batches = make_batches(cfg, args, model.encoder.projected_width, device)
    state = TrainingState(
        model,
        criterion,
        optimizer,
        make_schedule(cfg, optimizer),
        runtime,
        memory=batches.memory,
        pids=list(range(NUM_CLASSES)),
        camids=list(range(NUM_CAMERAS)),
    )
    augment = Augmenter(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)
    transform = Normalizer(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)
    generator = torch.Generator().manual_seed(0)

    def train_step() -> None:
        model.train()
        clips = augment(batches.train_clips, generator)
        terms = compute_losses(state, clips, batches.camids, batches.labels)
        add_gradients(state, terms["total"])
        update_weights(state)

    @torch.inference_mode()
    def extract_step() -> None:
        model.eval()
        clips = transform(batches.test_clips)
        with runtime.autocast():
            model(torch.cat([clips, flip_clips(clips)]))

    return Steps(train_step, extract_step)


def make_plain_steps(cfg: CfgNode, args: argparse.Namespace, runtime: Runtime) -> Steps:
    """Build the plain network of the same dimensions and its steps, in float32.

    Plain and mirrored clips follow one another, gradients are centralised one after the other, and Adam is PyTorch's
    with its default options.
    """
    device = runtime.device
    encoder = make_model(cfg, NUM_CLASSES, NUM_CAMERAS).encoder
    if (encoder.patch_size, encoder.stride) != (PATCH, (PATCH, PATCH)):
        raise Mistake(f"The plain network has patches of {PATCH} pixels that do not overlap (MODEL.STRIDE_SIZE).")
    model = PlainModel(
        NUM_CLASSES,
        NUM_CAMERAS,
        cfg.INPUT.SEQ_LEN,
        tuple(cfg.INPUT.SIZE_TRAIN),
        encoder.width,
        len(encoder.blocks),
        encoder.num_heads,
        encoder.projected_width,
    ).to(device)
    batches = make_batches(cfg, args, encoder.projected_width, device)
    soft = initial_soft_labels(NUM_CLASSES).to(device)
    optimizer = torch.optim.Adam(model.parameters(), cfg.SOLVER.STAGE2.BASE_LR, weight_decay=1e-4)
    augment = Augmenter(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)
    transform = Normalizer(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)
    generator = torch.Generator().manual_seed(0)

    def train_step() -> None:
        model.train()
        clips = augment(batches.train_clips, generator)
        optimizer.zero_grad()
        model.compute_loss(clips, batches.camids, batches.labels, batches.memory, soft).backward()
        for parameter in model.parameters():
            if parameter.grad is not None and parameter.grad.dim() > 1:
                parameter.grad -= parameter.grad.flatten(1).mean(1).view(-1, *[1] * (parameter.grad.dim() - 1))
        optimizer.step()

    @torch.inference_mode()
    def extract_step() -> None:
        model.eval()
        camids = torch.zeros(args.test_batch, dtype=torch.long, device=device)
        clips = transform(batches.test_clips)
        model.describe(clips, camids)
        model.describe(flip_clips(clips), camids)

    return Steps(train_step, extract_step)


MAKERS = {"plain": make_plain_steps, "ours": make_steps}


def measure_peak(argv: Sequence[str] | None, network: str, step: str) -> float:
    """Return the peak memory, GiB, of a process that takes one kind of step twice."""
    args, cfg = parse(argv)
    runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
    function = getattr(MAKERS[network](cfg, args, runtime), step)
    for _ in range(2):
        function()
    return peak_memory(runtime.device)


def compare_with_plain(argv: Sequence[str] | None) -> dict[str, dict[str, float]]:
    """Time our steps and the plain ones in turns, and measure the peak of each in a process of its own.

    Returns:
        For "train" and "extract": seconds and GiB of both, and the ratios, ours better above 1 for time and below 1 for
        memory.
    """
    args, cfg = parse(argv)
    # The peaks come first: on Linux a new process starts with the peak of the one that started it.
    peaks: dict[str, dict[str, float]] = {"train": {}, "extract": {}}
    for step, of_networks in peaks.items():
        for network in MAKERS:
            with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
                try:
                    of_networks[network] = process.submit(measure_peak, argv, network, step).result()
                except BrokenProcessPool as error:
                    raise Mistake(
                        f"The process that measured the memory of {network} ({step}) was ended, probably because "
                        "memory ran out: lower --train_batch or --test_batch."
                    ) from error
    runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
    torch.manual_seed(cfg.SOLVER.SEED)
    steps = {network: make(cfg, args, runtime) for network, make in MAKERS.items()}
    result = {}
    for step, clips in (("train", args.train_batch), ("extract", args.test_batch)):
        seconds: dict[str, list[float]] = {network: [] for network in MAKERS}
        for turn in range(args.repeats + 1):
            for network, of_network in steps.items():
                elapsed = time_once(getattr(of_network, step), runtime.device)
                if turn:  # the first turn is the warm-up
                    seconds[network].append(elapsed)
        ours, plain = (statistics.median(seconds[network]) for network in ("ours", "plain"))
        result[step] = {
            "ours_seconds": ours,
            "plain_seconds": plain,
            "times_as_fast": plain / ours,
            "ours_peak_gib": peaks[step]["ours"],
            "plain_peak_gib": peaks[step]["plain"],
            "share_of_memory": peaks[step]["ours"] / peaks[step]["plain"],
        }
        logger.info(
            "%-8s %3d frames: ours %7.3f s, plain %7.3f s, %.2f times as fast; peak %.2f and %.2f GiB, %.2f of it",
            step,
            clips * cfg.INPUT.SEQ_LEN,
            *result[step].values(),
        )
    return result


def run(argv: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure both steps, or compare both with the plain network's; returns the logged figures."""
    args, cfg = parse(argv)
    if args.vs_plain:
        return compare_with_plain(argv)
    runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
    device = runtime.device
    torch.manual_seed(cfg.SOLVER.SEED)
    steps = make_steps(cfg, args, runtime)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    rate = measure_matrix_rate(runtime.device, runtime.dtype, args.repeats)
    logger.info(
        "%s, %s, torch %s: matrix product %.2f TFLOP/s",
        name,
        runtime.dtype or torch.float32,
        torch.__version__,
        rate / 1e12,
    )
    # Extraction comes first: on the CPU the peak is that of the process, which never falls, and training needs more.
    test_frames = 2 * args.test_batch * cfg.INPUT.SEQ_LEN
    size = DatasetSize(NUM_CLASSES, 0, NUM_CAMERAS)
    flops = count_feature_flops(cfg, 2 * args.test_batch, size)
    extraction = report("feature extraction", steps.extract, test_frames, flops, rate, runtime, args.repeats)
    train_frames = args.train_batch * cfg.INPUT.SEQ_LEN
    flops = measure_step(cfg, args.train_batch, size).flops
    training = report("training step", steps.train, train_frames, flops, rate, runtime, args.repeats)
    return {"training": training, "extraction": extraction}


def main() -> None:
    """Measure with the options of the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run()


if __name__ == "__main__":
    sys.exit(run_command(main))
