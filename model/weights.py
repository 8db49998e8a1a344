"""Load CLIP files into the encoder, and published or own checkpoints into the whole network; convert to the published.

A table for each layout renames its parameters to ours.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.checkpoint import fitting, log_identity, read_checkpoint
from utils.mistake import Mistake

from .encoder import QUICK_GELU_TAG, TUNED, ClipVideoEncoder, resize_position_embedding

logger = logging.getLogger(__name__)

# A name that each layout has, by which networks are found inside files and modules of other programs.
ANCHORS = (
    "encoder.patch_embed.weight",
    "image_encoder.class_embedding",
    "visual.class_embedding",
    "patch_embed.proj.weight",
)
# Where a file holds several networks, the only one below the first of these entries counts.
ENTRIES = ("model.", "state_dict.", "model_state_dict.", "net.")

OPENAI_ENTRIES = ("input_resolution", "context_length", "vocab_size")  # of OpenAI's archives, beside the weights
GELU_TAGS = ("laion", "datacomp", "commonpool")  # words in the names of CLIP files that were trained with GELU
ANY_MODEL = re.compile(r"(open_clip_?)?(pytorch_)?(model|weights)?", re.IGNORECASE)  # names of files in a hub
HUGGING_FACE = ("vision_model.", "text_model.")

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
# OpenAI's visual tower, which is also open_clip's and the published checkpoints'; the prefix of its names is left out.
OPENAI_RENAMES: Renames = (
    ("class_embedding", "class_token"),
    ("positional_embedding", "position_embedding"),
    ("proj", "projection"),
    ("conv1.", "patch_embed."),
    ("ln_pre.", "norm_pre."),
    ("ln_post.", "norm."),
    *((f"transformer.resblocks.#.{theirs}", f"blocks.#.{ours}") for theirs, ours in _BLOCK),
)
# timm's ViTs.
TIMM_RENAMES: Renames = (
    ("cls_token", "class_token"),
    ("reg_token", "registers"),
    ("pos_embed", "position_embedding"),
    ("patch_embed.proj.", "patch_embed."),
    ("attn_pool.", "frame_pool."),
    ("head.weight", "projection"),
)
# The layouts of CLIP files: a name that only this one has, the prefix of its image tower, and its renames.
CLIP_LAYOUTS = (("visual.class_embedding", "visual.", OPENAI_RENAMES), ("patch_embed.proj.weight", "", TIMM_RENAMES))
# The published X-TFCLIP and TF-CLIP checkpoints.
PUBLISHED_RENAMES: Renames = (
    *((f"image_encoder.{theirs}", f"encoder.{ours}") for theirs, ours in OPENAI_RENAMES),
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
# Whole networks; ours held the projection under another name before it was stored as in CLIP.
CHECKPOINT_RENAMES: Renames = (*PUBLISHED_RENAMES, ("encoder.projection.weight", "encoder.projection"))
# Names under which files hold the projection as (P, D); ours is (D, P), as OpenAI's.
TRANSPOSED = ("head.weight", "encoder.projection.weight")
# Published parameters that the published forward pass never reads.
PUBLISHED_UNUSED = ("classifier_proj_temp2.weight", "SSP.alpha", "SSP.norm.weight", "SSP.norm.bias")
# Parameters whose number of rows depends on the training set; with another number they are skipped, not refused.
# Classifiers may be missing, too: weights are often passed on without them.
CLASSIFIERS = ("classifier_image.weight", "classifier_projected.weight", "classifier_temporal.weight")
CAMERA_EMBEDDING = "encoder.camera_embedding"
# What a run adds to the weights that it starts from, if they lack it.
INGREDIENTS = ("encoder.view_prompts.", "memory_prompt.", "memory_weight", "pool_video.")


@dataclass(frozen=True)
class LoadReport:
    """Which parameters of a file were loaded, and which were not, with the reason."""

    loaded: list[str]  # our names
    ignored: dict[str, str]  # the file's names
    skipped: dict[str, str]  # our names

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} tensors loaded"]
        for verb, reasons in (("ignored", self.ignored), ("skipped", self.skipped)):
            for reason in dict.fromkeys(reasons.values()):
                names = [name for name in reasons if reasons[name] == reason]
                listed = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
                lines.append(f"{len(names)} {verb} ({reason}): {listed}")
        return "; ".join(lines)


def load_clip_weights(encoder: ClipVideoEncoder, path: str | Path) -> LoadReport:
    """Load the visual tower of a CLIP file into the encoder, whose camera and frame embeddings do not change.

    The file is OpenAI's archive, or a state dict in OpenAI's, open_clip's or timm's names, in any precision.
    """
    state = unwrap(read_checkpoint(path, allow_torchscript=True))
    log_identity(path)
    layouts = [(prefix, renames) for mark, prefix, renames in CLIP_LAYOUTS if mark in state]
    if not layouts:
        raise Mistake(
            f"{path} (MODEL.PRETRAIN_PATH) is not a CLIP file: expected OpenAI's or open_clip's names "
            f"(visual.class_embedding, ...) or timm's (patch_embed.proj.weight, ...), got {describe_names(state)}"
        )
    quick_gelu = has_quick_gelu(state, path)
    if quick_gelu not in (None, encoder.quick_gelu):
        names = ("with GELU, such as vit_base_patch16_clip_224.laion2b", "with QuickGELU, such as ViT-B-16")
        raise Mistake(f"{path} was trained with another activation than MODEL.NAME: name one {names[quick_gelu]}.")
    prefix, renames = layouts[0]
    ignored = {name: "not part of the visual tower" for name in state if not name.startswith(prefix)}
    ignored |= {name: "CLIP's projection has no bias" for name in state if name == "head.bias"}
    tower = {name.removeprefix(prefix): value for name, value in state.items() if name not in ignored}
    own = {name: value for name, value in encoder.state_dict().items() if name not in encoder.new_parameters}
    with fitting(path):
        converted = _convert(tower, renames)
        if (position := converted.get("position_embedding")) is not None:
            resize = encoder.grid, encoder.position_mode, encoder.num_prefix
            converted["position_embedding"] = resize_position_embedding(position.float(), *resize)
        _load(encoder, converted, own, path, "Change MODEL.NAME (and MODEL.VIT) or MODEL.PRETRAIN_PATH.")
    report = LoadReport(list(converted), ignored, {})
    logger.info("CLIP weights from %s, %s: %s", path, "QuickGELU" if encoder.quick_gelu else "GELU", report)
    return report


def load_weights(
    model: nn.Module, path: str | Path, content: dict[str, Any] | None = None, starts_run: bool = False
) -> LoadReport:
    """Load a checkpoint, or its ``content``, into the network: our own, or one published for X-TFCLIP or TF-CLIP.

    Classifiers that the file lacks, or holds for another number of classes, are skipped and keep their values. A camera
    embedding for another number of cameras is skipped too; ours is then zero, so that every camera counts as unknown.
    What MODEL.TUNING adds starts without effect where the file lacks it, and is never left out where the file has it.
    A file that ``starts_run`` may lack INGREDIENTS, which keep their values.
    """
    if content is None:
        content = read_checkpoint(path)
        log_identity(path)
    with fitting(path):
        state = _convert(unwrap(content), CHECKPOINT_RENAMES)
        own = model.state_dict()
        ignored = {name: "this configuration has no such parameter" for name in state if name not in own}
        if tuned := next((name for name in ignored if TUNED in name), None):
            raise Mistake(
                f"{path} holds {tuned}: set MODEL.TUNING as it was trained with, or take the weights that "
                "`python -m tools.export weights` merges low-rank changes into."
            )
        added = [name for name in own if TUNED in name or (starts_run and name.startswith(INGREDIENTS))]
        skipped = {name: "not in the file" for name in (*CLASSIFIERS, *added) if name in own and name not in state}
        for name in (*CLASSIFIERS, CAMERA_EMBEDDING):
            value, ours = state.get(name), own.get(name)
            if value is not None and ours is not None and value.dim() == ours.dim() and len(value) != len(ours):
                skipped[name] = f"{len(value)} rows in the file, {len(ours)} in the model"
        wanted = {name: value for name, value in own.items() if name not in skipped}
        chosen = {name: value for name, value in state.items() if name not in ignored and name not in skipped}
        _load(model, chosen, wanted, path, "Use the --config_file it was trained with.")
    if CAMERA_EMBEDDING in skipped:
        with torch.no_grad():
            model.get_parameter(CAMERA_EMBEDDING).zero_()
    report = LoadReport(list(chosen), ignored, skipped)
    logger.log(logging.WARNING if skipped else logging.INFO, "Weights from %s: %s", path, report)
    return report


def convert_checkpoint(content: dict[str, Any]) -> dict[str, Tensor]:
    """Convert a state dict of ours or a published one, or a checkpoint that holds one, to our names and shapes."""
    converted = _convert(unwrap(content), CHECKPOINT_RENAMES)
    return {name: value for name, value in converted.items() if name not in PUBLISHED_UNUSED}


def to_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert the whole state dict of an ``XTFCLIP`` to the names and shapes of the published checkpoints.

    ``convert_checkpoint`` is the way back. The parameters that no forward pass reads get neutral values.
    """
    width = state["encoder.projection"].shape[1]
    temporal = state.get("classifier_temporal.weight", state["classifier_image.weight"])
    return {
        **{rename(name, PUBLISHED_RENAMES, back=True): value for name, value in state.items()},
        "image_encoder.class_embedding": state["encoder.class_token"].flatten(),
        "image_encoder.positional_embedding": state["encoder.position_embedding"].squeeze(0),
        "classifier_proj_temp.weight": temporal,
        "classifier_proj_temp2.weight": torch.zeros_like(temporal),
        "SSP.alpha": torch.zeros(width),
        "SSP.norm.weight": torch.ones(width),
        "SSP.norm.bias": torch.zeros(width),
    }


def unwrap(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the network in a file: the dense tensors below the entries and modules that hold it, in its own names."""
    tensors = dict(_flatten(content))
    anchored = [(name, anchor) for name in tensors for anchor in ANCHORS if f".{name}".endswith(f".{anchor}")]
    prefixes = {name.removesuffix(anchor) for name, anchor in anchored}
    below = ([prefix for prefix in prefixes if prefix.startswith(entry)] for entry in ("", *ENTRIES))
    prefix = next((found[0] for found in below if len(found) == 1), "")
    if prefix not in ("", ENTRIES[0]):
        logger.info("Of the file, what is below %r is taken.", prefix)
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _flatten(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the dense tensors of nested dictionaries; names are joined by dots."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, Tensor) and not (value.is_sparse or value.is_meta):
            yield f"{prefix}{name}", value


def describe_names(state: Mapping[str, Tensor]) -> str:
    """List the first names of a file that was refused, and what to take in its place if they are known."""
    if any(part in name for name in state for part in HUGGING_FACE):
        return (
            "those of Hugging Face's transformers, which do not say the activation. Take the same weights as OpenAI's "
            "archive (ViT-B-16.pt) or as open_clip's file (open_clip_model.safetensors), which often lies beside it."
        )
    return f"{', '.join(list(state)[:3]) or 'no tensors'}, ..."


def has_quick_gelu(state: Mapping[str, Tensor], path: str | Path) -> bool | None:
    """Return whether a CLIP file was trained with QuickGELU (else GELU); None if neither content nor name says it.

    Where a file has the name that all files of a hub have, the folders above it name the model.
    """
    if all(entry in state for entry in OPENAI_ENTRIES):
        return True
    path = Path(path).absolute()
    folders = (each.name for each in list(path.parents)[:3]) if ANY_MODEL.fullmatch(path.stem) else ()
    for name in (path.name, *folders):
        if QUICK_GELU_TAG.search(name):
            return True
        if any(word in name.lower() for word in GELU_TAGS):
            return False
    return None


def rename(name: str, renames: Renames, back: bool = False) -> str:
    """Rename a parameter by the first pair that fits it, if any; ``back`` leads from our names to a layout's."""
    for theirs, ours in renames:
        old, new = (ours, theirs) if back else (theirs, ours)
        end = "" if old.endswith((".", "_")) else r"\Z"
        pattern = re.escape(old).replace(r"\#", "([0-9]+)") + end
        if re.match(pattern, name):
            return re.sub(pattern, new.replace("#", r"\1"), name, count=1)
    return name


def _convert(state: dict[str, Tensor], renames: Renames) -> dict[str, Tensor]:
    """Convert a state dict to our names and shapes."""
    converted: dict[str, Tensor] = {}
    for theirs, value in state.items():
        name = rename(theirs, renames)
        if theirs in TRANSPOSED:
            value = value.transpose(0, -1)
        elif name.endswith(("class_token", "position_embedding")):
            value = value.reshape(1, -1, value.shape[-1])
        converted[name] = value
    return converted


def _load(module: nn.Module, state: dict[str, Tensor], own: dict[str, Tensor], path: str | Path, advice: str) -> None:
    """Load a state dict into a module if it holds finite numbers in the shapes of ``own``, and nothing else."""
    problems = [f"it lacks {name}" for name in own if name not in state]
    problems += [f"it has {name}" for name in state if name not in own]
    for name, value in state.items():
        if name in own and (came := _describe(value)) != (expected := _describe(own[name])):
            problems.append(f"{name} is {came}, expected {expected}")
    if problems:
        count = f", and {len(problems) - 1} more differences" if len(problems) > 1 else ""
        raise Mistake(f"{path} does not fit this run: {problems[0]}{count}. {advice}")
    for name, value in state.items():
        if not value.to(own[name].dtype).isfinite().all():
            raise Mistake(f"{path} does not fit this run: {name} holds NaN or infinity. Use an earlier checkpoint.")
    module.load_state_dict(state, strict=False)


def _describe(tensor: Tensor) -> str:
    """Describe what must be equal for a tensor to be loaded into another; the precision of floats may differ."""
    kind = "floats" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
    return f"{tuple(tensor.shape)} of {kind}"
