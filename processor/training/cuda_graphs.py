"""Record a step of training as two CUDA graphs, which the device repeats without waiting for the host.

The host launches a few thousand small kernels in a step of the published batch, which takes longer than the device
needs to run them; a recorded graph is one launch. Everything that changes from step to step is copied into the tensors
that the graphs read: frames, random draws of the augmentation, labels and learning rates.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import Tensor
from yacs.config import CfgNode

from utils.runtime import Runtime

from .state import Measured, TrainingState

logger = logging.getLogger(__name__)

WARM_UP_STEPS = 3  # run as they are: they make the optimiser's state, and libraries choose their kernels
Result = TypeVar("Result")


class Recorder:
    """Runs functions on a stream of its own, and records them there as graphs that share their memory.

    Autocast keeps no weight in 16 bits for later: it would belong to a graph's memory. This holds for what only runs,
    too, as torch.compile compiles again where the rule changes, which a recording does not allow.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, function: Callable[[], Result]) -> Result:
        """Call a function after all work so far, and before all work to come."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream), _without_autocast_cache():
            result = function()
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def record(self, function: Callable[[], object]) -> Callable[[], None]:
        """Record what a function does, without doing it; returns what does it.

        Threads of the loader may call CUDA meanwhile, so only calls of this thread can spoil the recording.
        """
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local")
        with recording, _without_autocast_cache():
            function()
        return graph.replay


def _without_autocast_cache() -> AbstractContextManager:
    return torch.autocast("cuda", enabled=False, cache_enabled=False)


class RecordedStep:
    """A whole step of training: ``compute`` gets the inputs and where its measures go, ``update`` changes the weights.

    The host gets the measures of a step after both graphs were started, so a loss that is not finite has changed the
    weights by then; training stops without saving them.
    """

    def __init__(
        self,
        state: TrainingState,
        compute: Callable[[Sequence[Tensor], Callable[[Measured], None]], None],
        update: Callable[[], None],
        recorder: Recorder,
    ) -> None:
        self._compute, self._update, self._recorder = compute, update, recorder
        self._groups, self._device = state.optimizer.param_groups, state.runtime.device
        self._inputs: list[Tensor] = []
        self._measured: list[Measured] = []  # by the recorded forward pass, again in every step
        self._graphs: list[Callable[[], None]] = []
        self._num_steps = 0
        rates: dict[float, Tensor] = {}  # numbers would be recorded as they are now
        for group in self._groups:  # equal rates share a tensor, so that the optimiser still merges their groups
            rate = torch.tensor(group["lr"], device=self._device)
            group["lr"] = rates.setdefault(group["initial_lr"], rate)

    def __call__(self, inputs: Sequence[Tensor], send: Callable[[Measured], None]) -> None:
        """Take a step; all inputs have the same shapes in every step, and may lie in the host's memory."""
        self._num_steps += 1
        if not self._inputs:
            self._inputs = [torch.empty_like(each, device=self._device) for each in inputs]
        for own, new in zip(self._inputs, inputs, strict=True):
            own.copy_(new, non_blocking=True)
        if self._num_steps <= WARM_UP_STEPS:
            self._recorder.run(lambda: self._compute(self._inputs, send))
            self._recorder.run(self._update)
            return
        if not self._graphs:
            for group in self._groups:
                group["capturable"] = True
            compute = self._recorder.record(lambda: self._compute(self._inputs, self._measured.append))
            self._graphs = [compute, self._recorder.record(self._update)]
            logger.info("The step of training was recorded as two CUDA graphs.")
        compute, update = self._graphs
        self._recorder.run(compute)
        send(self._measured[-1])
        self._recorder.run(update)


def find_obstacle(cfg: CfgNode, runtime: Runtime) -> str | None:
    """Return why SOLVER.CUDA_GRAPHS cannot be had here; None if it can."""
    stage = cfg.SOLVER.STAGE2
    obstacles = {
        "the device is no CUDA device": runtime.device.type != "cuda",
        "several processes train": not runtime.processes.is_alone,
        "SOLVER.STAGE2.ACCUMULATION_STEPS is not 1": stage.ACCUMULATION_STEPS > 1,
        "SOLVER.STAGE2.NON_FINITE_LOSS is skip": stage.NON_FINITE_LOSS == "skip",
        # Its dropout saves the state of the random generator, which a recording does not allow.
        "MODEL.GRADIENT_CHECKPOINTING is True": cfg.MODEL.GRADIENT_CHECKPOINTING,
    }
    return next((obstacle for obstacle, is_there in obstacles.items() if is_there), None)
