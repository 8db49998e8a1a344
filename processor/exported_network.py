"""Describe tracklets by a network of tools.export, with NumPy, onnxruntime and Pillow: nothing here imports torch."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from PIL import Image

from utils.commands import first_line
from utils.mistake import MissingFile, Mistake
from utils.pictures import read_picture
from utils.unknown import UNKNOWN

FRAMES, CAMERAS, DESCRIPTORS = "frames", "cameras", "descriptors"  # the network's inputs and its output
CLIP_SHAPE, CAMIDS = "T, H, W", "cameras"  # entries of its metadata


class ExportedNetwork(NamedTuple):
    """A network that is ready to describe clips."""

    session: onnxruntime.InferenceSession
    clip_shape: tuple[int, int, int]  # frames, height and width in pixels
    cameras: Sequence[str]  # training cameras as annotated, in the order of their indices; empty if not known
    origin: Mapping[str, str]  # what descriptors depend on, by name, as feature files hold it

    def describe(self, tracklets: Iterable[Sequence[str]], camera: str | None = None) -> np.ndarray:
        """Describe tracklets by their frames, (n, D), float32; all are of one training camera, or unknown ones."""
        if camera is not None and camera not in self.cameras:
            raise Mistake(f"--camera {camera} is none of the training cameras: [{', '.join(self.cameras)}].")
        cameras = np.array([UNKNOWN if camera is None else self.cameras.index(camera)])
        return np.concatenate([self._run(read_clip(frames, *self.clip_shape), cameras) for frames in tracklets])

    def _run(self, clip: np.ndarray, cameras: np.ndarray) -> np.ndarray:
        try:
            return self.session.run([DESCRIPTORS], {FRAMES: clip[None], CAMERAS: cameras})[0]
        except Exception as error:  # onnxruntime's errors share no other class
            raise Mistake(f"The network cannot describe a clip: {first_line(error)}") from error


def open_network(path: Path) -> ExportedNetwork:
    """Open a file of tools.export."""
    if not path.is_file():
        raise MissingFile(f"{path} is not a file: tools.export onnx makes one.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        metadata = session.get_modelmeta().custom_metadata_map
        if CLIP_SHAPE not in metadata:
            raise Mistake(f"its metadata lacks {CLIP_SHAPE!r}")
        num_frames, height, width = json.loads(metadata[CLIP_SHAPE])
        cameras = [str(camera) for camera in json.loads(metadata.get(CAMIDS, "null")) or ()]
    except Exception as error:  # onnxruntime's errors share no other class
        reason = first_line(error)[:200]
        raise Mistake(f"{path} is damaged, or no ONNX file of tools.export: {reason}.") from error
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    origin = {"weights": f"network {sha256}", "transform": metadata[CLIP_SHAPE], **metadata}
    return ExportedNetwork(session, (num_frames, height, width), cameras, origin)


def read_clip(paths: Sequence[str], num_frames: int, height: int, width: int) -> np.ndarray:
    """Return the first frame of each of ``num_frames`` equal segments of a tracklet, (T, 3, H, W), uint8."""
    segment = -(-len(paths) // num_frames)
    chosen = [paths[min(number * segment, len(paths) - 1)] for number in range(num_frames)]
    pictures = [read_picture(path).resize((width, height), Image.Resampling.BILINEAR) for path in chosen]
    return np.stack([np.asarray(picture) for picture in pictures]).transpose(0, 3, 1, 2)
