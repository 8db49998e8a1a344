"""Decisions that a run makes once: device, precision, output folder, and where log lines go."""

import logging
import platform
import sys
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.layers import set_fused_attn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from .commands import PlainFormatter
from .files import make_folder, require_regular
from .mistake import Mistake
from .processes import ALONE, Processes, read_launch, start_processes
from .progress import LOCK, track

logger = logging.getLogger(__name__)

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """Device, precision and processes of a run."""

    device: torch.device
    dtype: torch.dtype | None  # that autocast computes in; None for plain float32
    processes: Processes = ALONE

    def autocast(self) -> AbstractContextManager:
        """Return the context in which the model's forward and its losses run."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None)

    def make_scaler(self) -> torch.amp.GradScaler:
        """Make a gradient scaler; it does nothing unless the precision is fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)

    def show_progress(self, batches: Iterable, description: str, unit: str, done: int = 0) -> Iterable:
        """Return the same batches; process 0 shows how far the loop is, as ``utils.progress.track``."""
        return track(batches, description, unit, done=done, enabled=self.processes.is_main)


def make_runtime(device: str, precision: str) -> Runtime:
    """Resolve MODEL.DEVICE and SOLVER.PRECISION on this machine, and connect the processes that torchrun started."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu":
            logger.warning("No CUDA device found: running on the CPU, which is slow for the full-size model.")
    resolved = torch.device(device)
    if resolved.type == "cuda":
        launch, num_cards = read_launch(), torch.cuda.device_count()
        if not launch.is_alone and resolved.index is not None:
            raise Mistake(f"MODEL.DEVICE is {resolved}, one card for {launch.world_size} processes: write cuda.")
        # Each process of a machine takes a card of its own.
        index = launch.local_rank if resolved.index is None else resolved.index
        if index >= num_cards:
            raise Mistake(
                f"MODEL.DEVICE is {device!r}, but this machine has {num_cards} usable CUDA devices, which is too few. "
                "Add `MODEL.DEVICE cpu` to the command, let torchrun start fewer processes, or install a torch build "
                "that matches the driver."
            )
        resolved = torch.device("cuda", index)
        torch.cuda.set_device(resolved)  # so that nothing is left on another card by accident
    if precision == "auto":
        # A CPU that does not multiply bfloat16 in hardware emulates it, which is slower than float32.
        has_bf16 = platform.machine() == "x86_64" and torch.cpu._is_avx512_bf16_supported()
        precision = "fp16" if resolved.type == "cuda" else "bf16" if has_bf16 else "fp32"
    if resolved.type == "cpu" and precision == "fp16":
        raise Mistake("SOLVER.PRECISION fp16 needs a CUDA device; use bf16 or fp32 on the CPU.")
    # Of models built from now on. In bf16 on a CPU, attention as two products and a softmax takes half the time
    # of torch's fused kernel, whose backward pass is slow there; in float32 it takes twice the time.
    set_fused_attn(resolved.type != "cpu" or precision != "bf16")
    return Runtime(resolved, DTYPES[precision], start_processes(resolved))


def prepare_output(folder: str | Path) -> Path:
    """Create an output folder and check, before any work is done, that files can be written there."""
    folder = Path(folder)
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Mistake(
            f"Cannot write to the output folder {folder}: {error.strerror or error}. "
            "Choose another with --output_dir (or --custom_output_dir)."
        ) from error
    return folder


def start_logging(log_file: str | Path) -> AbstractContextManager:
    """Send all log lines to standard error and, appended, to ``log_file``; of other processes than 0, only warnings.

    In the context that this returns, progress bars and log lines do not overwrite one another. Paths that are not UTF-8
    are written with escapes.
    """
    require_regular(Path(log_file))
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.INFO)
    processes = read_launch()
    origin = "" if processes.is_main else f"[process {processes.rank}] "
    formatter = PlainFormatter(f"%(asctime)s %(levelname)s {origin}%(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")
    console = logging.StreamHandler(sys.stderr)
    file = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
    for handler in (console, file):
        handler.setFormatter(formatter)
        if not processes.is_main:  # warnings, errors, and the tracebacks of errors
            handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.exc_info is not None)
        root.addHandler(handler)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every step when matplotlib writes a PDF
    logging.captureWarnings(True)
    tqdm.set_lock(LOCK)  # log lines between bars take it, too
    return logging_redirect_tqdm()
