"""The network and the weights it starts from."""

import logging

from torch import nn
from yacs.config import CfgNode

from .encoder import TIMM_NAMES, ClipVideoEncoder, build_vit
from .weights import load_clip_weights, load_weights
from .xtfclip import XTFCLIP, TrainingOutput

__all__ = ["XTFCLIP", "TrainingOutput", "load_weights", "make_model"]

logger = logging.getLogger(__name__)


def make_model(cfg: CfgNode, num_classes: int, num_cameras: int, pretrained: bool = True) -> nn.Module:
    """Build the network that a configuration describes.

    Args:
        cfg: Frozen configuration.
        num_classes: Training identities K.
        num_cameras: Training cameras, the rows of the camera embedding.
        pretrained: Start from CLIP weights, as MODEL.PRETRAINED and MODEL.PRETRAIN_PATH say; False when a checkpoint is
            loaded right after.
    Raises:
        ValueError: If the sizes, the stride or the CLIP file do not fit the named ViT.
        FileNotFoundError: If the CLIP weights are neither at MODEL.PRETRAIN_PATH nor to be had from the hub.
    """
    pretrained = pretrained and cfg.MODEL.PRETRAINED
    from_hub = pretrained and not cfg.MODEL.PRETRAIN_PATH
    try:
        vit = build_vit(
            cfg.MODEL.NAME,
            embed_dim=cfg.MODEL.VIT.EMBED_DIM,
            depth=cfg.MODEL.VIT.DEPTH,
            num_heads=cfg.MODEL.VIT.NUM_HEADS,
            patch_size=cfg.MODEL.VIT.PATCH_SIZE,
            proj_dim=cfg.MODEL.VIT.PROJ_DIM,
            from_hub=from_hub,
        )
    except OSError as error:
        raise FileNotFoundError(
            f"No weights for MODEL.NAME {cfg.MODEL.NAME!r}: timm could not fetch {TIMM_NAMES.get(cfg.MODEL.NAME)!r} "
            f"({str(error).splitlines()[0]}). On a machine with a network, download OpenAI's ViT-B-16.pt (the address "
            "is in README.md, 'Get CLIP') or the timm file, put it beside train_main.py and set "
            "MODEL.PRETRAIN_PATH ViT-B-16.pt; or train from random weights with MODEL.PRETRAINED False."
        ) from error
    encoder = ClipVideoEncoder(
        vit,
        image_size=cfg.INPUT.SIZE_TRAIN,
        stride=cfg.MODEL.STRIDE_SIZE,
        num_cameras=num_cameras if cfg.MODEL.SIE_CAMERA else 0,
        num_frames=cfg.INPUT.SEQ_LEN if cfg.MODEL.FRAME_EMBEDDING else 0,
        camera_coefficient=cfg.MODEL.SIE_COE,
        position_mode=cfg.MODEL.POSITION_RESIZE,
    )
    encoder.check_size(*cfg.INPUT.SIZE_TEST)
    if pretrained and cfg.MODEL.PRETRAIN_PATH:
        load_clip_weights(encoder, cfg.MODEL.PRETRAIN_PATH)
    if not cfg.MODEL.PRETRAINED:
        logger.warning("MODEL.PRETRAINED is False: the encoder starts from random weights, not from CLIP.")
    return XTFCLIP(
        encoder,
        num_classes=num_classes,
        pooling=cfg.MODEL.POOLING,
        neck=cfg.MODEL.FEATURE_NECK,
        memory_weighting=cfg.MODEL.MEMORY_WEIGHTING,
        prompt_dropout=cfg.MODEL.PROMPT_DROPOUT,
        descriptor=cfg.TEST.NECK_FEAT,
    )
