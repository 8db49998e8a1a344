"""Build the processors' records from a config: training state, feature extractor, and the options of both loops."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor
from yacs.config import CfgNode

from configs import Role, values_of
from datasets.build import make_memory_loader, make_test_loader, make_test_transform, train_cameras
from datasets.clips.decoding import DECODER
from datasets.tracklet import DataSet, Tracklet, label_map
from loss import make_loss
from model import XTFCLIP, make_model
from model.text_space import open_text_space
from solver import format_groups, make_optimizer, make_schedule
from utils.runtime import Runtime

from .attributes.heads import find_heads, predict_columns
from .attributes.masks import Predict, annotated_penalty, predicted_penalty
from .attributes.zero_shot import encode_words, find_zero_shot_heads
from .evaluation.cache import FeatureCache, hash_code, hash_weights
from .evaluation.features import FeatureExtractor, FeatureSet
from .evaluation.open_run import TrainedRun
from .evaluation.rank import Describe, RankingOptions, fetch_features
from .evaluation.results import ANNOTATED, PREDICTED, SOFT, ZERO_SHOT, Mask
from .report.maps import MakeMaps, map_queries
from .training.state import TrainingState

logger = logging.getLogger(__name__)


def make_training_state(cfg: CfgNode, dataset: DataSet, runtime: Runtime, resume: bool = False) -> TrainingState:
    """Build model, losses and solver for a data set; ``build_memory`` or ``TrainingState.restore`` adds CLIP memory."""
    pids = list(label_map(tracklet.pid for tracklet in dataset.train))
    camids = list(train_cameras(dataset.train))
    names = {each.camid: each.camera for each in dataset.train}
    cameras = ", ".join(str(names[camid]) for camid in camids)
    logger.info("%d identities, %d tracklets, cameras [%s]", len(pids), len(dataset.train), cameras)
    model = make_model(cfg, len(pids), len(camids), pretrained=not resume).to(runtime.device)
    criterion = make_loss(cfg, len(pids), model.feature_widths).to(runtime.device)
    optimizer = make_optimizer(cfg, model, criterion)
    logger.info("Parameters:\n%s\nLoss: %s", format_groups(cfg, model, criterion), criterion.formula())
    if not runtime.processes.is_main:  # the slices of a batch need different dropout masks
        torch.manual_seed(cfg.SOLVER.SEED + runtime.processes.rank)
    return TrainingState(
        cfg=cfg,
        model=model,
        criterion=criterion,
        optimizer=optimizer,
        schedule=make_schedule(cfg, optimizer),
        runtime=runtime,
        memory=torch.empty(0, model.encoder.projected_width, device=runtime.device),
        pids=pids,
        camids=camids,
        data_hash=hash_tracklets(dataset.train),
        describe_people=partial(build_memory, cfg, dataset, model, runtime, sampling="test"),
        camera_words=[dataset.camera_words[camid] for camid in camids if dataset.camera_words],
    )


def build_memory(
    cfg: CfgNode, dataset: DataSet, model: XTFCLIP, runtime: Runtime, sampling: str = "consecutive"
) -> Tensor:
    """Compute CLIP memory, (K, P), float32, by the model as it is; row k is that of label k (docs/method.md section 5).

    It is the mean over all clips, then over the tracklets of each identity, without camera and frame embeddings. With
    ``sampling`` "test", one clip stands for a tracklet.
    """
    loader, tracklets = make_memory_loader(cfg, dataset, runtime.processes, sampling), dataset.train
    extractor, max_bad_fraction = make_extractor(cfg, model, runtime), cfg.DATALOADER.MAX_BAD_FRACTION
    features = extractor.average_over_tracklets(
        lambda clips, camids: model.encode_memory(clips), loader, tracklets, "CLIP memory", max_bad_fraction
    ).features
    label_of = label_map(tracklet.pid for tracklet in tracklets)
    labels = torch.tensor([label_of[tracklet.pid] for tracklet in tracklets], device=features.device)
    sums = torch.zeros(len(label_of), features.shape[1], device=features.device).index_add(0, labels, features)
    logger.info("CLIP memory of %d identities from %d tracklets", len(sums), len(tracklets))
    return sums / labels.bincount().unsqueeze(1)


def hash_tracklets(tracklets: Sequence[Tracklet]) -> str:
    """Return a hash of the tracklets' names and numbers of frames, which recognises the same data in another folder."""
    lines = "".join(
        f"{tracklet.pid}/{tracklet.name} {tracklet.camid} {len(tracklet.frame_paths)}\n" for tracklet in tracklets
    )
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def make_extractor(cfg: CfgNode, model: XTFCLIP, runtime: Runtime) -> FeatureExtractor:
    """Build the feature extractor around a model that is on the runtime's device."""
    return FeatureExtractor(model, make_test_transform(cfg), runtime, flip=cfg.TEST.FLIP, normalize=cfg.TEST.FEAT_NORM)


def make_feature_cache(
    cfg: CfgNode, model: XTFCLIP, runtime: Runtime, cameras: Mapping[int, int], folder: Path
) -> FeatureCache | None:
    """Build the cache of features in a folder; ``cameras`` holds the index of each camera in the model, by camid."""
    if not cfg.TEST.KEEP_FEATURES:
        return None
    origin = {
        "weights": hash_weights(model),
        "settings": descriptor_settings(cfg),
        "cameras": repr(sorted(cameras.items())),
        "precision": f"{runtime.dtype or torch.float32} on {runtime.device.type}{', compiled' * cfg.MODEL.COMPILE}",
        "code": hash_code(),
        "versions": f"timm {version('timm')}, decoder {DECODER}",
    }
    return FeatureCache(folder, origin, runtime.processes)


def make_ensemble(runs: Sequence[TrainedRun], dataset: DataSet, folder: Path) -> Sequence[Describe]:
    """Build what describes a side of a direction by each run, in its own configuration; ``folder`` keeps features."""
    describers = []
    for number, run in enumerate(runs, start=1):
        cameras = run.cameras_for(dataset)
        make_loader = partial(make_test_loader, run.cfg, cameras=cameras, processes=run.runtime.processes)
        cache = make_feature_cache(run.cfg, run.model, run.runtime, cameras, folder / f"ensemble_{number}")
        describers.append(partial(fetch_features, make_extractor(run.cfg, run.model, run.runtime), make_loader, cache))
    return describers


def descriptor_settings(cfg: CfgNode) -> str:
    """Name all settings without which descriptors of the same weights cannot be compared, in one line."""
    keys = values_of(cfg, Role.NETWORK, Role.FEATURES)
    if not keys["MODEL.VIEW_PROMPTS"]:  # feature files of before do not name it
        del keys["MODEL.VIEW_PROMPTS"]
    return ", ".join(f"{key} {value}" for key, value in keys.items())


def make_query_mapper(cfg: CfgNode, extractor: FeatureExtractor, cameras: Mapping[int, int]) -> MakeMaps:
    """Build what maps the hardest queries; a compiled model has no attention to read, so it maps none."""
    num_people = 0 if cfg.MODEL.COMPILE else cfg.TEST.NUM_MAPS
    make_loader = partial(make_test_loader, cfg, cameras=cameras)
    return partial(map_queries, extractor=extractor, make_loader=make_loader, num_people=num_people)


def make_ranking_options(cfg: CfgNode, trained: TrainedRun | None = None) -> RankingOptions:
    """Read which rankings are made beside the visual one.

    TEST.MASK may need the attribute classifiers of a trained run; in training (None) such a mask is left out.
    """
    test, kind = cfg.TEST, cfg.TEST.MASK
    if kind == "none" or (kind != "annotated" and not trained):
        return RankingOptions(test)
    if kind == "predicted" and trained:
        mask, predict = make_predictor(cfg, trained)
        return RankingOptions(test, mask, partial(predicted_penalty, predict=predict, weight=test.PREDICTED_PENALTY))
    weights = dict.fromkeys(test.MASK_ATTRIBUTES, test.MASK_PENALTY)
    if kind == "soft" and trained:
        _, scores = find_heads(trained)
        weights = {column: scores.get(column, {}).get("agreement", 0.0) * test.MASK_PENALTY for column in weights}
    if not weights:
        return RankingOptions(test)
    return RankingOptions(test, SOFT if kind == "soft" else ANNOTATED, partial(annotated_penalty, weights=weights))


def make_predictor(cfg: CfgNode, trained: TrainedRun) -> tuple[Mask, Predict]:
    """Open what predicts attributes: TEST.TEXT_TOWER, or the classifiers beside a run's checkpoint."""
    if not cfg.TEST.TEXT_TOWER:
        heads, _ = find_heads(trained)
        return PREDICTED, lambda side: predict_columns(heads, side.features, side.tracklets)
    space = open_text_space(cfg.TEST.TEXT_TOWER).to(trained.runtime.device)
    heads = find_zero_shot_heads(space, trained.checkpoint.parent)
    extractor = make_extractor(cfg, trained.model, trained.runtime)
    make_loader = partial(make_test_loader, cfg, processes=trained.runtime.processes)

    def predict(side: FeatureSet) -> Mapping[str, Tensor]:
        return predict_columns(heads, encode_words(side.tracklets, space, extractor, make_loader), side.tracklets)

    return ZERO_SHOT, predict
