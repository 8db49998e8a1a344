"""Plan a training run: parameters, operations, memory and time, by a step on fake tensors, which hold no data."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry
from yacs.config import CfgNode

from datasets.build import make_dataset, make_train_transform, train_cameras
from datasets.clips.batch_sampler import IdentityBatchSampler
from datasets.clips.transforms import Augmenter
from datasets.tracklet import DataSet
from loss import ReidLoss, make_loss
from model import XTFCLIP, make_model
from utils.device import measure_matrix_rate
from utils.runtime import DTYPES, Runtime
from utils.text import format_table

FLOAT32_BYTES = 4  # weights, gradients and the optimiser's state are float32 in every precision
ADAM_STATES = 2  # running means of the gradient and of its square
CARDS_GIB = (8, 12, 16, 24, 32, 40, 48, 80)
RESERVE_GIB = 1.5  # assumed: CUDA context, workspaces of the libraries, fragmentation

_ATEN = torch.ops.aten
_attention_flops = flop_registry[_ATEN._scaled_dot_product_flash_attention]


# Operations of matrix products, convolutions and attention by their arguments; torch leaves out attention on the CPU.
FLOP_FORMULAS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    # Four matrix products, without the scores that fused attention computes again.
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: lambda gradient, *inputs, **kwargs: (
        2 * _attention_flops(*inputs, **kwargs)
    ),
}


class DatasetSize(NamedTuple):
    """What a plan needs to know of the training split."""

    num_identities: int
    num_tracklets: int
    num_cameras: int


class StepCost(NamedTuple):
    """What a training step takes; an addition and a multiplication are two operations."""

    parameters: Counter[str]  # of each top module of the network
    trained: int  # of these
    forward_flops: int  # of matrix products, convolutions and attention
    flops: int  # of the whole step
    activations: int  # bytes that the forward pass leaves for the backward pass, the batch included
    peak: int  # most bytes alive at one time in both, beside weights, gradients and the optimiser's state


class FakeTraining(NamedTuple):
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
        with unset_fake_temporarily():  # INPUT.LOW_RESOLUTION looks at what it draws, and keeps matrices
            draws = self.augment.draw(self.clips.shape, torch.Generator())
        clips = self.augment.apply(self.clips, *(part.to(self.clips.device) for part in draws))
        with self.runtime.autocast():
            return self.criterion(self.model(clips, self.labels, memory=self.memory), self.labels)["total"]


class StepMeter(TorchDispatchMode):
    """Count the operations of a block, and the bytes of new tensors: ``live`` now, ``peak`` at most so far."""

    def __init__(self, known: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.flops = self.live = self.peak = 0
        self._sizes = {tensor.untyped_storage()._cdata: 0 for tensor in known}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if formula := FLOP_FORMULAS.get(func.overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=found)
        return tree_map_only(Tensor, self._add, found)

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
    """Build a training with fake weights, on a device that this machine need not have, and stay in their mode."""
    device, cfg = runtime.device, cfg.clone()
    cfg.defrost()
    cfg.MODEL.COMPILE = False  # compiling needs real tensors
    with torch.device("meta"):
        model = make_model(cfg, size.num_identities, size.num_cameras, pretrained=False)
        criterion = make_loss(cfg, size.num_identities, model.feature_widths)
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
    """Return the precision of the planned run, on the CPU: fake CUDA tensors need CUDA in the backward pass."""
    precision = cfg.SOLVER.PRECISION
    if precision == "auto":  # as utils.runtime decides for the device that is planned for
        precision = "fp32" if cfg.MODEL.DEVICE == "cpu" else "fp16"
    return Runtime(torch.device("cpu"), DTYPES[precision])


def measure_step(
    cfg: CfgNode, batch_size: int, size: DatasetSize, checkpointing: bool = False, runtime: Runtime | None = None
) -> StepCost:
    """Measure a training step with gradients from the step before, as in every step but the first."""
    with fake_training(cfg, runtime or planning_runtime(cfg), batch_size, size) as training:
        training.model.set_gradient_checkpointing(checkpointing)
        model, criterion = training.model, training.criterion
        known = [*model.buffers(), *criterion.buffers(), training.memory]
        parameters: Counter[str] = Counter()
        of_loss = ((f"loss.{name}", parameter) for name, parameter in criterion.named_parameters())
        for name, parameter in (*model.named_parameters(), *of_loss):
            parameters[name.split(".")[0]] += parameter.numel()
            parameter.grad = torch.zeros_like(parameter)
            known += [parameter, parameter.grad]
        with StepMeter(known) as meter:
            loss = training.compute_loss()
            forward_flops, activations = meter.flops, meter.live
            loss.backward()
        batch = training.clips.nbytes
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        return StepCost(parameters, trained, forward_flops, meter.flops, activations + batch, meter.peak + batch)


def count_feature_flops(cfg: CfgNode, batch_size: int, size: DatasetSize) -> int:
    """Return the operations of the test descriptors of a batch of training size; a mirror image counts as a clip."""
    with fake_training(cfg, planning_runtime(cfg), batch_size, size) as training, torch.no_grad(), StepMeter() as meter:
        training.model.eval()
        training.model(training.augment.normalize(training.clips), training.labels)
        return meter.flops


def compute_ideal_step_seconds(cfg: CfgNode, size: DatasetSize, runtime: Runtime) -> float:
    """Return the seconds of a training step at the rate of the device that matrix products reach."""
    own_clips = step_size(cfg) // runtime.processes.world_size
    return measure_step(cfg, own_clips, size).flops / measure_matrix_rate(runtime.device, runtime.dtype)


def step_size(cfg: CfgNode) -> int:
    """Return the clips that a step computes: a batch, or a part of it if gradients are accumulated."""
    return cfg.SOLVER.STAGE2.IMS_PER_BATCH // cfg.SOLVER.STAGE2.ACCUMULATION_STEPS


def size_of(dataset: DataSet) -> DatasetSize:
    """Count the training split of a data set."""
    identities = {tracklet.pid for tracklet in dataset.train}
    return DatasetSize(len(identities), len(dataset.train), len(train_cameras(dataset.train)))


def plan_run(cfg: CfgNode, tflops: float, numbers: tuple[int, int, int] | None = None) -> str:
    """Plan the run of a configuration, at a sustained rate in TFLOP/s, and lay it out as tables.

    ``numbers`` are identities, tracklets and cameras of the training split; without them the data set is read.
    """
    if numbers is None:
        dataset = make_dataset(cfg)
        size, pids = size_of(dataset), [tracklet.pid for tracklet in dataset.train]
    else:
        size = DatasetSize(*numbers)
        pids = [number * size.num_identities // size.num_tracklets for number in range(size.num_tracklets)]
    solver, clips = cfg.SOLVER.STAGE2, step_size(cfg)
    num_instances, num_parts, seed = cfg.DATALOADER.NUM_INSTANCE, solver.ACCUMULATION_STEPS, cfg.SOLVER.SEED
    num_steps = len(IdentityBatchSampler(pids, solver.IMS_PER_BATCH, num_instances, seed, num_parts=num_parts))
    costs = [measure_step(cfg, clips, size, checkpointing) for checkpointing in (False, True)]
    parameters = costs[0].parameters
    weights, trained = FLOAT32_BYTES * parameters.total(), FLOAT32_BYTES * costs[0].trained
    keeps_average = solver.EMA_DECAY > 0
    peaks = [(1 + keeps_average) * weights + (1 + ADAM_STATES) * trained + cost.peak for cost in costs]
    hours = [cost.flops * num_steps / tflops / 1e12 / 3600 for cost in costs]
    memory = {
        "weights and moving average" if keeps_average else "weights": [(1 + keeps_average) * weights] * 2,
        "state of Adam": [ADAM_STATES * trained] * 2,
        "gradients": [trained] * 2,
        "activations": [cost.activations for cost in costs],
        "peak of the step": peaks,
    }
    figures = [
        ("forward, TFLOP per clip", *(f"{cost.forward_flops / clips / 1e12:.3f}" for cost in costs)),
        ("training step, TFLOP per clip", *(f"{cost.flops / clips / 1e12:.3f}" for cost in costs)),
        ("steps per epoch", *[f"{num_steps:,}"] * 2),
        (f"minutes per epoch at {tflops:g} TFLOP/s", *(f"{60 * each:.1f}" for each in hours)),
        (f"hours of the run, {solver.MAX_EPOCHS} epochs", *(f"{solver.MAX_EPOCHS * each:.1f}" for each in hours)),
        *((f"{name}, GiB", *(f"{each / 2**30:.2f}" for each in values)) for name, values in memory.items()),
        ("smallest card", *map(choose_card, peaks)),
    ]
    precision = str(planning_runtime(cfg).dtype or torch.float32).removeprefix("torch.")
    parts = [(name, f"{number / 1e6:.2f}") for name, number in (*parameters.items(), ("all", parameters.total()))]
    title = f"{size.num_identities:,} identities, {size.num_tracklets:,} tracklets; "
    title += f"{clips} clips of {cfg.INPUT.SEQ_LEN} frames, {precision}"
    tables = format_table(["parameters", "million"], parts), format_table(["a step", "plain", "checkpointing"], figures)
    return "\n\n".join([title, *tables])


def choose_card(num_bytes: float) -> str:
    """Return the smallest card of CARDS_GIB that has room for these bytes and a reserve."""
    fitting = (card for card in CARDS_GIB if num_bytes <= (card - RESERVE_GIB) * 2**30)
    return next((f"{card} GiB" for card in fitting), f"over {CARDS_GIB[-1]} GiB")
