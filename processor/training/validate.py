"""Score the model while it trains, on validation people, who may choose a checkpoint, or on test people."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from yacs.config import CfgNode

from datasets import Case, DataSet, make_dataset, make_test_loader, train_cameras, warn_of_equal_clips
from model import XTFCLIP
from utils.mistake import Mistake
from utils.runtime import Runtime

from ..build import make_extractor, make_ranking_options
from ..evaluation.rank import evaluate
from ..evaluation.results import VISUAL
from ..report import format_results

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validation:
    """Scores a model in training.

    Attributes:
        cfg: INPUT.*, TEST.* and DATALOADER.*.
        runtime: Device, precision and processes.
        cases: Directions that can be scored; none if all have masked identities.
        cameras: Index of each training camera in the model, by camid.
        people: Whose scores these are, for the heading of the table.
    """

    cfg: CfgNode
    runtime: Runtime
    cases: Sequence[Case]
    cameras: dict[int, int]
    people: str

    def __call__(self, model: XTFCLIP) -> float | None:
        """Evaluate a model and log the table; returns the visual mAP, 0..1, over all directions; None without one."""
        if not self.cases:
            logger.warning("The test identities are masked: there is nothing to score. See DATASETS.VALIDATION_DIR.")
            return None
        make_loader = partial(make_test_loader, self.cfg, cameras=self.cameras, processes=self.runtime.processes)
        extractor = make_extractor(self.cfg, model, self.runtime)
        evaluation = evaluate(extractor, self.cases, make_loader, make_ranking_options(self.cfg))
        logger.info("%s\n%s", self.people, format_results(evaluation))
        return evaluation.overall(VISUAL).mAP


def make_validation(cfg: CfgNode, dataset: DataSet, runtime: Runtime) -> Validation:
    """Choose the people to score: those of DATASETS.VALIDATION_DIR or, if that is empty, the test people.

    Args:
        cfg: The run's configuration.
        dataset: The data set that is trained on.
        runtime: Device, precision and processes.
    Raises:
        FileNotFoundError, ValueError: If the validation split cannot be read, or holds people who are trained on.
    """
    people = "monitoring: scores of the test people, which choose no checkpoint"
    scored = dataset
    if cfg.DATASETS.VALIDATION_DIR:
        scored = make_dataset(cfg, with_train=False, root=cfg.DATASETS.VALIDATION_DIR)
        _require_other_people(scored, dataset, cfg)
        people = f"validation on the people of {cfg.DATASETS.VALIDATION_DIR}"
    cases = [case for case in scored.cases.values() if not case.identities_masked]
    if cfg.DATASETS.VALIDATION_DIR and not cases:
        raise Mistake(
            f"DATASETS.VALIDATION_DIR {cfg.DATASETS.VALIDATION_DIR} has masked identities, so nobody can be scored: "
            "make a split with `python -m tools.make_validation_split`."
        )
    warn_of_equal_clips(cfg, cases)
    return Validation(cfg, runtime, cases, train_cameras(dataset.train), people)


def _require_other_people(validation: DataSet, dataset: DataSet, cfg: CfgNode) -> None:
    """Raise ValueError if somebody in a validation query is trained on."""
    trained = {tracklet.pid for tracklet in dataset.train}
    queried = {tracklet.pid for case in validation.cases.values() for tracklet in case.query}
    if both := sorted(trained & queried):
        raise Mistake(
            f"{len(both)} people of DATASETS.VALIDATION_DIR {cfg.DATASETS.VALIDATION_DIR} are trained on, too (first: "
            f"{both[0]}). Train on the split's own training people: DATASETS.ROOT_DIR {cfg.DATASETS.VALIDATION_DIR}."
        )
