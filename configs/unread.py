"""Keys that the command at hand does not read: a value given to them there has no effect, which is said."""

import logging
from collections.abc import Sequence
from typing import Literal

from yacs.config import CfgNode

from .keys import DEFAULTS, leaves

logger = logging.getLogger(__name__)

Command = Literal["training", "evaluation"]

# Keys and whole sections (with a dot at the end) that only one command reads.
READ_BY_ONE: dict[Command, tuple[str, ...]] = {
    "training": (
        "DATALOADER.BALANCE_ALTITUDES",
        "DATALOADER.BOTH_VIEWS",
        "DATALOADER.NUM_INSTANCE",
        "INPUT.COLOR_JITTER",
        "INPUT.CONSISTENT_AUGMENTATION",
        "INPUT.CROP_PADDING",
        "INPUT.PROB",
        "INPUT.RE_PROB",
        "LOSS.",
        "MODEL.FRAME_LOSS_WEIGHT",
        "MODEL.FREEZE_BLOCKS",
        "MODEL.GRADIENT_CHECKPOINTING",
        "MODEL.I2T_LOSS_WEIGHT",
        "MODEL.ID_LOSS_WEIGHT",
        "MODEL.INIT_WEIGHT",
        "MODEL.PRETRAINED",
        "MODEL.PRETRAIN_PATH",
        "MODEL.PROMPT_DROPOUT",
        "MODEL.TRIPLET_LOSS_WEIGHT",
        "SOLVER.MARGIN",
        "SOLVER.SEED",
        "SOLVER.STAGE2.",
    ),
    "evaluation": (
        "DATASETS.EVAL_CASE",
        "TEST.AVERAGED_WEIGHTS",
        "TEST.CAMERA_MAP",
        "TEST.PREDICTED_PENALTY",
        "TEST.PREDICT_SENSITIVE",
        "TEST.RANKING_LENGTH",
        "TEST.TEXT_TOWER",
        "TEST.WEIGHT",
    ),
}


def unread_keys(cfg: CfgNode, command: Command, opts: Sequence[str] | None = None) -> list[str]:
    """Return the keys that differ from their defaults and that ``command`` does not read.

    Args:
        cfg: Configuration of the command.
        command: "training" or "evaluation".
        opts: KEY VALUE pairs of the command line; only these keys count. None counts all keys, files included.
    """
    of_others = tuple(key for other, keys in READ_BY_ONE.items() if other != command for key in keys)
    return [
        key
        for key, value in leaves(cfg)
        if value != DEFAULTS[key]
        and any(key.startswith(other) if other.endswith(".") else key == other for other in of_others)
        and (opts is None or key in opts[::2])
    ]


def warn_of_unread_keys(cfg: CfgNode, command: Command, opts: Sequence[str] | None = None) -> None:
    """Log one warning that names the keys of ``unread_keys``; nothing if there are none."""
    keys = unread_keys(cfg, command, opts)
    if keys:
        hint = " To train from a checkpoint, set MODEL.INIT_WEIGHT." if "TEST.WEIGHT" in keys else ""
        logger.warning("Keys without effect in %s: %s.%s", command, ", ".join(keys), hint)
