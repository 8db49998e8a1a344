"""Say how much memory this process has needed so far."""

import torch


def peak_gib(device: torch.device) -> float | None:
    """Return the peak, GiB: allocated on a CUDA device, or of the whole process; None where nobody counts it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return None
    return getrusage(RUSAGE_SELF).ru_maxrss / 2**20
