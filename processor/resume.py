"""Resuming a run: from which checkpoint, and whether its configuration still fits."""

import logging
from functools import partial
from pathlib import Path

from configs import CONFIG_FILE, changed_keys, get_cfg
from utils.checkpoint import read_checkpoint
from utils.entries import check_entries, text
from utils.old_files import set_aside
from utils.processes import may_be_restarted, was_restarted

from .state import BEST_CHECKPOINT, LAST_CHECKPOINT, PREVIOUS_CHECKPOINT, TrainingState, weights_beside

logger = logging.getLogger(__name__)

# Keys, and sections with a dot at the end, that a run cannot change: its weights mean something else with other values.
FIXED = (
    "MODEL.NAME",
    "MODEL.VIT.",
    "MODEL.STRIDE_SIZE",
    "MODEL.SIE_CAMERA",
    "MODEL.SIE_COE",
    "MODEL.POSITION_RESIZE",
    "MODEL.POOLING",
    "MODEL.FRAME_EMBEDDING",
    "MODEL.MEMORY_WEIGHTING",
    "MODEL.FEATURE_NECK",
    "LOSS.LABEL_SMOOTHING",
    "INPUT.SIZE_TRAIN",
    "INPUT.SEQ_LEN",
    "INPUT.PIXEL_MEAN",
    "INPUT.PIXEL_STD",
    "DATASETS.NAMES",
)
# Keys that change where a run reads, writes or computes, and not its curve.
WITHOUT_EFFECT = (
    "OUTPUT_DIR",
    "MODEL.DEVICE",
    "MODEL.PRETRAINED",
    "MODEL.PRETRAIN_PATH",
    "MODEL.INIT_WEIGHT",
    "MODEL.GRADIENT_CHECKPOINTING",
    "DATALOADER.NUM_WORKERS",
    "DATALOADER.CACHE_",
    "DATASETS.EVAL_CASE",
    "DATASETS.INDEX_DIR",
    "SOLVER.STAGE2.CHECKPOINT_MINUTES",
    "SOLVER.STAGE2.LOG_PERIOD",
    "SOLVER.STAGE2.MAX_EPOCHS",
    "TEST.",
)


def prepare_run(output: Path, resume: bool) -> bool:
    """Decide whether a run continues an earlier one in its folder; call this in process 0, before anything is built.

    It continues if that is asked for, or if torchrun restarted the job, and there is a last checkpoint. If the job may
    be restarted, checkpoints of an earlier run are moved aside at once: a restart would take them for its own.

    Args:
        output: Folder of the run.
        resume: Whether the command asks to continue (--resume).
    """
    if was_restarted():
        logger.warning("A process of this job died or failed, and torchrun restarted them all.")
    if resume or was_restarted():
        found = (output / LAST_CHECKPOINT).is_file()
        if not found:
            logger.warning("There is no %s in %s: training starts from the beginning.", LAST_CHECKPOINT, output)
        return found
    if may_be_restarted():
        keep_old_checkpoints(output)
    return False


def keep_old_checkpoints(output: Path) -> None:
    """Rename the checkpoints of an earlier run, so that a new run neither overwrites them nor is mistaken for them."""
    weights = [weights_beside(Path(name)).name for name in (LAST_CHECKPOINT, BEST_CHECKPOINT)]
    for name in (LAST_CHECKPOINT, BEST_CHECKPOINT, PREVIOUS_CHECKPOINT, *weights):
        if (output / name).is_file():
            old = set_aside(output / name)
            logger.warning(
                "%s belongs to an earlier run: renamed to %s (--resume would have continued it)", name, old.name
            )


def restore_last(state: TrainingState, output: Path) -> None:
    """Continue from the last checkpoint of a run or, if that is damaged, from the one before, with a warning.

    All processes call this. The damaged file is renamed, so that it does not take the place of the one before.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If both are damaged, or as ``check_config`` and ``TrainingState.restore``.
    """
    last, previous = output / LAST_CHECKPOINT, output / PREVIOUS_CHECKPOINT
    try:
        content = read_checkpoint(last)
    except ValueError as error:
        if not previous.is_file():
            raise
        logger.warning("%s The checkpoint before it is used: %s", error, previous)
        content = read_checkpoint(previous)
        state.processes.run_on_main(partial(set_aside, last, "damaged"))
        last = previous
    check_entries(content, last, {"config": text})
    check_config(content["config"], state.config, last)
    state.restore(content, last)


def check_config(saved: str, current: str, path: Path) -> None:
    """Name the keys in which a run now differs from its checkpoint.

    Args:
        saved: Configuration of the checkpoint, YAML.
        current: Configuration of the run that is to continue.
        path: The checkpoint, for messages.
    Raises:
        ValueError: If a key of FIXED differs.
    """
    changes = changed_keys(get_cfg(config_text=saved), get_cfg(config_text=current))
    fixed = {key: values for key, values in changes.items() if key.startswith(FIXED)}
    if fixed:
        raise ValueError(
            f"{path} cannot be resumed with {_list_changes(fixed)}: its weights would mean something else. Leave these "
            f"keys as they are in {CONFIG_FILE}, or begin a new run in another --output_dir with MODEL.INIT_WEIGHT."
        )
    others = {key: values for key, values in changes.items() if not key.startswith(WITHOUT_EFFECT)}
    if others:
        logger.warning(
            "This run goes on with other keys than it began with, so it ends otherwise: %s", _list_changes(others)
        )


def _list_changes(changes: dict[str, tuple[object, object]]) -> str:
    return ", ".join(f"{key} {now} (was {before})" for key, (before, now) in changes.items())
