"""The processes that torchrun started, or one, ``ALONE``: which of them this one is, and what they exchange."""

import itertools
import logging
import multiprocessing
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How long an exchange may take. Before one that others may be late for, such as those that list frames, all meet, and
# wait for as long as the late ones show signs of life.
TIMEOUT = timedelta(minutes=30)
POLL_SECONDS = 0.05  # between two looks at what other processes wrote
BEAT_SECONDS = 2.0  # between two signs of life
NAMED_AFTER, ENDED_AFTER = 300.0, 1500.0  # seconds without them: a process is named, and the run ends
LAST_BEAT = 1 << 40  # of a process that is done
FAILURE = "failure"  # key of the line that says why the first process failed


@dataclass(frozen=True)
class Processes:
    """This process among all of a run; all call a method with an exchange, in the same order."""

    rank: int = 0  # process 0 writes the files
    world_size: int = 1  # processes on all machines
    local_rank: int = 0  # number on this machine, and of the GPU

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        return self.world_size == 1

    def share(self, num_items: int, rank: int | None = None) -> slice:
        """Return a process's part of ``num_items`` in a row (default: this one's); sizes differ by at most one."""
        rank = self.rank if rank is None else rank
        return slice(num_items * rank // self.world_size, num_items * (rank + 1) // self.world_size)

    @contextmanager
    def first_on_machine(self) -> Iterator[None]:
        """Run a block in one process of each machine first, because it writes a file that the others then read."""
        if self.local_rank:
            _meet()
        yield
        if not self.local_rank and not self.is_alone:
            _meet()

    def run_on_main(self, function: Callable[[], T]) -> T:
        """Call a function in process 0 only; all processes wait for its value and return it."""
        if self.is_alone:
            return function()
        values = [function() if self.is_main else None]
        _meet()
        distributed.broadcast_object_list(values, src=0)
        return values[0]  # type: ignore[return-value]  # the list now holds what process 0 put in

    def gather_values(self, value: T) -> list[T]:
        """Return the value of every process, by rank; small picklable objects only."""
        if self.is_alone:
            return [value]
        values: list[Any] = [None] * self.world_size
        _meet()
        distributed.all_gather_object(values, value)
        return values

    def sum_over(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over all processes, in place."""
        if not self.is_alone:
            distributed.all_reduce(tensor)
        return tensor

    def maximum(self, number: int) -> int:
        """Return the largest of the numbers of all processes."""
        if self.is_alone:
            return number
        largest = torch.tensor(number)  # on the CPU: nothing waits for a GPU
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)

    def gather_batch(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Join the slices of a batch, (B, ...) each -> (world_size * B, ...), in the order of ranks, in one exchange.

        Each slice receives the sum of its gradients in all processes. All tensors are floating, or of one integer type.
        """
        if self.is_alone:
            return tensors
        rows = [tensor.flatten(1) if tensor.dim() > 1 else tensor.unsqueeze(1) for tensor in tensors]
        joined = _GatheredRows.apply(torch.cat(rows, dim=1), self)
        parts = joined.split([row.shape[1] for row in rows], dim=1)
        pairs = zip(parts, tensors, strict=True)
        return tuple(part.to(tensor.dtype).reshape(len(part), *tensor.shape[1:]) for part, tensor in pairs)

    def parallelize(self, model: nn.Module) -> nn.Module:
        """Wrap a model so that its gradients are averaged over all processes; alone, return the model itself."""
        if self.is_alone:
            return model
        device = next(model.parameters()).device
        return DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            # Batch norms see the whole batch in every process, so their statistics are equal without an exchange.
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,  # no second copy of the gradients
        )

    def exchange_gradients(self, model: nn.Module, now: bool) -> AbstractContextManager:
        """Return the context of a pass of a model of ``parallelize``; gradients not sent now join the next exchange."""
        return nullcontext() if now or self.is_alone else cast(DistributedDataParallel, model).no_sync()


class _GatheredRows(torch.autograd.Function):
    """Join the rows of all processes; backward, add up the gradients of all processes for the rows of this one."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        joined = rows.new_empty(processes.world_size * len(rows), *rows.shape[1:])
        distributed.all_gather(list(joined.chunk(processes.world_size)), rows.contiguous())
        return joined

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient[ctx.processes.share(len(gradient))], None


ALONE = Processes()


def read_launch() -> Processes:
    """Read from torchrun's environment which process this is; without torchrun it is ``ALONE``."""
    rank, world_size, local_rank = (int(os.environ.get(name, 0)) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return Processes(rank, max(world_size, 1), local_rank)


def start_processes(device: torch.device) -> Processes:
    """Connect the processes that torchrun started; do nothing without torchrun or if they are connected."""
    processes = read_launch()
    if not processes.is_alone and not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        store, rank, world_size = open_store(processes), processes.rank, processes.world_size
        distributed.init_process_group(backend, timeout=TIMEOUT, world_size=world_size, rank=rank, store=store)
        watches[:] = [_Watch(store, processes)]
        watches[0].start()
        logger.info("Process %d of %d, on %s", processes.rank, processes.world_size, device)
    return processes


class _Watch(threading.Thread):
    """Shows the other processes that this one is alive, and ends it if another one failed or shows no life.

    Each process looks at the next one only. Times are counted in own beats, so that a machine may sleep.
    """

    def __init__(self, store: "distributed.Store", processes: Processes) -> None:
        super().__init__(daemon=True)
        self.store = store.clone()  # the other is busy while the main thread waits for something in it
        self.processes = processes
        self.meetings = itertools.count()
        self.is_over = threading.Event()

    def run(self) -> None:
        other, before, silent = (self.processes.rank + 1) % self.processes.world_size, 0, 0.0
        text = "Process %d has shown no life for %d minutes: it is stopped, or its machine is away."
        with suppress(RuntimeError):  # the store is gone, and with it all other processes
            while not self.is_over.wait(BEAT_SECONDS):
                self.store.add(f"beat/{self.processes.rank}", 1)
                beat = self.store.add(f"beat/{other}", 0)
                silent = 0.0 if beat != before or beat >= LAST_BEAT else silent + BEAT_SECONDS
                before = beat
                if silent >= ENDED_AFTER:
                    self.store.compare_set(FAILURE, "", text % (other, silent // 60) + " The run ends.")
                elif NAMED_AFTER <= silent < NAMED_AFTER + BEAT_SECONDS:
                    logger.warning(text, other, silent // 60)
                if self.store.check([FAILURE]):
                    self._end(self.store.get(FAILURE).decode())

    def _end(self, why: str) -> None:
        """End this process, whose main thread may wait in an exchange that never ends."""
        if self.is_over.is_set():
            return
        logger.error("%s", why)
        self.store.add("heard", 1)
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(1)

    def finish(self) -> None:
        """Tell the others that this process is done."""
        self.is_over.set()
        self.join(BEAT_SECONDS)
        with suppress(RuntimeError):
            self.store.add(f"beat/{self.processes.rank}", LAST_BEAT)

    def report(self, line: str) -> str | None:
        """Tell the others why this process fails; returns what another one, which failed before, told."""
        self.is_over.set()
        own = f"Process {self.processes.rank} failed: {line}"
        with suppress(RuntimeError):
            first = self.store.compare_set(FAILURE, "", own).decode()
            if first != own:
                return first
            for _ in range(int(3 * BEAT_SECONDS / POLL_SECONDS)):  # the store may end with this process
                if self.store.add("heard", 0) >= self.processes.world_size - 1:
                    break
                time.sleep(POLL_SECONDS)
        return None


watches: list[_Watch] = []  # that of this process; none alone


def _meet() -> None:
    """Wait until all processes are here; ``_Watch`` ends the wait for one that failed or stopped."""
    watch = watches[0]
    key, here = f"meeting/{next(watch.meetings)}", 0
    while here < watch.processes.world_size:
        here = watch.store.add(key, 0 if here else 1)
        time.sleep(POLL_SECONDS if here < watch.processes.world_size else 0)


def open_store(processes: Processes) -> "distributed.Store":
    """Open a store of keys that only this start of the processes uses; all processes call this.

    A restart finds the addresses of processes that died in torchrun's store, and would wait for them in vain
    (https://github.com/pytorch/pytorch/issues/135712). So process 0 invents a name for this start, because each machine
    counts restarts by itself, and tells it only to those that asked and confirm it.
    """
    store, _, _ = next(distributed.rendezvous("env://", timeout=TIMEOUT))
    own_name = uuid.uuid4().hex
    if processes.is_main:
        missing = set(range(1, processes.world_size))
        while missing:
            for rank in missing:
                if store.check([f"name/{rank}"]):
                    store.set(f"start/{store.get(f'name/{rank}').decode()}", own_name)
            time.sleep(POLL_SECONDS)
            missing = {rank for rank in missing if not store.check([f"{own_name}/{rank}"])}
        return distributed.PrefixStore(own_name, store)
    store.set(f"name/{processes.rank}", own_name)
    start = store.get(f"start/{own_name}").decode()
    store.set(f"{start}/{processes.rank}", "confirmed")
    return distributed.PrefixStore(start, store)


def stop_processes() -> None:
    """Disconnect from the other processes, if connected."""
    while watches:
        watches.pop().finish()
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def was_restarted() -> bool:
    """Whether torchrun restarted this job after a process died (--max-restarts)."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def may_be_restarted() -> bool:
    """Whether torchrun will restart this job if a process dies (--max-restarts)."""
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0
