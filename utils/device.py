"""Measure a device: the rate of matrix products, which the speed of a network is compared with, and its memory."""

import statistics
import time

import torch

# Side of the square matrices, and how many products are timed together: on a GPU one alone would be mostly waiting.
SIDES = {"cpu": 4096, "cuda": 8192}
PRODUCTS = {"cpu": 1, "cuda": 5}


def measure_matrix_rate(device: torch.device, dtype: torch.dtype | None, repeats: int = 3) -> float:
    """Return the additions and multiplications per second of a large matrix product, the median of some repeats.

    A first measurement does not count. It changes no random number of a training run; a ``dtype`` of None is float32.
    """
    generator = torch.Generator(device).manual_seed(0)
    side, products = SIDES[device.type], PRODUCTS[device.type]
    a, b = torch.randn(2, side, side, device=device, generator=generator).to(dtype or torch.float32)
    seconds = []
    for _ in range(1 + repeats):
        wait_for(device)
        start = time.perf_counter()
        for _ in range(products):
            torch.mm(a, b)
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 * products / statistics.median(seconds[1:])


def wait_for(device: torch.device) -> None:
    """Wait until a device has finished, so that a clock measures its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_gib(device: torch.device) -> float | None:
    """Return the peak, GiB: allocated on a CUDA device, or of the whole process; None where nobody counts it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return None
    return getrusage(RUSAGE_SELF).ru_maxrss / 2**20
