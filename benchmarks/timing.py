"""Time functions in turns: what the benchmarks share."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

from utils.device import wait_for


class Seconds(NamedTuple):
    """Median seconds of a call, by the clock and of the processor (all threads), which other work changes less."""

    clock: float
    processor: float


def time_in_turns(
    functions: Mapping[str, Callable[[], object]], repeats: int, device: torch.device, warm_up: bool = False
) -> dict[str, Seconds]:
    """Call functions in turns, so that all meet the same machine; returns medians, without the turn to ``warm_up``."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for turn in range(repeats + warm_up):
        for name, function in functions.items():
            wait_for(device)
            start, start_of_processor = time.perf_counter(), time.process_time()
            function()
            wait_for(device)
            if turn >= warm_up:
                spent = time.perf_counter() - start, time.process_time() - start_of_processor
                seconds[name].append(spent)
    return {name: Seconds(*map(statistics.median, zip(*turns, strict=True))) for name, turns in seconds.items()}
