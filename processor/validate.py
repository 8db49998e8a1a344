"""Validation during training: the evaluation of every direction that can be scored, as one number."""

import logging
from functools import partial

from yacs.config import CfgNode

from datasets import Benchmark, make_test_loader, train_cameras
from model import XTFCLIP
from utils.runtime import Runtime

from .build import make_extractor, make_ranking_options
from .evaluate import evaluate
from .report import format_results
from .results import VISUAL

logger = logging.getLogger(__name__)


def validate(cfg: CfgNode, dataset: Benchmark, runtime: Runtime, model: XTFCLIP) -> float:
    """Evaluate a model in training and log the table; returns the visual mAP, 0..1, over all directions together.

    Directions whose identities are masked are left out; the result is 0 if no other is left.
    """
    cases = [case for case in dataset.cases.values() if not case.identities_masked]
    if not cases:
        logger.warning("The test identities are masked: nothing to validate on; the best checkpoint is the last one.")
        return 0.0
    make_loader = partial(make_test_loader, cfg, cameras=train_cameras(dataset.train), processes=runtime.processes)
    evaluation = evaluate(make_extractor(cfg, model, runtime), cases, make_loader, make_ranking_options(cfg))
    logger.info("validation\n%s", format_results(evaluation))
    return evaluation.overall(VISUAL).mAP
