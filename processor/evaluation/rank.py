"""Rank every direction visually and by what else is asked for, and score the rankings."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from datasets.attributes import AttributeScheme
from datasets.tracklet import VIEWS, Case, Tracklet
from utils.distances import Distances, squared_distances
from utils.metrics import PROTOCOLS, Protocol, RankingResult, merge_rankings, require_match, score_queries
from utils.mistake import Mistake
from utils.processes import ALONE, Processes
from utils.refinement import add_mutual_neighbours, expand_queries, find_nearest, standardize_groups
from utils.reranking import find_neighbourhoods, re_ranked_distances

from .cache import FeatureCache
from .features import FeatureExtractor, FeatureSet
from .results import ATTRIBUTES_ALONE, NO_MASK, PLAIN, RERANKED, CaseResult, Evaluation, Mask, Method, Ranking

SIDES = ("query", "gallery")
Describe = Callable[[Case, str], FeatureSet]  # ``fetch_features`` of one run, with all but its last two arguments


class RankingOptions(NamedTuple):
    """Rankings to make beside the plain visual one."""

    test: CfgNode  # the section TEST of the configuration
    mask: Mask = NO_MASK
    # penalties of query and gallery, (Q, G), with what their attributes mean; None if the data have none to compare
    penalise: Callable[[FeatureSet, FeatureSet, AttributeScheme | None], Distances | None] = lambda *sides: None


def evaluate(
    extractor: FeatureExtractor,
    cases: Sequence[Case],
    make_loader: Callable[[Sequence[Tracklet]], DataLoader],
    options: RankingOptions,
    cache: FeatureCache | None = None,
    others: Sequence[Describe] = (),
) -> Evaluation:
    """Rank the gallery of every case for each of its queries, and score the rankings.

    Several processes share the tracklets, then the queries; every process returns the whole evaluation. A
    direction whose identities are masked is ranked, but not scored. Tracklets without a readable frame are left out.
    ``others`` are the other runs of an ensemble.
    """
    processes = extractor.runtime.processes
    results = []
    for case in cases:
        query, gallery = (fetch_features(extractor, make_loader, cache, case, side) for side in SIDES)
        unread = query.num_left_out + gallery.num_left_out, query.num_unreadable + gallery.num_unreadable
        if any(unread):
            case = replace(case, query=tuple(query.tracklets), gallery=tuple(gallery.tracklets))
        if others:
            query, gallery = (_join(own, case, side, others) for own, side in zip((query, gallery), SIDES, strict=True))
        rankings: dict[Method, RankingResult] = {}
        try:
            distances = compute_distances(query, gallery, case.scheme, options, processes)
            if not case.identities_masked:
                rankings = score_distances(distances, query, gallery, PROTOCOLS[case.protocol], processes)
        except Mistake as error:
            raise Mistake(f"{case.title}: {error}") from error
        results.append(CaseResult(case, distances, rankings, *unread))
    return Evaluation(results, extractor.normalize)


def fetch_features(
    extractor: FeatureExtractor,
    make_loader: Callable[[Sequence[Tracklet]], DataLoader],
    cache: FeatureCache | None,
    case: Case,
    side: str,
) -> FeatureSet:
    """Compute the features of one side of a case, "query" or "gallery", or read those that were kept."""
    tracklets: Sequence[Tracklet] = getattr(case, side)
    compute = partial(extractor.extract, make_loader(tracklets), tracklets, f"{case.title}: {side}")
    features = cache.fetch(f"{case.name}_{side}", tracklets, compute) if cache else compute()
    return features.to(extractor.runtime.device)


def _join(own: FeatureSet, case: Case, side: str, others: Sequence[Describe]) -> FeatureSet:
    """Join the descriptors of all runs of an ensemble, so that a squared distance is the mean of the runs' own.

    Each is scaled to length 1 before. What is unreadable for one run is so for all: ``case`` has only the rest.
    """
    sets = own, *(describe(case, side) for describe in others)
    if any(len(each.tracklets) < len(own.tracklets) for each in sets):  # which kept features do not know
        raise Mistake(
            f"{case.title}: {side}: files were damaged since features were kept: set TEST.KEEP_FEATURES False."
        )
    parts = [F.normalize(each.features) for each in sets]
    return replace(own, joined=torch.cat(parts, dim=1) / len(parts) ** 0.5)


def compute_distances(
    query: FeatureSet,
    gallery: FeatureSet,
    scheme: AttributeScheme | None,
    options: RankingOptions,
    processes: Processes = ALONE,
) -> dict[Method, Distances]:
    """Prepare the distances, (Q, G), by every method that the options ask for and the data allow.

    All processes call this. Process 0 re-ranks and finds neighbours, and sends the others what it found: on one machine
    they would take its cores.
    """
    rankings = _prepare_rankings(query, gallery, options.test, processes)
    distances = {Method(ranking): own for ranking, own in rankings.items()}
    penalty = options.penalise(query, gallery, scheme)
    if penalty is not None:
        distances |= {Method(each.ranking, options.mask): own.plus(penalty) for each, own in distances.items()}
        if options.mask.annotated:
            distances[Method(ATTRIBUTES_ALONE, options.mask)] = penalty
    return distances


def _prepare_rankings(
    query: FeatureSet, gallery: FeatureSet, test: CfgNode, processes: Processes
) -> dict[Ranking, Distances]:
    """Prepare the distances of every ranking, the plain one first."""
    q, g = query.features, gallery.features
    distances: dict[Ranking, Distances] = {PLAIN: squared_distances(q, g)}
    if query.joined is not None and gallery.joined is not None:
        ensemble = Ranking(f"ensemble of {len(test.ENSEMBLE) + 1} runs", "ensemble")
        distances[ensemble] = squared_distances(query.joined, gallery.joined)
    if test.RE_RANKING:
        k1, k2 = test.RE_RANKING_K1, test.RE_RANKING_K2
        neighbourhoods = processes.run_on_main(lambda: find_neighbourhoods(q, g, k1, k2))
        distances[RERANKED] = re_ranked_distances(q, g, neighbourhoods, test.RE_RANKING_LAMBDA)
    find, compare = partial(_find_on_main, processes), partial(_compare, test.FEAT_NORM)
    of_gallery = {"gallery": " (gallery)", "both": ""}
    if how := test.QUERY_EXPANSION:
        alpha = test.QUERY_EXPANSION_ALPHA if how == "weighted" else 0.0
        own = expand_queries(q, g, test.QUERY_EXPANSION_K, alpha, find)
        distances |= compare(f"query expansion ({how})", own, g)
    if sides := test.MUTUAL_NEIGHBOURS:
        own, others = add_mutual_neighbours(q, find=find) if sides == "both" else q, add_mutual_neighbours(g, find=find)
        distances |= compare(f"mutual neighbours{of_gallery[sides]}", own, others, sides)
    if sides := test.CAMERA_NORMALIZATION:
        groups = test.NORMALIZATION_GROUPS
        of_q, of_g = ((side.features, _number_groups(side, groups)) for side in (query, gallery))
        own = standardize_groups(*of_q, *(of_q if sides == "both" else of_g))
        distances |= compare(f"{groups}-normalised{of_gallery[sides]}", own, standardize_groups(*of_g, *of_g), sides)
    return distances


def _find_on_main(processes: Processes, query: Tensor, gallery: Tensor, k: int) -> Tensor:
    """Find neighbours in process 0 and send their numbers to the others, whose devices are others."""
    return processes.run_on_main(lambda: find_nearest(query, gallery, k).cpu()).to(query.device)


def _compare(normalize: bool, label: str, q: Tensor, g: Tensor, sides: str = "gallery") -> dict[Ranking, Distances]:
    """Compare refined features; those that are refined on both sides depend on the other queries."""
    name = Ranking(label, re.sub(r"\W+", "_", label).strip("_"), uses_query_set=sides == "both")
    return {name: squared_distances(*(F.normalize(side) if normalize else side for side in (q, g)))}


def _number_groups(side: FeatureSet, groups: str) -> np.ndarray:
    """Return the camera of each tracklet, -1 if unknown, or the number of its view, (n,)."""
    return np.array(side.camids if groups == "camera" else [VIEWS.index(each.view) for each in side.tracklets])


def score_distances(
    distances: Mapping[Method, Distances],
    query: FeatureSet,
    gallery: FeatureSet,
    protocol: Protocol,
    processes: Processes = ALONE,
) -> dict[Method, RankingResult]:
    """Score distances, (Q, G), by a protocol; each process ranks its share of the queries."""
    rows = processes.share(len(query.tracklets))
    ids = query.pids, gallery.pids, query.camids, gallery.camids
    results = {}
    for method, own in distances.items():
        scores = score_queries(own, *ids, protocol=protocol, within=rows)
        results[method] = require_match(merge_rankings(processes.gather_values(scores)), protocol)
    return results
