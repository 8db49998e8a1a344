"""Measure the speed of the full-size model: one training step, and feature extraction with flips.

    python -m benchmarks.full_model                         the winner's recipe, K = 689, on the GPU if there is one
    python -m benchmarks.full_model --train_batch 2 --test_batch 2 MODEL.DEVICE cpu
    python -m benchmarks.full_model --vs_plain --train_batch 4 --test_batch 4 MODEL.DEVICE cpu SOLVER.PRECISION fp32

Weights and frames are random. Each row shows the frames per second, the peak memory of a process of its own (allocated
on the GPU, or of the whole process on the CPU), how many kernels or operators the host starts, and the rate of
floating-point operations as a share of that of a large matrix product. ``--vs_plain`` times our steps and those of
``benchmarks.plain_model`` in turns.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context

import torch
from torch.profiler import ProfilerActivity, profile
from yacs.config import CfgNode

from benchmarks.plain_model import PlainModel
from benchmarks.timing import time_in_turns
from configs import get_cfg
from datasets.clips.transforms import Augmenter, Normalizer, flip_clips
from loss import make_loss
from model import make_model
from processor.estimate import DatasetSize, count_feature_flops, measure_step
from processor.training.cuda_graphs import WARM_UP_STEPS
from processor.training.state import TrainingState
from processor.training.train import compute_gradients, record_step, update_weights
from solver import make_optimizer, make_schedule
from utils.arguments import at_least
from utils.commands import run_command, show
from utils.device import measure_matrix_rate, peak_gib, wait_for
from utils.mistake import Mistake
from utils.runtime import Runtime, make_runtime
from utils.text import format_table

NUM_CLASSES = 689  # training identities of AG-VPReID 2025
NUM_CAMERAS = 6
NUM_INSTANCES = 2  # clips of each identity; the cost of a step does not depend on it
# Extraction comes first: on the CPU the peak is that of the process, which never falls, and training needs more.
STEPS = ("extraction", "training")
METHOD = ("attention", "instance", True, "prompt")  # what the plain network computes


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
    cfg = get_cfg(args.config_file, [*args.opts, "MODEL.PRETRAINED", "False"])
    model = cfg.MODEL
    if args.vs_plain and (model.POOLING, model.FEATURE_NECK, model.MEMORY_WEIGHTING, cfg.LOSS.MEMORY) != METHOD:
        raise Mistake(
            "--vs_plain needs MODEL.POOLING attention, FEATURE_NECK instance, MEMORY_WEIGHTING True and LOSS.MEMORY "
            "prompt."
        )
    return args, cfg


def make_steps(cfg: CfgNode, args: argparse.Namespace, runtime: Runtime, network: str) -> dict[str, Callable[[], None]]:
    """Build the network, and return the steps of "ours" or "plain", which is in float32, on random frames."""
    device = runtime.device
    model = make_model(cfg, NUM_CLASSES, NUM_CAMERAS).to(device)
    plain = PlainModel(model)
    shape = cfg.INPUT.SEQ_LEN, 3, *cfg.INPUT.SIZE_TRAIN
    train_frames, test_frames = (
        torch.randint(256, (count, *shape), dtype=torch.uint8, device=device)
        for count in (args.train_batch, args.test_batch)
    )
    pixels = cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD
    augment, normalize, generator = Augmenter(*pixels), Normalizer(*pixels), torch.Generator().manual_seed(0)
    labels = torch.arange(args.train_batch, device=device) // NUM_INSTANCES
    camids = labels % NUM_CAMERAS
    memory = torch.randn(NUM_CLASSES, model.encoder.projected_width, device=device)
    optimizer = make_optimizer(cfg, model)
    state = TrainingState(
        cfg,
        model,
        make_loss(cfg, NUM_CLASSES, model.feature_widths).to(device),
        optimizer,
        make_schedule(cfg, optimizer),
        runtime,
        memory=memory,
        pids=list(range(NUM_CLASSES)),
        camids=list(range(NUM_CAMERAS)),
        data_hash="",
        describe_people=lambda: memory,
    )
    adam = torch.optim.Adam(model.parameters(), cfg.SOLVER.STAGE2.BASE_LR, weight_decay=1e-4)

    recorded = record_step(state, augment)

    def train() -> None:
        model.train()
        draws = augment.draw(train_frames.shape, generator, pinned=device.type == "cuda")
        inputs = [train_frames, labels, camids, *draws]
        if recorded:
            recorded(inputs, lambda measured: None)
            return
        inputs = [part.to(device, non_blocking=True) for part in inputs]
        compute_gradients(state, augment, inputs, lambda measured: None)
        update_weights(state)

    for _ in range(WARM_UP_STEPS if recorded else 0):
        train()

    @torch.inference_mode()
    def extract() -> None:
        model.eval()
        clips = normalize(test_frames)
        with runtime.autocast():
            model(torch.cat([clips, flip_clips(clips)]))

    def train_plainly() -> None:
        model.train()
        adam.zero_grad()
        plain.compute_loss(augment(train_frames, generator), camids, labels, memory).backward()
        for parameter in model.parameters():
            if parameter.grad is not None and parameter.grad.dim() > 1:
                parameter.grad -= parameter.grad.mean(dim=tuple(range(1, parameter.grad.dim())), keepdim=True)
        adam.step()

    @torch.inference_mode()
    def extract_plainly() -> None:
        clips, cameras = normalize(test_frames), torch.zeros(args.test_batch, dtype=torch.long, device=device)
        plain.describe(clips, cameras)
        plain.describe(flip_clips(clips), cameras)

    if network == "plain":
        return {"training": train_plainly, "extraction": extract_plainly}
    return {"training": train, "extraction": extract}


def measure_peak(argv: Sequence[str], network: str, step: str) -> float:
    """Take one kind of step twice; returns the peak memory of this process, GiB: allocated on the GPU, or resident."""
    args, cfg = parse(argv)
    runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
    function = make_steps(cfg, args, runtime, network)[step]
    for _ in range(2):
        function()
    return peak_gib(runtime.device) or 0.0


def count_launches(function: Callable[[], object], device: torch.device) -> int:
    """Count what the host starts in a call: kernels, copies and graphs on CUDA, operators of torch on the CPU."""
    is_cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * is_cuda]) as profiler:
        function()
        wait_for(device)
    starts = ("cudaLaunch", "cuLaunch", "cudaMemcpy", "cudaMemset", "cudaGraphLaunch") if is_cuda else ("aten::",)
    return sum(event.count for event in profiler.key_averages() if event.key.startswith(starts))


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure both steps of one network or of both; returns the figures by step and network."""
    args, cfg = parse(argv)
    runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
    device = runtime.device
    networks = ("ours", "plain") if args.vs_plain else ("ours",)
    peaks = {}
    for network, step in product(networks, STEPS):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # a new process, whose peak is that of its own steps
            words = sys.argv[1:] if argv is None else argv
            peaks[network, step] = pool.submit(measure_peak, words, network, step).result()
    torch.manual_seed(cfg.SOLVER.SEED)
    steps = {network: make_steps(cfg, args, runtime, network) for network in networks}
    rate = measure_matrix_rate(device, runtime.dtype, args.repeats)
    size = DatasetSize(NUM_CLASSES, 0, NUM_CAMERAS)
    clips = {"extraction": 2 * args.test_batch, "training": args.train_batch}
    flops = {
        "extraction": count_feature_flops(cfg, clips["extraction"], size),
        "training": measure_step(cfg, args.train_batch, size).flops,
    }
    results = {}
    for step in STEPS:
        functions = {network: steps[network][step] for network in networks}
        seconds = time_in_turns(functions, args.repeats, device, warm_up=True)
        for network, (clock, _) in seconds.items():
            results[f"{step}, {network}"] = {
                "frames": (frames := clips[step] * cfg.INPUT.SEQ_LEN),
                "seconds": clock,
                "frames/s": frames / clock,
                "peak GiB": peaks[network, step],
                "launches" if device.type == "cuda" else "operators": count_launches(functions[network], device),
                "% of matrix rate": 100 * flops[step] / clock / rate,
            } | ({"times as fast as plain": seconds["plain"].clock / clock} if args.vs_plain else {})
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    dtype = str(runtime.dtype or torch.float32).removeprefix("torch.")
    show(f"{name}, {dtype}, torch {torch.__version__}: matrix product {rate / 1e12:.2f} TFLOP/s")
    header = ("step", *next(iter(results.values())))
    show(format_table(header, [[step, *(f"{value:.4g}" for value in row.values())] for step, row in results.items()]))
    return results


if __name__ == "__main__":
    sys.exit(run_command(main))
