"""A trained run as files for other programs: one ONNX network from bytes to descriptors, or weights with a card."""

import io
import json
import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor
from yacs.config import CfgNode

from datasets.clips.decoding import decode_frame
from datasets.clips.sampling import sample_test_indices
from model import XTFCLIP
from utils.checkpoint import hash_file
from utils.files import write_whole
from utils.mistake import Mistake

from .describer import TrackletDescriber
from .exported_network import CAMERAS, CAMIDS, CLIP_SHAPE, DESCRIPTORS, FRAMES, list_frames

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4  # largest difference of a number of a descriptor from torch's
LICENCE = "MIT for the code; weights that began as OpenAI's CLIP are under CLIP's MIT licence, too"
PREPROCESSING = (
    "Pad the tracklet with its last frame to a multiple of T and take the first frame of each of T equal segments; "
    "RGB, resized to H x W bilinearly, antialiased; uint8, (B, T, 3, H, W). Scaling, normalisation and mirror images "
    "are inside. cameras: index of each clip's camera in 'cameras' below, -1 if it is none of them."
)


@dataclass(frozen=True)
class ExportCheck:
    """How an exported network compares with torch on the same clips.

    Attributes:
        difference: Largest absolute difference of a number.
        torch_seconds, onnx_seconds: Time of the batch on the CPU, float32; the second of two calls.
    """

    difference: float
    torch_seconds: float
    onnx_seconds: float


def make_describer(cfg: CfgNode, model: XTFCLIP) -> TrackletDescriber:
    """Build the network that computes the descriptors of ``eval_main.py``, in float32 on the CPU."""
    describer = TrackletDescriber(
        model, cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD, flip=cfg.TEST.FLIP, normalize=cfg.TEST.FEAT_NORM
    )
    return describer.float().cpu().eval()


def make_example_clips(cfg: CfgNode, folder: Path | None = None) -> Tensor:
    """Return two clips that show the shapes and that networks are compared on, (2, T, C, H, W), uint8.

    Args:
        cfg: Says what a clip is.
        folder: The frames of a tracklet, of which both clips are; None for noise.
    Raises:
        FileNotFoundError: If the folder is missing or holds no image.
        UnreadableFrameError: If a frame cannot be decoded.
    """
    size, num_frames = tuple(cfg.INPUT.SIZE_TEST), cfg.INPUT.SEQ_LEN
    if folder is None:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(256, (2, num_frames, 3, *size), dtype=torch.uint8, generator=generator)
    paths = list_frames(folder)
    clip = torch.stack([decode_frame(str(paths[index]), size) for index in sample_test_indices(len(paths), num_frames)])
    return clip.expand(2, -1, -1, -1, -1).contiguous()


def describe_export(cfg: CfgNode, camids: tuple[int, ...] | None, checkpoint: Path, origin: Mapping[str, str]) -> dict:
    """Collect what a user of the file must know, as text by name.

    Args:
        cfg: Says what a clip is.
        camids: Training cameras as annotated, in the order of their indices; None if they are not known.
        checkpoint: File that the weights came from.
        origin: Where they come from (``TrainedRun.origin``).
    """
    height, width = cfg.INPUT.SIZE_TEST
    return {
        "preprocessing": PREPROCESSING,
        CLIP_SHAPE: json.dumps([cfg.INPUT.SEQ_LEN, height, width]),
        CAMIDS: json.dumps(camids),
        "compare by": "squared Euclidean distance",
        "SHA-256 of the checkpoint": hash_file(checkpoint),
        "licence": LICENCE,
        **origin,
    }


def export_onnx(describer: TrackletDescriber, clips: Tensor, metadata: Mapping[str, str], opset: int) -> bytes:
    """Turn a network into an ONNX file whose batch is of any size.

    Args:
        describer: In evaluation mode, on the CPU.
        clips: (B, T, C, H, W), uint8, at least two; they show the shapes.
        metadata: Written into the file.
        opset: Version of ONNX's operators.
    """
    cameras = torch.full((len(clips),), -1)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about names that it does not use
        program = torch.onnx.export(
            describer,
            (clips, cameras),
            input_names=[FRAMES, CAMERAS],
            output_names=[DESCRIPTORS],
            dynamic_shapes={"frames": {0: batch}, "cameras": {0: batch}},
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch returned no ONNX program.")
    network = program.model_proto
    onnx.helper.set_model_props(network, dict(metadata))
    return network.SerializeToString()


def check_export(describer: TrackletDescriber, content: bytes, clips: Tensor) -> ExportCheck:
    """Compare an exported network with torch, on all clips with unknown and, if there are any, known cameras.

    Raises:
        ValueError: If a number differs by more than ``TOLERANCE``.
    """
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    cameras = torch.arange(len(clips)) % (describer.model.num_cameras + 1) - 1
    inputs = {FRAMES: clips.numpy(), CAMERAS: cameras.numpy()}
    for _ in range(2):  # the first call of each also prepares
        start = time.perf_counter()
        with torch.inference_mode():
            expected = describer(clips, cameras).numpy()
        middle = time.perf_counter()
        (actual,) = session.run([DESCRIPTORS], inputs)
        end = time.perf_counter()
    difference = float(np.abs(actual - expected).max())
    if not difference <= TOLERANCE:
        raise Mistake(f"The exported network differs from torch by {difference:.1e} (more than {TOLERANCE}).")
    return ExportCheck(difference, middle - start, end - middle)


def write_onnx(
    describer: TrackletDescriber, clips: Tensor, metadata: Mapping[str, str], path: Path, opset: int
) -> ExportCheck:
    """Export, check and write a network, whole or not at all; arguments and errors as of the functions above."""
    content = export_onnx(describer, clips, metadata, opset)
    check = check_export(describer, content, clips)
    write_whole(lambda file: file.write(content), path)
    return check


def format_card(metadata: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """Lay out a model card in Markdown.

    Args:
        metadata: Of ``describe_export``.
        files: What each file of the export is, by its name.
    """
    text = io.StringIO()
    text.write("# Model card\n\nA video person re-identification model of X-TFCLIP.\n\n## Files\n\n")
    text.writelines(f"- `{name}`: {what}\n" for name, what in files.items())
    text.write("\n## Facts\n\n| | |\n|---|---|\n")
    text.writelines(f"| {name} | {str(value).replace('|', '/')} |\n" for name, value in metadata.items())
    text.write(
        "\n## Use and limits\n\nThe model ranks tracklets of people by how alike they look. It identifies nobody by "
        "itself, a ranking has a first entry even if the person is absent, and it errs more on people, cameras and "
        "heights unlike those it was trained on. Measure it on your own data before you rely on it, and mind the "
        "privacy of those who are filmed.\n"
    )
    return text.getvalue()
