"""Features to rankings: every direction is ranked visually, with annotated attributes, and re-ranked, then scored."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch.utils.data import DataLoader

from datasets import Case, Tracklet
from datasets.attributes import AttributeScheme
from utils.distances import pairwise_distance
from utils.metrics import CROSS_CAMERA, PROTOCOLS, Protocol, QueryScores, RankingResult, score_queries, summarize_scores
from utils.processes import ALONE, Processes
from utils.reranking import re_rank

from .features import FeatureExtractor, FeatureSet
from .masking import MaskOptions, make_penalty
from .results import ATTRIBUTES_ALONE, NO_MASK, PLAIN, RERANKED, CaseResult, Evaluation, Method

logger = logging.getLogger(__name__)

ALL_ROWS = slice(None)


@dataclass(frozen=True)
class RankingOptions:
    """Rankings to make beside the plain visual one.

    Attributes:
        mask: The soft-biometric mask, if any.
        reranking: Whether to re-rank by k-reciprocal neighbours, too.
        k1, k2, lambda_value: As in ``utils.reranking.re_rank``.
    """

    mask: MaskOptions = MaskOptions()
    reranking: bool = False
    k1: int = 20
    k2: int = 6
    lambda_value: float = 0.3


def evaluate(
    extractor: FeatureExtractor,
    cases: Sequence[Case],
    make_loader: Callable[[Sequence[Tracklet]], DataLoader],
    options: RankingOptions,
) -> Evaluation:
    """Rank the gallery of every case for each of its queries, and score the rankings.

    Several processes share the tracklets, then the queries; every process returns the whole evaluation.

    Args:
        extractor: Computes test descriptors; its model's mode is restored.
        cases: Directions to rank; one whose identities are masked is ranked, but not scored. Tracklets without a
            readable frame are left out of query and gallery.
        make_loader: Builds the loader of a side's clips.
        options: Rankings to make beside the visual one.
    """
    processes = extractor.runtime.processes
    results = []
    for case in cases:
        query = extractor.extract(make_loader(case.query), case.query, f"{case.title}: query")
        gallery = extractor.extract(make_loader(case.gallery), case.gallery, f"{case.title}: gallery")
        if num_left_out := query.num_left_out + gallery.num_left_out:
            case = replace(case, query=tuple(query.tracklets), gallery=tuple(gallery.tracklets))  # noqa: PLW2901
        distmats = compute_distances(query, gallery, case.scheme, options, processes.share(len(case.query)))
        if options.mask.needs_annotations and all(method.mask == NO_MASK for method in distmats):
            logger.warning(
                "%s: the data have no annotated attributes: only visual rows are reported. TEST.MASK predicted needs "
                "none.",
                case.title,
            )
        protocol = PROTOCOLS[case.protocol]
        rankings = {} if case.identities_masked else score_distances(distmats, query, gallery, protocol, processes)
        whole = {method: processes.gather_rows(distmat, len(case.query)) for method, distmat in distmats.items()}
        results.append(CaseResult(case, whole, rankings, num_left_out))
    return Evaluation(results)


def compute_distances(
    query: FeatureSet,
    gallery: FeatureSet,
    scheme: AttributeScheme | None,
    options: RankingOptions,
    rows: slice = ALL_ROWS,
) -> dict[Method, np.ndarray]:
    """Compute distance matrices (Q, G) by every method that the options ask for and the data allow.

    Re-ranking compares all queries with one another, so it is computed whole even if only some rows are wanted.

    Args:
        query, gallery: Features of both sides.
        scheme: What the tracklets' attributes mean; None for a data set without attributes.
        options: The methods.
        rows: Queries whose rows are returned.
    """
    base = {PLAIN: pairwise_distance(query.features[rows], gallery.features).numpy()}
    if options.reranking:
        base[RERANKED] = re_rank(query.features, gallery.features, options.k1, options.k2, options.lambda_value)[rows]
    distmats = {Method(ranking): distmat for ranking, distmat in base.items()}
    mask, penalty = make_penalty(query, gallery, scheme, options.mask)
    if penalty is not None:
        total = penalty.rows(rows).numpy()
        for ranking, distmat in base.items():
            distmats[Method(ranking, mask)] = distmat + total
        if mask.annotated:
            distmats[Method(ATTRIBUTES_ALONE, mask)] = total
    return distmats


def score_distances(
    distmats: Mapping[Method, np.ndarray],
    query: FeatureSet,
    gallery: FeatureSet,
    protocol: Protocol = CROSS_CAMERA,
    processes: Processes = ALONE,
) -> dict[Method, RankingResult]:
    """Score distance matrices (Q, G) by a protocol; each process holds and ranks the rows of its share of queries."""
    rows = processes.share(len(query.tracklets))
    ids = (query.pids[rows], gallery.pids, query.camids[rows], gallery.camids)
    results = {}
    for method, distmat in distmats.items():
        scores = processes.gather_values(score_queries(distmat, *ids, protocol=protocol))
        results[method] = summarize_scores(QueryScores.join(scores), len(gallery.tracklets), protocol)
    return results
