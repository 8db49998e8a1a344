"""Describe tracklets by a network of tools.export, with NumPy, onnxruntime and Pillow: nothing here imports torch."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from PIL import Image

from utils.mistake import MissingFile, Mistake
from utils.pictures import read_rgb

FRAMES, CAMERAS, DESCRIPTORS = "frames", "cameras", "descriptors"  # the network's inputs and its output
CLIP_SHAPE, CAMIDS = "T, H, W", "cameras"  # entries of its metadata


class ExportedNetwork(NamedTuple):
    """A network that is ready to describe clips."""

    session: onnxruntime.InferenceSession
    clip_shape: tuple[int, int, int]  # frames, height and width in pixels
    camids: Sequence[int]  # training cameras as annotated, in the order of their indices; empty if not known
    origin: Mapping[str, str]  # what descriptors depend on, by name, as feature files hold it

    def describe(self, tracklets: Iterable[Sequence[str]], camera: int | None = None) -> np.ndarray:
        """Describe tracklets by their frames, (n, D), float32; all are of one training camera, or unknown ones."""
        if camera is not None and camera not in self.camids:
            raise Mistake(f"--camera {camera} is none of the training cameras: {list(self.camids)}.")
        cameras = np.array([-1 if camera is None else self.camids.index(camera)])
        clips = (read_clip(frames, *self.clip_shape) for frames in tracklets)
        return np.concatenate(
            [self.session.run([DESCRIPTORS], {FRAMES: clip[None], CAMERAS: cameras})[0] for clip in clips]
        )


def open_network(path: Path) -> ExportedNetwork:
    """Open a file of tools.export."""
    if not path.is_file():
        raise MissingFile(f"{path} is not a file: tools.export onnx makes one.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other class
        raise Mistake(f"{path} is damaged, or no ONNX file: {error}") from error
    metadata = session.get_modelmeta().custom_metadata_map
    if CLIP_SHAPE not in metadata:
        raise Mistake(f"{path} was not made by tools.export: its metadata lacks {CLIP_SHAPE!r}.")
    num_frames, height, width = json.loads(metadata[CLIP_SHAPE])
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    origin = {"weights": f"network {sha256}", "transform": metadata[CLIP_SHAPE], **metadata}
    return ExportedNetwork(session, (num_frames, height, width), json.loads(metadata[CAMIDS]) or [], origin)


def read_clip(paths: Sequence[str], num_frames: int, height: int, width: int) -> np.ndarray:
    """Return the first frame of each of ``num_frames`` equal segments of a tracklet, (T, 3, H, W), uint8."""
    segment = -(-len(paths) // num_frames)
    chosen = [paths[min(number * segment, len(paths) - 1)] for number in range(num_frames)]
    return np.stack([_read_frame(path, (width, height)) for path in chosen]).transpose(0, 3, 1, 2)


def _read_frame(path: str, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels that training takes for a frame, (H, W, 3), uint8; ``size`` is (W, H)."""
    try:
        return np.asarray(read_rgb(Path(path).read_bytes()).resize(size, Image.Resampling.BILINEAR))
    except Exception as error:  # Pillow promises no list of what it raises for damaged files
        raise Mistake(f"Cannot read frame {path}: {str(error) or type(error).__name__}") from error
