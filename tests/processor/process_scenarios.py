"""What the child processes of test_processes.py and of tests/test_torchrun.py do.

As a script, in one of two ways::

    python process_scenarios.py compare SCENARIO,... FOLDER KEY VALUE ...
    torchrun ... process_scenarios.py fail die|raise STEP OPTION ...

The first runs the same scenarios by one and by two processes, and exchanges by three, too, and writes what each of
them found to FOLDER. The second is ``train_main.py OPTION ...``, in which process 1 fails.
"""

import os
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import multiprocessing
from torch.optim.optimizer import register_optimizer_step_pre_hook
from yacs.config import CfgNode

from configs import get_cfg
from datasets.build import make_dataset, make_test_loader, make_train_loader, make_train_transform, train_cameras
from datasets.tracklet import DataSet
from processor.build import build_memory, make_extractor, make_ranking_options, make_training_state
from processor.evaluation.open_run import TrainedRun
from processor.evaluation.rank import evaluate, fetch_features
from processor.extract import extract_folder
from processor.training import monitor
from processor.training.state import TrainingState
from processor.training.train import train
from utils.processes import Processes, read_launch, stop_processes, was_restarted
from utils.runtime import Runtime, make_runtime

ROOT = Path(__file__).resolve().parents[2]
WORLD_SIZES = (1, 2, 3)
WITHOUT_DROPOUT = ("MODEL.PROMPT_DROPOUT", "0.0")
INGREDIENTS = (
    "INPUT.HUE_JITTER 0.3 INPUT.CHANGE_VIEWS True INPUT.LOW_RESOLUTION 0.5 DATALOADER.HARD_IDENTITIES True "
    "LOSS.ID_SCALE 16.0 MODEL.TUNING lora LOSS.MEMORY proxies MODEL.VIEW_PROMPTS 2 MODEL.HEADS shared"
)
FROZEN = "MODEL.FREEZE_BLOCKS 1 MODEL.GRADIENT_CHECKPOINTING True MODEL.SIE_CAMERA False MODEL.FRAME_EMBEDDING False"
# Configuration files and switches: the two methods, and what changes which parameters are trained.
MODELS: dict[str, tuple[str | None, Sequence[str]]] = {
    "xtfclip": (None, ()),
    "tfclip": (str(ROOT / "configs/tfclip_vit_b16_256x128.yml"), ()),
    "frozen": (None, FROZEN.split()),
    "ingredients": (None, INGREDIENTS.split()),
    "siglip": (None, ("MODEL.NAME", "vit_base_patch16_siglip_224", "MODEL.VIT.PROJ_DIM", "0")),
}


def compare(scenarios: Sequence[str], folder: Path, opts: Sequence[str]) -> None:
    """Fork one, then two, then three processes, so that what they import is imported once."""
    torch.set_num_threads(1)
    monitor.draw_curves = lambda rows, path: None  # takes longer than a tiny epoch
    for world_size in WORLD_SIZES:
        with socket.create_server(("localhost", 0)) as server:
            port = server.getsockname()[1]
        arguments = (world_size, port, scenarios, folder, opts)
        multiprocessing.start_processes(run_scenarios, arguments, nprocs=world_size, start_method="fork")


def run_scenarios(
    rank: int, world_size: int, port: int, scenarios: Sequence[str], folder: Path, opts: Sequence[str]
) -> None:
    """Connect a process as torchrun does, run the scenarios, and save what it found by scenario."""
    launch = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size}
    launch |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in launch.items()})
    runtime = make_runtime("cpu", "fp32")
    output = folder / f"{world_size}_{rank}"
    output.mkdir()
    found: dict[str, Any] = {"exchanges": exchange(runtime.processes, folder)}
    if world_size < max(WORLD_SIZES):
        if "dropout" in scenarios:
            cfg = get_cfg(None, [*opts, "MODEL.PROMPT_DROPOUT", "0.5"])
            found["dropout"] = [train_model(cfg, runtime, output) for _ in range(2)]
        if "bf16" in scenarios:
            found["bf16"] = train_model(get_cfg(None, [*opts, *WITHOUT_DROPOUT]), make_runtime("cpu", "bf16"), output)
        compute_in_double_precision()
        for name in scenarios:
            if name in MODELS:
                config_file, switches = MODELS[name]
                cfg = get_cfg(config_file, [*opts, *switches, *WITHOUT_DROPOUT])
                found[name] = train_model(cfg, runtime, output, evaluate_model if name.endswith("clip") else None)
    torch.save(found, folder / f"{output.name}.pt")
    stop_processes()


def compute_in_double_precision() -> None:
    """Make float64 the type of new tensors, and every cast to float32 one to float64.

    Several processes add up in another order than one does. In double precision, Adam's eps of 1e-8 is far above the
    rounding of gradients that are zero in theory, so rounding moves no weight; in float32 it moves some by whole steps.
    """
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double


def exchange(processes: Processes, folder: Path) -> dict[str, Any]:
    """Call every exchange of ``Processes`` with values that depend on the process."""
    rank = processes.rank
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]]) + 10 * rank  # (B, 2), B = 2
    rows.requires_grad_()
    halves = torch.full((2, 1, 3), 0.5 + rank, dtype=torch.bfloat16)
    batch, other = processes.gather_batch(rows, halves)
    factors = torch.arange(1.0, 1 + len(batch)).unsqueeze(1)  # of each row of the batch
    ((rank + 1) * factors * batch).sum().backward()
    marker = folder / f"first_of_{processes.world_size}"
    with processes.first_on_machine():
        found_by_others = marker.exists()
        marker.touch()
    return {
        "batch": batch.detach(),
        "other": other,
        "gradient": rows.grad,
        "labels": processes.gather_batch(torch.tensor([2 * rank, 2 * rank + 1]))[0],
        "sum": processes.sum_over(torch.tensor([rank + 1, 1])),
        "values": processes.gather_values({"rank": rank}),
        "of main": processes.run_on_main(lambda: f"from {rank}"),
        "found by others": found_by_others,
    }


def train_model(
    cfg: CfgNode,
    runtime: Runtime,
    output: Path,
    measure: Callable[[CfgNode, DataSet, Runtime, TrainingState], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Train as train_main does; returns what several processes could get wrong, and what ``measure`` finds before."""
    torch.manual_seed(cfg.SOLVER.SEED)
    dataset = make_dataset(cfg)
    loader = make_train_loader(cfg, dataset, runtime.processes)
    state = make_training_state(cfg, dataset, runtime)
    state.memory = build_memory(cfg, dataset, state.model, runtime)
    losses: list[dict[str, float]] = []
    gradients: list[dict[str, torch.Tensor]] = []
    state.criterion.register_forward_hook(
        lambda module, args, terms: losses.append({name: float(term.detach()) for name, term in terms.items()})
    )
    weights = list(state.model.named_parameters())
    state.optimizer.register_step_pre_hook(
        lambda *args: gradients.append({name: w.grad.clone() for name, w in weights if w.grad is not None})
    )
    # Of the same bits everywhere: training rounds otherwise in several processes, and near ties would rank otherwise.
    found_before = measure(cfg, dataset, runtime, state) if measure else {}
    train(state, loader, make_train_transform(cfg, runtime.processes), output, lambda model: 0.0)
    return {
        "memory": state.memory,
        "losses": losses,
        "first gradients": gradients[0],
        "model": state.model.state_dict(),
        "criterion": state.criterion.state_dict(),
        **found_before,
    }


def evaluate_model(cfg: CfgNode, dataset: DataSet, runtime: Runtime, state: TrainingState) -> dict[str, Any]:
    """Rank all directions as eval_main does."""
    extractor = make_extractor(cfg, state.model, runtime)
    cameras = train_cameras(dataset.train)
    make_loader = partial(make_test_loader, cfg, cameras=cameras, processes=runtime.processes)
    cases = list(dataset.cases.values())
    features = {
        f"{case.title}, {side}": extractor.extract(make_loader(tracklets), tracklets, side).features
        for case in cases
        for side, tracklets in (("query", case.query), ("gallery", case.gallery))
    }
    other = partial(fetch_features, replace(extractor, flip=not extractor.flip), make_loader, None)  # of an ensemble
    evaluation = evaluate(extractor, cases, make_loader, make_ranking_options(cfg), others=[other])
    distances, metrics = {}, {}
    for result in evaluation.cases:
        for method, own in result.distances.items():
            name = f"{result.case.title}, {method}"
            distances[name] = own.matrix()
            ranking = result.rankings[method]
            metrics[name] = {field.name: np.array(getattr(ranking, field.name)).tolist() for field in fields(ranking)}
    # As tools/extract_features.py does, in parts of four and one.
    trained = TrainedRun(state.model, runtime, tuple(state.camids), Path("none"), "the last", cfg)
    folder = Path(cfg.DATASETS.ROOT_DIR) / "case1_aerial_to_ground/gallery"
    described = torch.from_numpy(extract_folder(trained, folder, camera=0, part_size=4)[0]["feature"])
    return {"features": features, "distances": distances, "metrics": metrics, "described": described}


def fail(how: str, step: int, words: Sequence[str]) -> None:
    """Run train_main.py; process 1 dies by SIGKILL, or raises an error, before a step, unless torchrun restarted it."""
    steps = count(1)

    def fail_before_step(*args: object) -> None:
        if next(steps) == step and read_launch().rank == 1 and not was_restarted():
            if how == "raise":
                raise OSError("the disk of process 1 is gone")
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_pre_hook(fail_before_step)
    sys.argv[1:] = words
    runpy.run_path(str(ROOT / "train_main.py"), run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1] == "fail":
        fail(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
    else:
        compare(sys.argv[2].split(","), Path(sys.argv[3]), sys.argv[4:])
