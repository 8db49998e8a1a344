"""Load CLIP files into the encoder, and published or own checkpoints into the whole network; convert to the published.

A table for each layout renames its parameters to ours.
"""

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.checkpoint import log_identity, read_checkpoint
from utils.mistake import Mistake

from .encoder import NEW_PARAMETERS, ClipVideoEncoder, resize_position_embedding

logger = logging.getLogger(__name__)

# Pairs of a layout's name and ours: whole names or, with "." or "_" at the end, beginnings of names. # is a number. The
# first pair that fits a name renames it.
Renames = tuple[tuple[str, str], ...]

# A block of OpenAI's transformers.
_BLOCK: Renames = (
    ("attn.in_proj_", "attn.qkv."),
    ("attn.out_proj.", "attn.proj."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
    ("ln_1.", "norm1."),
    ("ln_2.", "norm2."),
    ("", ""),
)
# OpenAI's visual tower (also open_clip's, and the published checkpoints' image_encoder) to our encoder.
OPENAI_RENAMES: Renames = (
    ("class_embedding", "class_token"),
    ("positional_embedding", "position_embedding"),
    ("proj", "projection"),
    ("conv1.", "patch_embed."),
    ("ln_pre.", "norm_pre."),
    ("ln_post.", "norm."),
    *((f"transformer.resblocks.#.{theirs}", f"blocks.#.{ours}") for theirs, ours in _BLOCK),
)
# timm's CLIP ViTs; timm stores the projection transposed.
TIMM_RENAMES: Renames = (
    ("cls_token", "class_token"),
    ("pos_embed", "position_embedding"),
    ("patch_embed.proj.", "patch_embed."),
    ("head.weight", "projection"),
)
# The published X-TFCLIP and TF-CLIP checkpoints, without their image_encoder.
PUBLISHED_RENAMES: Renames = (
    ("cv_embed", "encoder.camera_embedding"),
    ("video_embed", "encoder.frame_embedding"),
    ("memory_alpha", "memory_weight"),
    ("classifier2.", "classifier_image."),
    ("classifier_proj.", "classifier_projected."),
    ("classifier_proj_temp.", "classifier_temporal."),
    ("bottleneck.", "neck_image."),
    ("bottleneck_proj.", "neck_projected."),
    ("bottleneck_proj_temp.", "neck_frame."),
    ("bottleneck_proj_temp2.", "neck_temporal."),
    ("tap_img_feature.attn_mlp.", "pool_image.score."),
    ("tap_img_feature_proj.attn_mlp.", "pool_projected.score."),
    ("tap_cls_f_sp.attn_mlp.", "pool_tokens.score."),
    ("tap_cls_f_tp.attn_mlp.", "pool_frames.score."),
    ("tap_video.attn_mlp.", "pool_video.score."),
    ("TMD.resblocks.0.message_fc.", "temporal_memory.message."),
    ("TMD.resblocks.0.message_ln.", "temporal_memory.message_norm."),
    ("TMD.resblocks.0.message_attn.in_proj_", "temporal_memory.message_attention.qkv."),
    ("TMD.resblocks.0.message_attn.out_proj.", "temporal_memory.message_attention.proj."),
    *((f"TMD.resblocks.0.{theirs}", f"temporal_memory.block.{ours}") for theirs, ours in _BLOCK),
    ("SSP.text_proj.", "memory_prompt.text."),
    ("SSP.memory_proj.", "memory_prompt.visual."),
    ("SSP.out_proj.", "memory_prompt.out."),
    ("SSP.decoder.#.norm1.", "memory_prompt.layers.#.self_norm."),
    ("SSP.decoder.#.norm2.", "memory_prompt.layers.#.cross_norm."),
    ("SSP.decoder.#.norm3.", "memory_prompt.layers.#.mlp_norm."),
    *(
        (f"SSP.decoder.#.{kind}_attn.{theirs}.", f"memory_prompt.layers.#.{kind}_attention.{ours}.")
        for kind in ("self", "cross")
        for theirs, ours in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("proj", "out"))
    ),
    ("SSP.decoder.", "memory_prompt.layers."),
)
# Published parameters that the published forward pass never reads.
PUBLISHED_UNUSED = ("classifier_proj_temp2.weight", "SSP.alpha", "SSP.norm.weight", "SSP.norm.bias")
# Parameters whose number of rows depends on the training set; with another number they are skipped, not refused.
# Classifiers may be missing, too: weights are often passed on without them.
CLASSIFIERS = ("classifier_image.weight", "classifier_projected.weight", "classifier_temporal.weight")
CAMERA_EMBEDDING = "encoder.camera_embedding"
PROJECTION = "encoder.projection"  # (D, P)
# Our checkpoints held the projection under this name, transposed to (P, D), before it was stored as in CLIP.
OLD_PROJECTION = "encoder.projection.weight"


@dataclass
class LoadReport:
    """Which parameters of a file were loaded, and which were not, with the reason."""

    loaded: list[str] = field(default_factory=list)  # our names
    ignored: dict[str, str] = field(default_factory=dict)  # the file's names
    skipped: dict[str, str] = field(default_factory=dict)  # our names

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} tensors loaded"]
        for verb, reasons in (("ignored", self.ignored), ("skipped", self.skipped)):
            for reason in dict.fromkeys(reasons.values()):
                names = [name for name in reasons if reasons[name] == reason]
                listed = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
                lines.append(f"{len(names)} {verb} ({reason}): {listed}")
        return "; ".join(lines)


def load_clip_weights(encoder: ClipVideoEncoder, path: str | Path) -> LoadReport:
    """Load the visual tower of a CLIP file into the encoder.

    Args:
        encoder: Receives the weights; position embeddings are resized to its patch grid. Its camera and frame
            embeddings do not change.
        path: OpenAI's TorchScript archive, or a state dict in OpenAI's, open_clip's or timm's names, in any precision.
    """
    state = unwrap(read_checkpoint(path, allow_torchscript=True), path)
    log_identity(path)
    report = LoadReport()
    converted = _convert_clip(state, report, path)
    own = {name: value for name, value in encoder.state_dict().items() if name not in NEW_PARAMETERS}
    position = converted.get("position_embedding", torch.empty(0))
    if position.dim() == 3 and len(position) == 1 and position.shape[1] > 1:  # otherwise it is refused below
        converted["position_embedding"] = resize_position_embedding(
            position.float(), encoder.grid, encoder.position_mode
        )
    if converted.keys() != own.keys() or _list_misfits(converted, own):
        raise Mistake(
            f"{path} holds another architecture than MODEL.NAME: {_describe_vit(converted)} in the file, "
            f"{_describe_vit(own)} in the model. Change MODEL.NAME (and MODEL.VIT) or MODEL.PRETRAIN_PATH."
        )
    _load(encoder, converted, report, path)
    logger.info("CLIP weights from %s: %s", path, report)
    return report


def load_weights(model: nn.Module, path: str | Path) -> LoadReport:
    """Load a checkpoint into the network: our own, or one published for X-TFCLIP or TF-CLIP.

    Classifiers that the file lacks, or holds for another number of classes, are skipped and keep their values: test
    descriptors do not need them. A camera embedding for another number of cameras is skipped too; ours is then set to
    zero, so that every camera counts as unknown.
    """
    content = read_checkpoint(path)
    log_identity(path)
    return load_state(model, content, path)


def load_state(model: nn.Module, content: dict[str, Any], path: str | Path) -> LoadReport:
    """Load a checkpoint that was already read, as ``load_weights`` does; ``path`` appears in messages."""
    report = LoadReport()
    state = convert_checkpoint(content, report, path)
    own = model.state_dict()
    for name in [name for name in state if name not in own]:
        report.ignored[name] = "this configuration has no such parameter"
        del state[name]
    for name in own:
        if name in CLASSIFIERS and name not in state:
            report.skipped[name] = "not in the file"
        elif name in (*CLASSIFIERS, CAMERA_EMBEDDING) and name in state and _differ_in_rows(state[name], own[name]):
            report.skipped[name] = f"{len(state.pop(name))} rows in the file, {len(own[name])} in the model"
    missing = [name for name in own if name not in state and name not in report.skipped]
    wrong = _list_misfits(state, own)
    if missing or wrong:
        first = (
            f"no value for {missing[0]}"
            if missing
            else f"{wrong[0]} is {_describe(state[wrong[0]])}, expected {_describe(own[wrong[0]])}"
        )
        raise Mistake(
            f"{path} does not fit this configuration ({len(missing)} parameters missing, {len(wrong)} of another "
            f"shape; first: {first}). Use the --config_file it was trained with."
        )
    _load(model, state, report, path)
    if CAMERA_EMBEDDING in report.skipped:
        with torch.no_grad():
            model.get_parameter(CAMERA_EMBEDDING).zero_()
    logger.log(logging.WARNING if report.skipped else logging.INFO, "Weights from %s: %s", path, report)
    return report


def convert_checkpoint(
    content: dict[str, Any], report: LoadReport | None = None, path: str | Path = "The checkpoint"
) -> dict[str, Tensor]:
    """Convert a checkpoint in our layout or the published one to a state dict in our names and shapes.

    Args:
        content: A state dict, or a training checkpoint that holds one.
        report: Receives the names that are ignored.
        path: Its file, for messages.
    """
    report = report if report is not None else LoadReport()
    state = unwrap(content, path)
    published = any(name.startswith("image_encoder.") for name in state)
    if not published:
        return {PROJECTION: state.pop(OLD_PROJECTION).transpose(0, -1), **state} if OLD_PROJECTION in state else state
    converted = {f"encoder.{name}": value for name, value in _from_openai(state, "image_encoder.").items()}
    for name, value in state.items():
        if name in PUBLISHED_UNUSED:
            report.ignored[name] = "the published forward pass never reads it"
        elif not name.startswith("image_encoder."):
            converted[rename(name, PUBLISHED_RENAMES)] = value
    return converted


def to_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``XTFCLIP`` to the names and shapes of the published checkpoints.

    ``convert_checkpoint`` is the way back. The parameters that published checkpoints hold and no forward pass reads get
    neutral values: zeros for the second temporal classifier and the scale, and a norm that changes nothing.

    Args:
        state: All parameters and buffers of a network with a camera embedding.
    """
    image_encoder = tuple((f"image_encoder.{theirs}", f"encoder.{ours}") for theirs, ours in OPENAI_RENAMES)
    renames = invert((*PUBLISHED_RENAMES, *image_encoder))
    published = {rename(name, renames): value for name, value in state.items()}
    width = state[PROJECTION].shape[1]
    return {
        **published,
        "image_encoder.class_embedding": state["encoder.class_token"].flatten(),
        "image_encoder.positional_embedding": state["encoder.position_embedding"].squeeze(0),
        "classifier_proj_temp2.weight": torch.zeros_like(state["classifier_temporal.weight"]),
        "SSP.alpha": torch.zeros(width),
        "SSP.norm.weight": torch.ones(width),
        "SSP.norm.bias": torch.zeros(width),
    }


def unwrap(content: dict[str, Any], path: str | Path) -> dict[str, Tensor]:
    """Return the state dict of a training checkpoint, without DataParallel's prefix."""
    for key in ("model", "state_dict"):
        if isinstance(content.get(key), dict):
            content = content[key]
    state = {str(name).removeprefix("module."): v for name, v in content.items() if isinstance(v, Tensor)}
    for name, value in state.items():
        if value.layout is not torch.strided or value.is_meta or value.is_quantized or value.is_nested:
            raise Mistake(f"{path}: {name} must be a dense tensor of numbers; it is sparse, quantised or without data.")
    return state


def rename(name: str, renames: Renames) -> str:
    """Rename a parameter by the first pair that fits it; a name that none fits stays as it is."""
    for old, new in renames:
        end = "" if old.endswith((".", "_")) else r"\Z"
        pattern = re.escape(old).replace(r"\#", "([0-9]+)") + end
        if re.match(pattern, name):
            return re.sub(pattern, new.replace("#", r"\1"), name, count=1)
    return name


def invert(renames: Renames) -> Renames:
    """Return the table that leads from our names to a layout's."""
    return tuple((ours, theirs) for theirs, ours in renames)


def _load(module: nn.Module, state: dict[str, Tensor], report: LoadReport, path: str | Path) -> None:
    """Load tensors that fit, unless one would put NaN or infinity into the network."""
    own = module.state_dict()
    for name, value in state.items():
        if not value.to(own[name].dtype).isfinite().all():
            raise Mistake(
                f"{path} is of no use: {name} holds NaN or infinity. Training went wrong before it was written, or the "
                "file is damaged; use an earlier checkpoint."
            )
    module.load_state_dict(state, strict=False)
    report.loaded = list(state)


def _list_misfits(state: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """List the tensors that differ from ours in shape, or in being floats."""
    return [
        name
        for name, value in state.items()
        if (value.shape, value.is_floating_point()) != (own[name].shape, own[name].is_floating_point())
    ]


def _differ_in_rows(value: Tensor, own: Tensor) -> bool:
    """Whether two tensors would have the same shape if they had the same number of rows."""
    return value.dim() == own.dim() and value.shape[1:] == own.shape[1:] and len(value) != len(own)


def _from_openai(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Convert OpenAI's visual tower, whose names begin with ``prefix``, to our encoder's names and shapes."""
    visual = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    converted = {rename(name, OPENAI_RENAMES): value for name, value in visual.items()}
    # A file may lack either of them; the caller reports missing parameters.
    if "class_token" in converted:
        converted["class_token"] = converted["class_token"].reshape(1, 1, -1)
    if "position_embedding" in converted:
        converted["position_embedding"] = converted["position_embedding"].unsqueeze(0)
    return converted


def _convert_clip(state: dict[str, Tensor], report: LoadReport, path: str | Path) -> dict[str, Tensor]:
    """Convert the visual tower of a CLIP file to our encoder's names; report the rest as ignored."""
    if "visual.class_embedding" in state:
        others = [name for name in state if not name.startswith("visual.")]
        report.ignored.update(dict.fromkeys(others, "not part of the visual tower"))
        return _from_openai(state, "visual.")
    if "cls_token" in state and "head.weight" in state:
        if state.pop("head.bias", None) is not None:
            report.ignored["head.bias"] = "CLIP's projection has no bias"
        converted = {rename(name, TIMM_RENAMES): value for name, value in state.items()}
        return {**converted, "projection": converted["projection"].transpose(0, -1)}
    raise Mistake(
        f"{path} (MODEL.PRETRAIN_PATH) is not a CLIP file: expected OpenAI's or open_clip's names "
        f"(visual.class_embedding, ...) or timm's (cls_token, ..., head.weight), got {', '.join(list(state)[:3])}, ..."
    )


def _describe_vit(state: dict[str, Tensor]) -> str:
    """Describe the width, depth, patch and projection of an encoder state dict, for messages."""
    depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    patches = state.get("patch_embed.weight", torch.empty(0))
    width, _, patch, _ = patches.shape if patches.dim() == 4 else (0, 0, 0, 0)
    projected = state["projection"].shape[-1] if "projection" in state and state["projection"].dim() else 0
    return f"width {width}, {depth} blocks, patch {patch}, projection {projected}"


def _describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
