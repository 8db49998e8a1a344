"""Plan a training run before it starts: its parameters, operations, memory and time.

Nothing is computed. A step runs on torch's fake tensors, which have shapes, types and lifetimes but no data.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode
from yacs.config import CfgNode

from datasets import DataSet, make_train_transform, train_cameras
from datasets.clips.batch_sampler import IdentityBatchSampler
from datasets.clips.transforms import Augmenter
from loss import ReidLoss, make_loss
from model import XTFCLIP, make_model
from utils.matrix_rate import measure_matrix_rate
from utils.runtime import DTYPES, Runtime
from utils.tables import format_table

FLOAT32_BYTES = 4  # weights, gradients and the optimiser's state are float32 in every precision
ADAM_STATES = 2  # running means of the gradient and of its square
CARDS_GIB = (12, 24, 40, 80)
RESERVE_GIB = 1.5  # assumed: CUDA context, workspaces of the libraries, fragmentation
# Parts of the network by the name of their top module, in the order of the table.
PARTS = {
    "encoder": "encoder",
    "temporal_memory": "temporal memory",
    "memory_prompt": "prompt",
    "memory_weight": "prompt",
    "pool": "pooling",
    "neck": "heads",
    "classifier": "heads",
}


@dataclass(frozen=True)
class DatasetSize:
    """What a plan needs to know of the training split."""

    num_identities: int
    num_tracklets: int
    num_cameras: int


@dataclass(frozen=True)
class FakeTraining:
    """A network, its losses and one batch as fake tensors; they work inside the mode that they were made in."""

    model: XTFCLIP
    criterion: ReidLoss
    augment: Augmenter
    runtime: Runtime
    clips: Tensor
    labels: Tensor
    memory: Tensor

    def compute_loss(self) -> Tensor:
        """Augment the batch and return its total loss."""
        clips = self.augment(self.clips, torch.Generator())
        with self.runtime.autocast():
            return self.criterion(self.model(clips, self.labels, memory=self.memory), self.labels)["total"]


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step beside weights, gradients and the optimiser's state.

    Attributes:
        activations: What the forward pass leaves for the backward pass, the batch included.
        peak: The most that is alive at one time in forward and backward: activations and temporary tensors.
    """

    activations: int
    peak: int


class MemoryTracker(TorchDispatchMode):
    """Count the bytes of the tensors that operations create, for as long as something refers to them.

    Args:
        known: Tensors from before; they are not counted.
    Attributes:
        live: Bytes that are alive now.
        peak: Largest value of ``live`` so far.
    """

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._sizes = {tensor.untyped_storage()._cdata: 0 for tensor in known}

    def __torch_dispatch__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return tree_map_only(Tensor, self._add, func(*args, **(kwargs or {})))

    def _add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = storage.nbytes()
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._remove, storage._cdata)
        return tensor

    def _remove(self, address: int) -> None:
        self.live -= self._sizes.pop(address)


@contextmanager
def fake_training(cfg: CfgNode, runtime: Runtime, batch_size: int, size: DatasetSize) -> Iterator[FakeTraining]:
    """Build a training with random weights of fake tensors, and stay in their mode.

    Args:
        cfg: MODEL.*, LOSS.*, SOLVER.MARGIN and INPUT.*.
        runtime: Device, which this machine need not have, and precision.
        batch_size: Clips B of the batch.
        size: Its identities and cameras are the rows of classifiers and camera embedding.
    """
    device = runtime.device
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.COMPILE = False  # compiling needs real tensors
    with torch.device("meta"):
        model = make_model(cfg, size.num_identities, size.num_cameras, pretrained=False)
        criterion = make_loss(cfg, size.num_identities)
    shape = (batch_size, cfg.INPUT.SEQ_LEN, 3, *cfg.INPUT.SIZE_TRAIN)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield FakeTraining(
            model.to_empty(device=device),
            criterion.to_empty(device=device),
            make_train_transform(cfg),
            runtime,
            clips=torch.zeros(shape, dtype=torch.uint8, device=device),
            labels=torch.zeros(batch_size, dtype=torch.int64, device=device),
            memory=torch.zeros(size.num_identities, model.encoder.projected_width, device=device),
        )


def planning_runtime(cfg: CfgNode) -> Runtime:
    """Return the precision of the planned run, on the CPU.

    torch runs the backward pass of fake CUDA tensors only on a machine with CUDA. Sizes and types are the same on the
    CPU, where attention is also fused.
    """
    precision = cfg.SOLVER.PRECISION
    if precision == "auto":  # as utils.runtime decides for the device that is planned for
        precision = "fp32" if cfg.MODEL.DEVICE == "cpu" else "fp16"
    return Runtime(torch.device("cpu"), DTYPES[precision])


def count_parameters(model: nn.Module) -> Counter[str]:
    """Count the parameters of each part of the network."""
    counts = Counter(dict.fromkeys(PARTS.values(), 0))
    for name, parameter in model.named_parameters():
        module = name.split(".")[0]
        part = PARTS.get(module) or PARTS[module.split("_")[0]]  # pool_image, neck_image, ...
        counts[part] += parameter.numel()
    return counts


def count_training_flops(cfg: CfgNode, batch_size: int, size: DatasetSize) -> tuple[int, int]:
    """Return the operations of the forward pass of a batch, and of a whole training step.

    They are those of the matrix products and convolutions, without recomputation; an addition and a multiplication are
    two operations.
    """
    with (
        fake_training(cfg, planning_runtime(cfg), batch_size, size) as training,
        # The counter misses the fused attention of the CPU, so operations are counted with the plain attention.
        FlopCounterMode(display=False) as counter,
        sdpa_kernel(SDPBackend.MATH),
    ):
        loss = training.compute_loss()
        forward = counter.get_total_flops()
        loss.backward()
        return forward, counter.get_total_flops()


def compute_ideal_step_seconds(cfg: CfgNode, size: DatasetSize, runtime: Runtime) -> float:
    """Return the seconds that a training step would take if it were nothing but matrix products at the device's rate.

    Args:
        cfg: A step is a batch of all processes together, or a part of it (SOLVER.STAGE2.ACCUMULATION_STEPS).
        size: The training split.
        runtime: Its device is measured, in the run's precision.
    """
    own_clips = step_size(cfg) // runtime.processes.world_size
    _, step = count_training_flops(cfg, own_clips, size)
    return step / measure_matrix_rate(runtime.device, runtime.dtype)


def count_feature_flops(cfg: CfgNode, batch_size: int, size: DatasetSize) -> int:
    """Return the operations of the test descriptors of a batch of training size; a mirror image counts as a clip."""
    with (
        fake_training(cfg, planning_runtime(cfg), batch_size, size) as training,
        torch.no_grad(),
        FlopCounterMode(display=False) as counter,
        sdpa_kernel(SDPBackend.MATH),
    ):
        training.model.eval()
        training.model(training.augment.normalize(training.clips), training.labels)
        return counter.get_total_flops()


def estimate_step_memory(
    cfg: CfgNode, batch_size: int, size: DatasetSize, checkpointing: bool, runtime: Runtime | None = None
) -> StepMemory:
    """Estimate the memory of a training step, with or without gradient checkpointing.

    There are gradients from the step before, as in every step but the first.
    """
    with fake_training(cfg, runtime or planning_runtime(cfg), batch_size, size) as training:
        training.model.set_gradient_checkpointing(checkpointing)
        model, criterion = training.model, training.criterion
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        known = [*model.parameters(), *gradients, *model.buffers(), *criterion.buffers(), training.memory]
        with MemoryTracker(known) as tracker:
            loss = training.compute_loss()
            activations = tracker.live
            loss.backward()
    return StepMemory(activations + training.clips.nbytes, tracker.peak + training.clips.nbytes)


def count_steps(cfg: CfgNode, pids: Sequence[int]) -> int:
    """Return the steps of the first epoch over training tracklets of these identities."""
    stage = cfg.SOLVER.STAGE2
    return len(
        IdentityBatchSampler(
            pids,
            stage.IMS_PER_BATCH,
            cfg.DATALOADER.NUM_INSTANCE,
            seed=cfg.SOLVER.SEED,
            num_parts=stage.ACCUMULATION_STEPS,
        )
    )


def step_size(cfg: CfgNode) -> int:
    """Return the clips that a step computes: a batch, or a part of it if gradients are accumulated."""
    return cfg.SOLVER.STAGE2.IMS_PER_BATCH // cfg.SOLVER.STAGE2.ACCUMULATION_STEPS


def largest_batch(room: float, peaks: Sequence[tuple[int, int]], multiple: int) -> int:
    """Return the largest batch whose step fits into ``room`` bytes, a multiple of ``multiple``; 0 if none does.

    Args:
        room: Bytes for the step.
        peaks: Two batches and the bytes of their steps; other batches lie on the line through them.
        multiple: Clips of one identity; a batch has at least two identities.
    """
    (first, low), (second, high) = peaks
    clips = first + (room - low) * (second - first) / (high - low)
    batch = int(clips // multiple) * multiple
    return batch if batch >= 2 * multiple else 0


def made_up_pids(size: DatasetSize) -> list[int]:
    """Return identities of tracklets that are spread evenly over the people."""
    return [number * size.num_identities // size.num_tracklets for number in range(size.num_tracklets)]


def size_of(dataset: DataSet) -> DatasetSize:
    """Count the training split of a data set."""
    identities = {tracklet.pid for tracklet in dataset.train}
    return DatasetSize(len(identities), len(dataset.train), len(train_cameras(dataset.train)))


@dataclass(frozen=True)
class Plan:
    """Figures of a run.

    Attributes:
        size: The training split.
        parameters: Parameters of each part of the network.
        forward_flops: Operations of the forward pass of a step, which is a batch or a part of one.
        step_flops: Operations of a training step, without recomputation.
        memory: Memory of a step by batch, for checkpointing off and on: the run's batch and twice as many clips.
        keeps_average: Whether a moving average of the weights is kept beside them.
    """

    size: DatasetSize
    parameters: Counter[str]
    forward_flops: int
    step_flops: int
    memory: dict[bool, dict[int, StepMemory]]
    keeps_average: bool = False

    @property
    def weight_bytes(self) -> int:
        return FLOAT32_BYTES * self.parameters.total()

    @property
    def fixed_bytes(self) -> int:
        """Weights, their moving average, gradients and the optimiser's state."""
        return (2 + ADAM_STATES + self.keeps_average) * self.weight_bytes


def make_plan(cfg: CfgNode, size: DatasetSize) -> Plan:
    """Plan the run of a configuration on a training split of this size."""
    batch_size = step_size(cfg)
    forward, step = count_training_flops(cfg, batch_size, size)
    with fake_training(cfg, planning_runtime(cfg), batch_size, size) as training:
        parameters = count_parameters(training.model)
    memory = {
        checkpointing: {
            clips: estimate_step_memory(cfg, clips, size, checkpointing) for clips in (batch_size, 2 * batch_size)
        }
        for checkpointing in (False, True)
    }
    return Plan(size, parameters, forward, step, memory, keeps_average=cfg.SOLVER.STAGE2.EMA_DECAY > 0)


def format_plan(cfg: CfgNode, plan: Plan, num_steps: int, tflops: float) -> str:
    """Lay out a plan as tables, for a sustained rate in TFLOP/s."""
    batch_size, multiple = step_size(cfg), cfg.DATALOADER.NUM_INSTANCE
    parameters = [(part, f"{number / 1e6:.2f}") for part, number in plan.parameters.items()]
    parameters.append(("all", f"{plan.parameters.total() / 1e6:.2f}"))
    # Checkpointing runs the forward pass of the blocks, which is nearly the whole forward pass, a second time.
    minutes = [
        flops * num_steps / tflops / 1e12 / 60 for flops in (plan.step_flops, plan.step_flops + plan.forward_flops)
    ]
    figures = [
        ("forward, TFLOP per clip", f"{plan.forward_flops / batch_size / 1e12:.3f}"),
        ("training step, TFLOP per clip", f"{plan.step_flops / batch_size / 1e12:.3f}"),
        ("steps per epoch", f"{num_steps:,}"),
        (f"minutes per epoch at {tflops:g} TFLOP/s", f"{minutes[0]:.1f}"),
        ("the same with checkpointing, at most", f"{minutes[1]:.1f}"),
    ]
    rows = [
        ("weights", *[_gib(plan.weight_bytes)] * 2),
        *[("moving average", *[_gib(plan.weight_bytes)] * 2)] * plan.keeps_average,
        ("state of Adam", *[_gib(ADAM_STATES * plan.weight_bytes)] * 2),
        ("gradients", *[_gib(plan.weight_bytes)] * 2),
        ("activations", *(_gib(plan.memory[on][batch_size].activations) for on in (False, True))),
        ("peak of the step", *(_gib(plan.fixed_bytes + plan.memory[on][batch_size].peak) for on in (False, True))),
    ]
    fits = []
    for card in CARDS_GIB:
        room = (card - RESERVE_GIB) * 2**30 - plan.fixed_bytes
        peaks = [[(clips, memory.peak) for clips, memory in plan.memory[on].items()] for on in (False, True)]
        fits.append((f"{card} GiB", *(largest_batch(room, of_batches, multiple) for of_batches in peaks)))
    size, precision = plan.size, str(planning_runtime(cfg).dtype or torch.float32).removeprefix("torch.")
    return "\n\n".join(
        [
            f"{size.num_identities:,} identities, {size.num_tracklets:,} tracklets; {batch_size} clips of "
            f"{cfg.INPUT.SEQ_LEN} frames, {precision}",
            format_table(["parameters", "million"], parameters),
            format_table(["operations and time", ""], figures),
            format_table(["memory, GiB", "plain", "checkpointing"], rows),
            format_table([f"largest batch ({RESERVE_GIB:g} GiB free)", "plain", "checkpointing"], fits),
        ]
    )


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.2f}"
