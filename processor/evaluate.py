"""Features to rankings: every direction, ranked visually, with annotated attributes, and re-ranked."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn
from yacs.config import CfgNode

from datasets import Case, make_test_loader
from datasets.attributes import AttributeScheme
from datasets.clips.transforms import Normalizer
from utils.distances import pairwise_distance
from utils.metrics import CROSS_CAMERA, PROTOCOLS, Protocol, RankingResult, evaluate_ranking, merge_rankings
from utils.reranking import re_rank
from utils.runtime import Runtime

from .features import FeatureSet, extract_features
from .masking import attribute_penalty

logger = logging.getLogger(__name__)

RANK_LIMIT = 50


@dataclass(frozen=True)
class Method:
    """How a distance matrix came about."""

    reranked: bool
    annotated_attributes: bool

    def __str__(self) -> str:
        base = "re-ranked" if self.reranked else "visual only"
        return f"{base} + mask (annotated attributes)" if self.annotated_attributes else base

    @property
    def slug(self) -> str:
        """For file names; '' for the plain visual ranking."""
        parts = ["reranked"] * self.reranked + ["annotated_attributes"] * self.annotated_attributes
        return "".join(f"_{part}" for part in parts)


VISUAL = Method(reranked=False, annotated_attributes=False)


@dataclass(frozen=True)
class CaseResult:
    """One direction: its features, its distance matrices and, unless identities are masked, its scores.

    Attributes:
        case: Query and gallery tracklets.
        distmats: (Q, G) by method, the visual one first.
        rankings: Scores by method; empty when the test identities are masked.
    """

    case: Case
    distmats: dict[Method, np.ndarray]
    rankings: dict[Method, RankingResult]

    @property
    def protocol(self) -> Protocol:
        """The rules by which it was scored."""
        return PROTOCOLS[self.case.protocol]


@dataclass(frozen=True)
class Evaluation:
    """All directions that were asked for."""

    cases: list[CaseResult]
    identities_masked: bool

    def protocols(self) -> list[Protocol]:
        """Protocols of the directions, each once."""
        return list(dict.fromkeys(case.protocol for case in self.cases))

    def methods(self) -> list[Method]:
        """Methods that at least one direction was ranked by, the visual ones first."""
        methods = dict.fromkeys(method for case in self.cases for method in case.distmats)
        return sorted(methods, key=lambda method: method.annotated_attributes)

    def ranked_by(self, method: Method) -> list[CaseResult]:
        """The directions that were ranked by a method: annotated attributes may be missing in some."""
        return [case for case in self.cases if method in case.distmats]

    def overall(self, method: Method) -> RankingResult:
        """The directions together, each weighed by its number of queries that count."""
        return merge_rankings([case.rankings[method] for case in self.cases])


def evaluate(
    cfg: CfgNode,
    model: nn.Module,
    cases: Sequence[Case],
    cameras: Mapping[int, int],
    runtime: Runtime,
    identities_masked: bool = False,
) -> Evaluation:
    """Rank the gallery of every case for each of its queries, and score the rankings.

    Args:
        cfg: TEST.* says how.
        model: Gives test descriptors; its mode is restored.
        cases: Directions to rank.
        cameras: Training's camera indices by camid.
        runtime: Device and precision.
        identities_masked: Do not score: query and gallery folders of the same number are not the same person.
    """
    results = []
    for case in cases:
        query = _describe(cfg, model, case.query, cameras, runtime, f"{case.title}: query")
        gallery = _describe(cfg, model, case.gallery, cameras, runtime, f"{case.title}: gallery")
        distmats = compute_distances(cfg, query, gallery, case.scheme)
        if cfg.TEST.MASK_ATTRIBUTES and not any(method.annotated_attributes for method in distmats):
            logger.warning("%s: the data have no annotated attributes: only visual rows are reported.", case.title)
        rankings = {} if identities_masked else score(distmats, query, gallery, PROTOCOLS[case.protocol])
        results.append(CaseResult(case, distmats, rankings))
    return Evaluation(results, identities_masked)


def compute_distances(
    cfg: CfgNode, query: FeatureSet, gallery: FeatureSet, scheme: AttributeScheme | None
) -> dict[Method, np.ndarray]:
    """Distance matrices (Q, G) by every method that the configuration switches on and the data allow.

    Args:
        cfg: TEST.* says which methods.
        query, gallery: Features of both sides.
        scheme: What the tracklets' attributes mean; None for a data set without attributes.
    """
    base = {False: pairwise_distance(query.features, gallery.features).numpy()}
    if cfg.TEST.RE_RANKING:
        base[True] = re_rank(
            query.features,
            gallery.features,
            k1=cfg.TEST.RE_RANKING_K1,
            k2=cfg.TEST.RE_RANKING_K2,
            lambda_value=cfg.TEST.RE_RANKING_LAMBDA,
        )
    distmats = {Method(reranked, annotated_attributes=False): distmat for reranked, distmat in base.items()}
    if not cfg.TEST.MASK_ATTRIBUTES:
        return distmats
    if scheme is None or any(tracklet.attributes is None for side in (query, gallery) for tracklet in side.tracklets):
        return distmats
    penalty = attribute_penalty(
        query.tracklets, gallery.tracklets, scheme, cfg.TEST.MASK_ATTRIBUTES, cfg.TEST.MASK_PENALTY
    )
    for reranked, distmat in base.items():
        distmats[Method(reranked, annotated_attributes=True)] = distmat + penalty
    return distmats


def score(
    distmats: Mapping[Method, np.ndarray], query: FeatureSet, gallery: FeatureSet, protocol: Protocol = CROSS_CAMERA
) -> dict[Method, RankingResult]:
    """Score every distance matrix by a protocol."""
    ids = (query.pids, gallery.pids, query.camids, gallery.camids)
    return {
        method: evaluate_ranking(distmat, *ids, max_rank=RANK_LIMIT, protocol=protocol)
        for method, distmat in distmats.items()
    }


def _describe(
    cfg: CfgNode, model: nn.Module, tracklets: Sequence, cameras: Mapping[int, int], runtime: Runtime, description: str
) -> FeatureSet:
    return extract_features(
        model,
        make_test_loader(cfg, tracklets, cameras),
        tracklets,
        Normalizer(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD),
        runtime,
        flip=cfg.TEST.FLIP,
        normalize=cfg.TEST.FEAT_NORM,
        description=description,
    )
