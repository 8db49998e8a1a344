"""From keys of the configuration to the processors' records."""

from torch import nn

from processor.attributes.masks import MaskOptions
from processor.build import make_extractor, make_ranking_options, make_training_options
from processor.evaluation.rank import RankingOptions
from processor.training.state import TrainingOptions
from utils.runtime import make_runtime


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


def test_training_options_are_the_configs(tiny_cfg):
    stage = "SOLVER.STAGE2"
    cfg = tiny_cfg(
        *(f"{stage}.MAX_EPOCHS", 7, f"{stage}.LOG_PERIOD", 11, f"{stage}.EVAL_PERIOD", 3),
        *(f"{stage}.CHECKPOINT_MINUTES", 9, f"{stage}.NON_FINITE_LOSS", "skip"),
        *(f"{stage}.IMS_PER_BATCH", 8, f"{stage}.ACCUMULATION_STEPS", 2),
        *("DATALOADER.MAX_BAD_FRACTION", 0.125, "DATASETS.VALIDATION_DIR", "split"),
    )
    assert make_training_options(cfg) == TrainingOptions(
        num_epochs=7,
        log_period=11,
        eval_period=3,
        keeps_best=True,
        checkpoint_minutes=9,
        accumulation_steps=2,
        skips_non_finite=True,
        max_bad_fraction=0.125,
    )


def test_the_extractor_flips_and_normalises_as_the_config_says(tiny_cfg):
    runtime, model = make_runtime("cpu", "fp32"), nn.Identity()
    for flip, normalize in ((True, False), (False, True)):
        extractor = make_extractor(tiny_cfg("TEST.FLIP", flip, "TEST.FEAT_NORM", normalize), model, runtime)
        assert (extractor.flip, extractor.normalize) == (flip, normalize)
        assert (extractor.model, extractor.runtime) == (model, runtime)
