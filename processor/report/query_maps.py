"""What the network looked at in the queries that it found hardest, for the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch.utils.data import DataLoader

from datasets.tracklet import Case, Tracklet

from ..evaluation.features import FeatureExtractor
from .attention_maps import NUM_LAYERS, explain_pair, overlay_clip
from .page_data import QueryMaps
from .survey import RankedQuery, Survey


@dataclass(frozen=True)
class QueryMapper:
    """Maps queries with the gallery tracklet that is ranked first for them.

    Attributes:
        extractor: The one that described them; its model must not be compiled.
        make_loader: Builds the loader of a few tracklets' clips.
        num_people: People of a direction whose worst query is mapped: those with the lowest average precision.
    """

    extractor: FeatureExtractor
    make_loader: Callable[[Sequence[Tracklet]], DataLoader]
    num_people: int

    def __call__(self, survey: Survey) -> dict[int, QueryMaps]:
        """Return the maps by the query's index in the case."""
        chosen = choose_hardest(survey, self.num_people)
        progress = self.extractor.runtime.show_progress(chosen, f"{survey.case.title}: maps", "query")
        return {query.index: self._map(survey.case, query) for query in progress}

    def _map(self, case: Case, ranked: RankedQuery) -> QueryMaps:
        query, match = case.query[ranked.index], case.gallery[ranked.nearest[0]]
        clips = self.make_loader([query, match]).dataset
        num_clips = len(clips) // 2  # type: ignore[arg-type]
        items = [clips[0], clips[num_clips]]  # the first clip of each
        pixels = [item["clips"] for item in items]
        num_layers = min(NUM_LAYERS, len(self.extractor.model.encoder.blocks))
        cameras = (int(items[0]["camid"]), int(items[1]["camid"]))
        explained = explain_pair(self.extractor, pixels[0], pixels[1], cameras, num_layers)
        best = int(explained.gallery_maps.flatten(1).amax(dim=1).argmax())
        match_frame = overlay_clip(pixels[1], explained.gallery_maps)[best]
        frames = overlay_clip(pixels[0], explained.query_maps)
        return QueryMaps(tuple(explained.query_weights.tolist()), tuple(frames), match_frame)


def choose_hardest(survey: Survey, num_people: int) -> list[RankedQuery]:
    """Return the worst query of each of the people with the lowest average precision.

    Queries for which the protocol leaves nothing of the gallery are passed over.
    """
    queries = [query for query in survey.ranked if query.nearest]
    return survey.one_of_each_person(sorted(queries, key=lambda query: query.average_precision))[:num_people]
