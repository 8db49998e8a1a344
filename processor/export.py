"""Export a trained run for other programs: as one ONNX network from bytes to descriptors, or as weights with a card."""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode

from configs import dump_config, get_cfg
from datasets.clips.clip_dataset import sample_test_indices
from datasets.clips.decoding import decode_frame
from datasets.readers.own_data import read_unlabelled
from model.tuning import merge_tuning
from model.weights import to_published
from utils.checkpoint import hash_file, write_checkpoint, write_weights
from utils.files import write_text, write_whole
from utils.mistake import Mistake
from utils.runtime import prepare_output

from .build import descriptor_settings, make_extractor
from .evaluation.cache import hash_weights
from .evaluation.open_run import TrainedRun, open_run
from .exported_network import CAMERAS, CAMIDS, CLIP_SHAPE, DESCRIPTORS, FRAMES

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4  # largest difference of a number of a descriptor from torch's
LICENCE = "MIT for the code; weights keep the licence of the network that they began as (OpenAI's CLIP: MIT)"
CARD = """\
# Model card

A video person re-identification model of X-TFCLIP.

## Files

{files}

## Facts

| | |
|---|---|
{facts}

## Use and limits

The model ranks tracklets of people by how alike they look. It identifies nobody by itself, a ranking has a first entry
even if the person is absent, and it errs more on people, cameras and heights unlike those it was trained on. Measure it
on your own data before you rely on it, and mind the privacy of those who are filmed.
"""


class TrackletDescriber(nn.Module):
    """Describe clips of uint8 pixels as ``eval_main.py`` does, on the CPU in float32: scaled, normalised, mirrored."""

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        self.model = run.model.float().cpu().eval()
        self.extractor = make_extractor(run.cfg, self.model, run.runtime)

    def forward(self, frames: Tensor, cameras: Tensor) -> Tensor:
        """Describe RGB frames, (B, T, C, H, W), uint8, as (B, D), float32; cameras (B,) are indices or -1."""
        features = self.extractor.describe(self.extractor.transform(frames), cameras)
        return F.normalize(features, dim=1) if self.extractor.normalize else features


def export_run_as_onnx(opts: Sequence[str], path: Path, frames: Path | None, opset: int) -> None:
    """Export the run that config keys and values name as an ONNX file, checked against torch on a tracklet's frames."""
    for exporter in ("onnx_ir", "onnxscript"):  # each logs every step of its work
        logging.getLogger(exporter).setLevel(logging.WARNING)
    # A compiled block cannot be exported, and the network describes one clip of a tracklet.
    fixed = ["MODEL.DEVICE", "cpu", "SOLVER.PRECISION", "fp32", "MODEL.COMPILE", "False", "TEST.NUM_CLIPS", "1"]
    run = open_run([*opts, *fixed])
    weights = hash_weights(run.model)  # as in a feature file of the run: the features of both can be compared
    merge_tuning(run.model.encoder)
    describer, clips = TrackletDescriber(run), make_example_clips(run.cfg, frames)
    metadata = describe_weights(run) | {
        "inside": "scaling, normalisation and mirror images: frames are bytes, uint8",
        CLIP_SHAPE: json.dumps([run.cfg.INPUT.SEQ_LEN, *run.cfg.INPUT.SIZE_TEST]),
        CAMIDS: json.dumps(run.camera_words or run.camids),
        "weights": weights,
        "transform": descriptor_settings(run.cfg),
    }
    content = export_onnx(describer, clips, metadata, opset)
    difference = check_export(describer, content, clips)
    write_whole(lambda file: file.write(content), path)
    logger.info("%s: differs from torch by at most %.1e", path, difference)


def export_run_as_weights(opts: Sequence[str], output: Path) -> None:
    """Write a run's weights into a folder: in our names, in the published ones where they fit, and a model card."""
    run = open_run(["MODEL.DEVICE", "cpu", *opts])
    folder = prepare_output(output)
    merge_tuning(run.model.encoder)
    state = run.model.state_dict()
    cfg = run.cfg.clone()
    cfg.defrost()
    cfg.MODEL.TUNING = "full" if cfg.MODEL.TUNING == "lora" else cfg.MODEL.TUNING
    cfg.MODEL.DEVICE = get_cfg().MODEL.DEVICE  # not the CPU that wrote the file
    cfg.TEST.AVERAGED_WEIGHTS = False  # the file has no others
    values: dict[str, Any] = {"config": dump_config(cfg), "camera_words": list(run.camera_words)}
    values |= {"camids": list(run.camids)} if run.camids else {}
    write_weights(state, values, folder / "weights.safetensors")
    files = {"weights.safetensors": "weights in the names of X-TFCLIP's code, with the configuration"}
    encoder = run.model.encoder
    is_published = cfg.MODEL.TUNING == "full" and cfg.LOSS.MEMORY == "prompt" and not cfg.MODEL.VIEW_PROMPTS
    if run.model.num_cameras and is_published and not (encoder.rotary or encoder.frame_pool):
        write_checkpoint(to_published(state), folder / "published_layout.pth")
        files["published_layout.pth"] = "the same weights in the names and shapes of the published checkpoint"
    facts = [f"| {name} | {str(value).replace('|', '/')} |" for name, value in describe_weights(run).items()]
    listed = [f"- `{name}`: {what}" for name, what in files.items()]
    write_text(CARD.format(files="\n".join(listed), facts="\n".join(facts)), folder / "MODEL_CARD.md")
    logger.info("Written to %s: %s, MODEL_CARD.md", folder, ", ".join(files))


def make_example_clips(cfg: CfgNode, folder: Path | None = None) -> Tensor:
    """Return two clips to compare networks on, (2, T, C, H, W), uint8: of a tracklet's frames, or noise without one."""
    size, num_frames = tuple(cfg.INPUT.SIZE_TEST), cfg.INPUT.SEQ_LEN
    if folder is None:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(256, (2, num_frames, 3, *size), dtype=torch.uint8, generator=generator)
    paths = read_unlabelled(folder)[0].frame_paths
    clip = torch.stack([decode_frame(paths[index], size) for index in sample_test_indices(len(paths), num_frames)])
    return clip.expand(2, -1, -1, -1, -1).contiguous()


def describe_weights(run: TrainedRun) -> dict[str, str]:
    """Collect what a user of the weights must know, by name."""
    cfg, model, test = run.cfg, run.model, run.cfg.TEST
    num_frames, (height, width) = cfg.INPUT.SEQ_LEN, cfg.INPUT.SIZE_TEST
    names = ("f_img", "f_proj", "f_tmp") if test.NECK_FEAT == "before" else ("neck(f_img)", "neck(f_proj)")
    parts = ", ".join(f"{name} ({size})" for name, size in zip(names, model.feature_widths, strict=False))
    length = "scaled to length 1" if test.FEAT_NORM else "of any length"
    first = "first frame" if test.NUM_CLIPS == 1 else f"frame at j / {test.NUM_CLIPS}, for clip j of {test.NUM_CLIPS},"
    cameras = ", ".join(f"{index} is {name}" for index, name in enumerate(run.camera_names)) or "unknown"
    not_of_weights = ("data", "precision")  # but of an evaluation
    return {
        "input": f"clips, (B, {num_frames}, 3, {height}, {width}): frames of {height} (height) x {width} pixels",
        "frames": f"pad the tracklet with its last frame to a multiple of {num_frames} and take the {first} of each of "
        f"{num_frames} equal segments; upright by EXIF, RGB, resized to the input size bilinearly, antialiased",
        "range": "bytes / 255, from 0 to 1; then (value - mean) / deviation of its channel",
        "mean of R, G, B": ", ".join(map(str, cfg.INPUT.PIXEL_MEAN)),
        "deviation of R, G, B": ", ".join(map(str, cfg.INPUT.PIXEL_STD)),
        "flips": "features of a clip and of its mirror image are averaged" if test.FLIP else "none",
        "descriptor": f"{model.descriptor_width} numbers, {length}: {parts}; compare by squared Euclidean distance",
        "cameras": f"by index, {cameras}; -1 is any other" if model.num_cameras else "not used",
        "precision": f"weights float32; computed with SOLVER.PRECISION {cfg.SOLVER.PRECISION}",
        "training data": f"{run.trained_on or 'unknown'}, {model.classifier_image.out_features} people",
        "SHA-256 of the checkpoint": hash_file(run.checkpoint),
        "licence": LICENCE,
        **{name: value for name, value in run.origin.items() if name not in not_of_weights},
    }


def export_onnx(describer: TrackletDescriber, clips: Tensor, metadata: Mapping[str, str], opset: int) -> bytes:
    """Turn a network into an ONNX file whose batch is of any size; two clips at least, (B, T, C, H, W), show shapes."""
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
    network = cast(torch.onnx.ONNXProgram, program).model_proto
    onnx.helper.set_model_props(network, dict(metadata))
    return network.SerializeToString()


def check_export(describer: TrackletDescriber, content: bytes, clips: Tensor) -> float:
    """Return the largest difference of an exported network from torch, on clips with unknown and any known cameras."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    cameras = torch.arange(len(clips)) % (describer.model.num_cameras + 1) - 1
    with torch.inference_mode():
        expected = describer(clips, cameras).numpy()
    (actual,) = session.run([DESCRIPTORS], {FRAMES: clips.numpy(), CAMERAS: cameras.numpy()})
    difference = float(np.abs(actual - expected).max())
    if not difference <= TOLERANCE:
        raise Mistake(f"The exported network differs from torch by {difference:.1e} (more than {TOLERANCE}).")
    return difference
