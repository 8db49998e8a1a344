"""Build the network that a configuration describes."""

import logging
from collections.abc import Mapping
from typing import Any, cast

import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from yacs.config import CfgNode

from utils.commands import first_line
from utils.mistake import MissingFile, Mistake

from .encoder import TIMM_NAMES, ClipVideoEncoder, build_vit
from .tuning import add_tuning
from .weights import load_clip_weights, load_weights
from .xtfclip import XTFCLIP

logger = logging.getLogger(__name__)


def make_model(cfg: CfgNode, num_classes: int, num_cameras: int, pretrained: bool = True) -> XTFCLIP:
    """Build the network that a configuration describes, for K training identities and so many training cameras.

    It starts from the weights that MODEL.INIT_WEIGHT, or else MODEL.PRETRAINED and MODEL.PRETRAIN_PATH name;
    ``pretrained`` False leaves them out, where a checkpoint is loaded right after.
    """
    init_weight = cfg.MODEL.INIT_WEIGHT if pretrained else ""
    pretrained = pretrained and not init_weight
    if pretrained and not cfg.MODEL.PRETRAINED:
        logger.warning("MODEL.PRETRAINED is False: the encoder starts from random weights, not from CLIP.")
    pretrained = pretrained and cfg.MODEL.PRETRAINED
    from_hub = pretrained and not cfg.MODEL.PRETRAIN_PATH
    if from_hub and any(cfg.MODEL.VIT.values()):
        raise Mistake(
            "MODEL.VIT changes the dimensions of the ViT, so there are no weights for it on the hub: set "
            "MODEL.PRETRAIN_PATH to a file, or train from random weights with MODEL.PRETRAINED False."
        )
    vit = _build_vit(cfg, from_hub)
    if pretrained:
        _compare_pixel_values(cfg, cast(dict[str, Any], vit.pretrained_cfg))
    encoder = ClipVideoEncoder(
        vit,
        image_size=cfg.INPUT.SIZE_TRAIN,
        stride=cfg.MODEL.STRIDE_SIZE,
        num_cameras=num_cameras if cfg.MODEL.SIE_CAMERA else 0,
        num_frames=cfg.INPUT.SEQ_LEN if cfg.MODEL.FRAME_EMBEDDING else 0,
        camera_coefficient=cfg.MODEL.SIE_COE,
        position_mode=cfg.MODEL.POSITION_RESIZE,
        num_prompts=cfg.MODEL.VIEW_PROMPTS,
    )
    encoder.grid_for(*cfg.INPUT.SIZE_TEST)  # refuses other sizes before the run starts
    if pretrained and cfg.MODEL.PRETRAIN_PATH:
        load_clip_weights(encoder, cfg.MODEL.PRETRAIN_PATH)
    add_tuning(encoder, cfg.MODEL.TUNING)
    encoder.freeze(cfg.MODEL.FREEZE_BLOCKS, cfg.MODEL.FREEZE_EMBEDDINGS)
    model = XTFCLIP(
        encoder,
        num_classes=num_classes,
        pooling=cfg.MODEL.POOLING,
        neck=cfg.MODEL.FEATURE_NECK,
        memory_weighting=cfg.MODEL.MEMORY_WEIGHTING,
        prompt=cfg.LOSS.MEMORY == "prompt",
        prompt_dropout=cfg.MODEL.PROMPT_DROPOUT,
        descriptor=cfg.TEST.NECK_FEAT,
        id_scale=cfg.LOSS.ID_SCALE,
        heads=cfg.MODEL.HEADS,
    )
    model.set_gradient_checkpointing(cfg.MODEL.GRADIENT_CHECKPOINTING)
    if init_weight:
        load_weights(model, init_weight, starts_run=True)
    if cfg.MODEL.COMPILE:
        use_cuda = cfg.MODEL.DEVICE.startswith("cuda") or (cfg.MODEL.DEVICE == "auto" and torch.cuda.is_available())
        compile_whole(model, torch.device("cuda" if use_cuda else "cpu"))
    return model


def _build_vit(cfg: CfgNode, from_hub: bool) -> VisionTransformer | Eva:
    if from_hub:
        logger.info("MODEL.PRETRAIN_PATH is empty: timm looks for %s in its cache and on its hub", cfg.MODEL.NAME)
    try:
        sizes = {name.lower(): value for name, value in cfg.MODEL.VIT.items()}
        return build_vit(cfg.MODEL.NAME, **sizes, from_hub=from_hub)
    except OSError as error:
        file = f"{cfg.MODEL.NAME}.pt" if cfg.MODEL.NAME in TIMM_NAMES else "a timm or open_clip file of it"
        raise MissingFile(
            f"No weights for MODEL.NAME {cfg.MODEL.NAME}: timm could not fetch them ({first_line(error)}). On a "
            f"machine with a network, download {file} (docs/training.md, 'CLIP weights'), put it beside train_main.py "
            f"and set MODEL.PRETRAIN_PATH {file}; or train from random weights with MODEL.PRETRAINED False."
        ) from error


def _compare_pixel_values(cfg: CfgNode, origin: Mapping[str, Any]) -> None:
    """Warn of another normalisation than that of the pre-training; CLIPs get ImageNet's, as published."""
    pixels = tuple(origin["mean"]), tuple(origin["std"])
    if "_clip_" not in origin["architecture"] and pixels != (cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD):
        advice = f'INPUT.PIXEL_MEAN "{pixels[0]}" INPUT.PIXEL_STD "{pixels[1]}"'
        logger.warning("%s was trained with other pixel values: set %s", cfg.MODEL.NAME, advice)


def compile_whole(model: XTFCLIP, device: torch.device) -> None:
    """Let torch.compile replace the forward of a network as a whole when it is first called, if it works there."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(8, device=device))
    except (RuntimeError, OSError) as error:  # the errors of torch.compile are RuntimeErrors
        raise Mistake(
            f"MODEL.COMPILE is True, but torch.compile fails on {device}: {first_line(error)}. It needs a C++ compiler "
            "(such as g++) and, on CUDA, Triton. Install them or set MODEL.COMPILE False."
        ) from error
    model.compile()
