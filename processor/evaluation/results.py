"""Record an evaluation: which method ranked, one matching direction's outcome, and all directions together."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from datasets.tracklet import Case, Tracklet
from utils.distances import Distances
from utils.metrics import PROTOCOLS, Protocol, RankingResult, merge_rankings


class Ranking(NamedTuple):
    """The name of a way to rank the gallery, apart from attributes."""

    label: str  # as in the tables
    slug: str  # for file names; '' for the plain visual ranking
    uses_query_set: bool = False  # whether the ranking of a query depends on the other queries


class Mask(NamedTuple):
    """The name of a penalty for contradicting attributes."""

    label: str = ""  # as in the tables
    slug: str = ""  # for file names
    annotated: bool = False  # whether it reads annotations of the test set


PLAIN = Ranking("visual only", "")
RERANKED = Ranking("re-ranked", "reranked", uses_query_set=True)
ATTRIBUTES_ALONE = Ranking("attributes alone", "attributes_alone")  # the mask's penalty is the distance
NO_MASK = Mask()
ANNOTATED = Mask("annotated attributes", "annotated_attributes", annotated=True)
SOFT = Mask("annotated attributes, weighed by reliability", "soft_annotated_attributes", annotated=True)
PREDICTED = Mask("predicted attributes", "predicted_attributes")
ZERO_SHOT = Mask("zero-shot attributes", "zero_shot_attributes")


@dataclass(frozen=True)
class Method:
    """What computed a row of the results: a ranking, with or without a mask."""

    ranking: Ranking = PLAIN
    mask: Mask = NO_MASK

    def __str__(self) -> str:
        if not self.mask.label:
            return self.ranking.label
        joint = " + mask" if self.uses_pictures else ""
        return f"{self.ranking.label}{joint} ({self.mask.label})"

    @property
    def uses_pictures(self) -> bool:
        """Whether pictures are compared; by attributes alone, most distances are equal."""
        return self.ranking != ATTRIBUTES_ALONE

    @property
    def slug(self) -> str:
        """For file names; '' for the plain visual ranking."""
        return "".join(f"_{part}" for part in (self.ranking.slug, self.mask.slug) if part)


VISUAL = Method()


@dataclass(frozen=True)
class CaseResult:
    """One direction: its tracklets, its distances and, unless identities are masked, its scores."""

    case: Case  # with the tracklets that were ranked
    distances: dict[Method, Distances]  # (Q, G), the visual ones first; computed whenever they are looked at
    rankings: dict[Method, RankingResult]
    num_left_out: int = 0  # of both sides, as in ``FeatureSet``
    num_unreadable: int = 0  # likewise

    @property
    def protocol(self) -> Protocol:
        return PROTOCOLS[self.case.protocol]

    @cached_property
    def ids(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Identities of the queries, (Q,), and of the gallery, (G,), then their cameras, likewise."""
        sides = self.case.query, self.case.gallery
        q_pids, g_pids = (np.array([tracklet.pid for tracklet in side]) for side in sides)
        q_camids, g_camids = (np.array([tracklet.camid for tracklet in side]) for side in sides)
        return q_pids, g_pids, q_camids, g_camids

    def matches(self, index: int) -> np.ndarray:
        """Mark the gallery entries of a query's identity, (G,), bool."""
        q_pids, g_pids, _, _ = self.ids
        return g_pids == q_pids[index]

    def kept(self, index: int) -> np.ndarray:
        """Mark the gallery entries that the protocol does not leave out of the ranking of a query, (G,), bool."""
        q_pids, g_pids, q_camids, g_camids = self.ids
        return ~self.protocol.leaves_out(q_pids[index], q_camids[index], g_pids, g_camids)

    def valid_queries(self, method: Method) -> list[Tracklet]:
        """The queries that count in a method's scores, in the order of its per-query arrays."""
        return [self.case.query[index] for index in np.flatnonzero(self.rankings[method].valid_queries)]


@dataclass(frozen=True)
class Evaluation:
    """All directions that were asked for."""

    cases: list[CaseResult]
    unit_length: bool = True  # of the descriptors (TEST.FEAT_NORM)
    chosen_on: Collection[int | str] = ()  # people whose scores chose the checkpoint

    def scored(self) -> list[CaseResult]:
        """The directions whose identities are not masked, so that they have scores."""
        return [result for result in self.cases if not result.case.identities_masked]

    def masked(self) -> list[CaseResult]:
        """The directions that were ranked, but cannot be scored."""
        return [result for result in self.cases if result.case.identities_masked]

    def protocols(self) -> list[Protocol]:
        return list(dict.fromkeys(result.protocol for result in self.scored()))

    def methods(self) -> list[Method]:
        """Methods that at least one direction was ranked by, the visual ones first."""
        methods = dict.fromkeys(method for result in self.cases for method in result.distances)
        return sorted(methods, key=lambda method: method.mask != NO_MASK)

    def scored_rankings(self) -> Iterator[tuple[Method, CaseResult, RankingResult]]:
        """Yield each method with every scored direction that it ranked, and the scores."""
        for method in self.methods():
            for result in self.scored():
                if method in result.rankings:
                    yield method, result, result.rankings[method]

    def ranked_by(self, method: Method) -> list[CaseResult]:
        """The directions that were ranked by a method: annotated attributes may be missing in some."""
        return [result for result in self.cases if method in result.distances]

    def overall(self, method: Method) -> RankingResult:
        """Merge the scored directions, each weighted by the number of its queries that count."""
        return merge_rankings([result.rankings[method] for result in self.scored()])
