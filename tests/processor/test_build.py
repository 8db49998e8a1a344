"""From keys of the configuration to the processors' records."""

from processor.attributes.masks import MaskOptions
from processor.build import make_ranking_options
from processor.evaluation.rank import RankingOptions


def test_ranking_options_are_the_configs(tiny_cfg):
    cfg = tiny_cfg(
        *("TEST.MASK_ATTRIBUTES", "('gender',)", "TEST.MASK_PENALTY", 2.5, "TEST.RE_RANKING", True),
        *("TEST.RE_RANKING_K1", 9, "TEST.RE_RANKING_K2", 3, "TEST.RE_RANKING_LAMBDA", 0.4),
    )
    mask = MaskOptions("annotated", ("gender",), 2.5)
    assert make_ranking_options(cfg) == RankingOptions(mask, True, 9, 3, 0.4)
    cfg = tiny_cfg(
        *("TEST.MASK", "predicted", "TEST.MASK_ATTRIBUTES", "()", "TEST.PREDICTED_PENALTY", 0.5),
        *("TEST.QUERY_EXPANSION", "weighted", "TEST.QUERY_EXPANSION_K", 7),
        *("TEST.QUERY_EXPANSION_ALPHA", 1.5, "TEST.MUTUAL_NEIGHBOURS", "both", "TEST.FEAT_NORM", False),
        *("TEST.CAMERA_NORMALIZATION", "gallery", "TEST.NORMALIZATION_GROUPS", "view"),
    )
    assert make_ranking_options(cfg) == RankingOptions(
        mask=MaskOptions("predicted", predicted_penalty=0.5),
        query_expansion="weighted",
        expansion_k=7,
        expansion_alpha=1.5,
        mutual_neighbours="both",
        camera_normalization="gallery",
        normalizes_by_view=True,
        unit_length=False,
    )
