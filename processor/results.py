"""The records of an evaluation: which method ranked, one matching direction's outcome, and all directions together."""

from dataclasses import dataclass

import numpy as np

from datasets import Case, Tracklet
from utils.metrics import PROTOCOLS, Protocol, RankingResult, merge_rankings


@dataclass(frozen=True)
class Method:
    """The method that computed a distance matrix."""

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
    """One direction: its tracklets, its distance matrices and, unless identities are masked, its scores.

    Attributes:
        case: Query and gallery tracklets that were ranked.
        distmats: (Q, G) by method, the visual one first.
        rankings: Scores by method; empty when the case's identities are masked.
        num_left_out: Tracklets of query and gallery that were not ranked, because none of their frames can be read.
    """

    case: Case
    distmats: dict[Method, np.ndarray]
    rankings: dict[Method, RankingResult]
    num_left_out: int = 0

    @property
    def protocol(self) -> Protocol:
        """The rules by which it was scored."""
        return PROTOCOLS[self.case.protocol]

    def valid_queries(self, method: Method) -> list[Tracklet]:
        """The queries that count in a method's scores, in the order of its per-query arrays."""
        return [self.case.query[index] for index in np.flatnonzero(self.rankings[method].valid_queries)]


@dataclass(frozen=True)
class Evaluation:
    """All directions that were asked for."""

    cases: list[CaseResult]

    def scored(self) -> list[CaseResult]:
        """The directions that have scores: those whose identities are not masked."""
        return [result for result in self.cases if not result.case.identities_masked]

    def masked(self) -> list[CaseResult]:
        """The directions that were ranked, but cannot be scored."""
        return [result for result in self.cases if result.case.identities_masked]

    def protocols(self) -> list[Protocol]:
        """Protocols of the scored directions, each once."""
        return list(dict.fromkeys(result.protocol for result in self.scored()))

    def methods(self) -> list[Method]:
        """Methods that at least one direction was ranked by, the visual ones first."""
        methods = dict.fromkeys(method for result in self.cases for method in result.distmats)
        return sorted(methods, key=lambda method: method.annotated_attributes)

    def ranked_by(self, method: Method) -> list[CaseResult]:
        """The directions that were ranked by a method: annotated attributes may be missing in some."""
        return [result for result in self.cases if method in result.distmats]

    def overall(self, method: Method) -> RankingResult:
        """Merge the scored directions, each weighted by the number of its queries that count."""
        return merge_rankings([result.rankings[method] for result in self.scored()])
