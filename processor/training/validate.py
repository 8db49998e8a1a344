"""Score the model while it trains, on validation people, who may choose a checkpoint, or on test people."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch.utils.data import DataLoader
from yacs.config import CfgNode

from datasets.build import make_dataset, make_test_loader, train_cameras
from datasets.tracklet import Case, DataSet, Tracklet
from model import XTFCLIP
from utils.mistake import Mistake
from utils.runtime import Runtime
from utils.text import natural_key

from ..build import make_extractor, make_ranking_options
from ..evaluation.rank import evaluate
from ..evaluation.results import VISUAL
from ..report.tables import format_results, score_methods

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validation:
    """The people that a model is scored on while it trains."""

    cfg: CfgNode
    runtime: Runtime
    title: str  # of the table in the log
    cases: Sequence[Case]  # without masked ones
    make_loader: Callable[[Sequence[Tracklet]], DataLoader]

    def people(self) -> list[int | str]:
        return sorted({query.person for case in self.cases for query in case.query}, key=str)

    def __call__(self, model: XTFCLIP) -> float | None:
        """Evaluate a model and log the table; returns the visual mAP, 0..1, over all directions; None without one."""
        if not self.cases:
            logger.warning("All people are masked: nothing is scored. DATASETS.VALIDATION_FRACTION holds people out.")
            return None
        extractor, options = make_extractor(self.cfg, model, self.runtime), make_ranking_options(self.cfg)
        evaluation = evaluate(extractor, self.cases, self.make_loader, options)
        logger.info("%s\n%s", self.title, format_results(evaluation, score_methods(evaluation)))
        return evaluation.overall(VISUAL).mAP


def make_validation(cfg: CfgNode, dataset: DataSet, runtime: Runtime) -> Validation:
    """Validate on the people of DATASETS.VALIDATION_DIR, on those held out, or else on the test people."""
    folder = cfg.DATASETS.VALIDATION_DIR
    if folder:
        title = f"validation on the people of {folder}"
        cases = make_dataset(cfg, with_train=False, root=folder).cases
        trained = {str(tracklet.person) for tracklet in dataset.train}  # each table numbers its words anew
        people = {str(tracklet.person) for case in cases.values() for tracklet in case.query}
        if both := sorted(trained & people, key=natural_key):
            raise Mistake(
                f"{len(both)} people of DATASETS.VALIDATION_DIR {folder} are trained on, too (first: {both[0]}). Train "
                f"on other people: hold some out (DATASETS.VALIDATION_FRACTION), or set DATASETS.ROOT_DIR {folder}."
            )
    elif dataset.validation:
        title, cases = "validation on the people held out of training", dataset.validation
    else:
        title, cases = "monitoring: scores of the test people, which choose no checkpoint", dataset.cases
    scored = [case for case in cases.values() if not case.identities_masked]
    if folder and not scored:
        raise Mistake(f"All identities in DATASETS.VALIDATION_DIR {folder} are masked: name a copy that has them.")
    make_loader = partial(make_test_loader, cfg, cameras=train_cameras(dataset.train), processes=runtime.processes)
    return Validation(cfg, runtime, title, scored, make_loader)
