"""Run a training or an evaluation: build all that the configuration names, and hand it over."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from yacs.config import CfgNode

from configs import describe_differences, dump_config, warn_of_unread_keys
from configs.load import CONFIG_FILE, KEPT_FEATURES, LAST_CHECKPOINT
from datasets.build import choose_cases, make_dataset, make_test_loader, make_train_loader, make_train_transform
from utils.commands import show
from utils.files import lock_folder, write_text
from utils.runtime import make_runtime, prepare_output, start_logging

from .build import (
    build_memory,
    make_ensemble,
    make_extractor,
    make_feature_cache,
    make_query_mapper,
    make_ranking_options,
    make_training_state,
)
from .estimate import compute_ideal_step_seconds, size_of
from .evaluation.open_run import choose_config, load_trained, open_ensemble
from .evaluation.rank import evaluate
from .report.tables import format_results, score_methods
from .report.write import write_report
from .training.checkpoints import has_checkpoint, keep_old_checkpoints, prepare_run, read_last, restore
from .training.train import train
from .training.validate import make_validation

logger = logging.getLogger(__name__)


def run_training(cfg: CfgNode, resume: bool, with_weights: bool, opts: Sequence[str], config_file: str | None) -> None:
    """Train into OUTPUT_DIR, from the last checkpoint if ``resume``, with weight files beside checkpoints if asked.

    ``cfg`` is that of the command line, with its ``opts`` and ``config_file``; without a file, all other keys are those
    of the checkpoint.
    """
    output = prepare_output(cfg.OUTPUT_DIR)
    with lock_folder(output), start_logging(output / "train.log"):
        last = read_last(output) if resume and has_checkpoint(output) else None
        if last and not config_file:
            cfg = choose_config(cfg, last.content, last.path, opts)
        logger.info("What differs from the recipe (%s holds all): %s", CONFIG_FILE, describe_differences(cfg))
        warn_of_unread_keys(cfg, "training", opts)
        runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
        processes = runtime.processes
        torch.manual_seed(cfg.SOLVER.SEED)
        resume = processes.run_on_main(partial(prepare_run, output, resume))
        with processes.first_on_machine():  # the first one lists the frames
            dataset = make_dataset(cfg)
            validation = make_validation(cfg, dataset, runtime)
        loader = make_train_loader(cfg, dataset, processes)
        state = make_training_state(cfg, dataset, runtime, resume=resume)
        state.with_weights, state.validation_people = with_weights, validation.people()
        if resume:
            restore(state, last or read_last(output))
            del last  # which holds the weights once more
        else:
            processes.run_on_main(partial(keep_old_checkpoints, output))
        processes.run_on_main(partial(write_text, dump_config(cfg), output / CONFIG_FILE))
        if not resume:
            state.memory = build_memory(cfg, dataset, state.model, runtime)
            state.save(output / LAST_CHECKPOINT)  # for CLIP memory all frames were decoded
        augment = make_train_transform(cfg, processes)
        measures_rate = cfg.SOLVER.STAGE2.MEASURE_RATE
        ideal = compute_ideal_step_seconds(cfg, size_of(dataset), runtime) if measures_rate else 0.0
        train(state, loader, augment, output, validation, ideal)
        logger.info("Done. Checkpoints, config and log are in %s", output)


def run_evaluation(cfg: CfgNode, results: str | None, opts: Sequence[str], config_file: str | None) -> None:
    """Open a trained run, evaluate the directions asked for, write the report and show its table.

    ``cfg``, ``opts`` and ``config_file`` are as in ``run_training``; ``results`` None is the folder in OUTPUT_DIR.
    """
    folder = prepare_output(results or Path(cfg.OUTPUT_DIR) / "results")
    with lock_folder(folder), start_logging(folder / "eval.log"):
        warn_of_unread_keys(cfg, "evaluation", opts)
        trained = load_trained(cfg, None if config_file else opts, config_file)
        cfg, processes = trained.cfg, trained.runtime.processes
        logger.info("What differs from the recipe: %s", describe_differences(cfg))
        ensemble = open_ensemble(trained)
        with processes.first_on_machine():  # the first one lists the frames
            dataset = trained.read_dataset(ensemble)
        cases, cameras = choose_cases(cfg, dataset), trained.cameras_for(dataset)
        make_loader = partial(make_test_loader, cfg, cameras=cameras, processes=processes)
        cache = make_feature_cache(cfg, trained.model, trained.runtime, cameras, folder / KEPT_FEATURES)
        extractor = make_extractor(cfg, trained.model, trained.runtime)
        others = make_ensemble(ensemble, dataset, folder / KEPT_FEATURES)
        evaluation = evaluate(extractor, cases, make_loader, make_ranking_options(cfg, trained), cache, others)
        choosers = (run.chosen_on for run in (trained, *ensemble) if run.trained_on == cfg.DATASETS.NAMES)
        evaluation = replace(evaluation, chosen_on=set(chain.from_iterable(choosers)))
        maps = make_query_mapper(cfg, extractor, cameras)
        scores = score_methods(evaluation)
        table = format_results(evaluation, scores)
        runs = ", ".join(f"{run.checkpoint} ({run.chosen})" for run in ensemble)
        origin = trained.origin | ({"ensemble with": runs} if runs else {})
        write = partial(write_report, origin=origin, save_distances=cfg.TEST.SAVE_DISTANCES, make_maps=maps)
        written = processes.run_on_main(partial(write, evaluation, scores, folder, cfg.TEST.RANKING_LENGTH))
        if scores:
            logger.info("results\n%s", table)
            if processes.is_main:
                show(table, is_logged=True)
        else:
            logger.warning(
                "The test identities are masked (the challenge's copy): scores would mean nothing and are left out. "
                "The submission is written; the challenge's server scores it."
            )
        logger.info("Written:\n%s", "\n".join(f"  {path}" for path in written))
