"""The rate at which a device multiplies matrices: what the speed of a network is compared with."""

import statistics
import time

import torch

SIDE = 4096  # of the square matrices: large enough to keep any GPU busy


def measure_matrix_rate(device: torch.device, dtype: torch.dtype | None, repeats: int = 3) -> float:
    """Return the floating-point operations per second of a large square matrix product, the median of some repeats.

    An addition and a multiplication are two operations. The matrices come from a generator of their own, so that
    measuring changes no random number of a training run.

    Args:
        device: Where to multiply.
        dtype: Of both matrices; None for float32.
        repeats: Measured products, after one that is not.
    """
    generator = torch.Generator(device).manual_seed(0)
    shape = (2, SIDE, SIDE)
    a, b = torch.randn(shape, device=device, generator=generator).to(dtype or torch.float32)
    seconds = []
    for _ in range(1 + repeats):
        _wait_for(device)
        start = time.perf_counter()
        torch.mm(a, b)
        _wait_for(device)
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / statistics.median(seconds[1:])


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
