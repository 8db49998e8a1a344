"""Score the model while it trains, on validation people, who may choose a checkpoint, or on test people."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from yacs.config import CfgNode

from datasets.build import make_dataset, make_test_loader, train_cameras
from datasets.readers.dataset import DataSet
from datasets.tracklet import Case
from model import XTFCLIP
from utils.mistake import Mistake
from utils.runtime import Runtime

from ..build import make_extractor, make_ranking_options
from ..evaluation.rank import evaluate
from ..evaluation.results import VISUAL
from ..report.tables import format_results, score_methods

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validation:
    """Scores a model in training."""

    cfg: CfgNode
    runtime: Runtime
    cases: Sequence[Case]  # that can be scored; none if all have masked identities
    cameras: dict[int, int]  # index of each training camera in the model, by camid
    people: str  # heading of the table

    def __call__(self, model: XTFCLIP) -> float | None:
        """Evaluate a model and log the table; returns the visual mAP, 0..1, over all directions; None without one."""
        if not self.cases:
            logger.warning(
                "The test identities are masked, so nothing is scored: hold people out (DATASETS.VALIDATION_FRACTION)."
            )
            return None
        make_loader = partial(make_test_loader, self.cfg, cameras=self.cameras, processes=self.runtime.processes)
        extractor = make_extractor(self.cfg, model, self.runtime)
        evaluation = evaluate(extractor, self.cases, make_loader, make_ranking_options(self.cfg))
        logger.info("%s\n%s", self.people, format_results(evaluation, score_methods(evaluation)))
        return evaluation.overall(VISUAL).mAP


def make_validation(cfg: CfgNode, dataset: DataSet, runtime: Runtime) -> Validation:
    """Choose the people to score: those of DATASETS.VALIDATION_DIR, those held out, or else the test people."""
    folder = cfg.DATASETS.VALIDATION_DIR
    if folder:
        people = f"validation on the people of {folder}"
        cases = make_dataset(cfg, with_train=False, root=folder).cases
        _require_other_people(cases.values(), dataset, folder)
    elif dataset.validation:
        people, cases = "validation on the people held out of training", dataset.validation
    else:
        people, cases = "monitoring: scores of the test people, which choose no checkpoint", dataset.cases
    scored = [case for case in cases.values() if not case.identities_masked]
    if folder and not scored:
        raise Mistake(
            f"DATASETS.VALIDATION_DIR {folder} has masked identities, so nobody can be scored: hold out training "
            "people instead (DATASETS.VALIDATION_FRACTION)."
        )
    return Validation(cfg, runtime, scored, train_cameras(dataset.train), people)


def _require_other_people(cases: Iterable[Case], dataset: DataSet, folder: str) -> None:
    """Raise Mistake if somebody in a validation query is trained on."""
    trained = {tracklet.pid for tracklet in dataset.train}
    if both := sorted(trained & {tracklet.pid for case in cases for tracklet in case.query}):
        raise Mistake(
            f"{len(both)} people of DATASETS.VALIDATION_DIR {folder} are trained on, too (first: {both[0]}). Train on "
            f"other people: hold some out (DATASETS.VALIDATION_FRACTION), or set DATASETS.ROOT_DIR {folder}."
        )
