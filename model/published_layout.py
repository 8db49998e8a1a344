"""Weights in the names and shapes of the published checkpoints, for programs that load these strictly."""

import torch
from torch import Tensor

from .weights import Renames, rename

# Our names to the published ones: the tables of weights.py the other way round.
RENAMES: Renames = (
    (r"^encoder\.camera_embedding$", "cv_embed"),
    (r"^encoder\.frame_embedding$", "video_embed"),
    (r"^encoder\.class_token$", "image_encoder.class_embedding"),
    (r"^encoder\.position_embedding$", "image_encoder.positional_embedding"),
    (r"^encoder\.projection$", "image_encoder.proj"),
    (r"^encoder\.patch_embed\.", "image_encoder.conv1."),
    (r"^encoder\.norm_pre\.", "image_encoder.ln_pre."),
    (r"^encoder\.norm\.", "image_encoder.ln_post."),
    (r"^encoder\.blocks\.", "image_encoder.transformer.resblocks."),
    (r"^memory_weight$", "memory_alpha"),
    (r"^classifier_image\.", "classifier2."),
    (r"^classifier_projected\.", "classifier_proj."),
    (r"^classifier_temporal\.", "classifier_proj_temp."),
    (r"^neck_image\.", "bottleneck."),
    (r"^neck_projected\.", "bottleneck_proj."),
    (r"^neck_frame\.", "bottleneck_proj_temp."),
    (r"^neck_temporal\.", "bottleneck_proj_temp2."),
    (r"^pool_image\.score\.", "tap_img_feature.attn_mlp."),
    (r"^pool_projected\.score\.", "tap_img_feature_proj.attn_mlp."),
    (r"^pool_tokens\.score\.", "tap_cls_f_sp.attn_mlp."),
    (r"^pool_frames\.score\.", "tap_cls_f_tp.attn_mlp."),
    (r"^pool_video\.score\.", "tap_video.attn_mlp."),
    (r"^temporal_memory\.message\.", "TMD.resblocks.0.message_fc."),
    (r"^temporal_memory\.message_norm\.", "TMD.resblocks.0.message_ln."),
    (r"^temporal_memory\.message_attention\.", "TMD.resblocks.0.message_attn."),
    (r"^temporal_memory\.block\.", "TMD.resblocks.0."),
    # The blocks of both: attention, perceptron and norms in OpenAI's names.
    (r"(resblocks\.\d+\.(?:message_)?attn)\.qkv\.", r"\1.in_proj_"),
    (r"(resblocks\.\d+\.(?:message_)?attn)\.proj\.", r"\1.out_proj."),
    (r"(resblocks\.\d+\.mlp)\.fc1\.", r"\1.c_fc."),
    (r"(resblocks\.\d+\.mlp)\.fc2\.", r"\1.c_proj."),
    (r"(resblocks\.\d+)\.norm(\d)\.", r"\1.ln_\2."),
    (r"^memory_prompt\.text\.", "SSP.text_proj."),
    (r"^memory_prompt\.visual\.", "SSP.memory_proj."),
    (r"^memory_prompt\.out\.", "SSP.out_proj."),
    (r"^memory_prompt\.layers\.", "SSP.decoder."),
    (r"^(SSP\.decoder\.\d+)\.self_norm\.", r"\1.norm1."),
    (r"^(SSP\.decoder\.\d+)\.cross_norm\.", r"\1.norm2."),
    (r"^(SSP\.decoder\.\d+)\.mlp_norm\.", r"\1.norm3."),
    (r"^(SSP\.decoder\.\d+\.(?:self|cross))_attention\.query\.", r"\1_attn.q_proj."),
    (r"^(SSP\.decoder\.\d+\.(?:self|cross))_attention\.key\.", r"\1_attn.k_proj."),
    (r"^(SSP\.decoder\.\d+\.(?:self|cross))_attention\.value\.", r"\1_attn.v_proj."),
    (r"^(SSP\.decoder\.\d+\.(?:self|cross))_attention\.out\.", r"\1_attn.proj."),
)


def to_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``XTFCLIP`` to the names and shapes of the published checkpoints.

    ``weights.convert_checkpoint`` is the way back. The parameters that published checkpoints hold and no forward pass
    reads get neutral values: zeros for the second temporal classifier and the scale, and a norm that changes nothing.

    Args:
        state: All parameters and buffers of a network with a camera embedding.
    """
    published = {rename(name, RENAMES): value for name, value in state.items()}
    for name in ("image_encoder.class_embedding", "image_encoder.positional_embedding"):
        value = published[name]
        published[name] = value.reshape(value.shape[-1] if name.endswith("class_embedding") else value.shape[1:])
    width = state["encoder.projection"].shape[1]
    published["classifier_proj_temp2.weight"] = torch.zeros_like(state["classifier_temporal.weight"])
    published["SSP.alpha"] = torch.zeros(width)
    published["SSP.norm.weight"] = torch.ones(width)
    published["SSP.norm.bias"] = torch.zeros(width)
    return published
