"""Describe tracklets by a network of tools/export_onnx.py, with NumPy, onnxruntime and Pillow only.

It is for machines without torch: this file imports no other package, and nothing of this project that does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from utils.natural_order import natural_key
from utils.whole_files import write_whole

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
FRAMES, CAMERAS, DESCRIPTORS = "frames", "cameras", "descriptors"  # the network's inputs and its output
CLIP_SHAPE, CAMIDS = "T, H, W", "cameras"  # entries of its metadata


@dataclass(frozen=True)
class ExportedNetwork:
    """A network that is ready to describe clips.

    Attributes:
        session: Runs it.
        clip_shape: Frames of a clip, their height and their width in pixels.
        camids: Training cameras as annotated, in the order of their indices; empty if they are not known.
    """

    session: onnxruntime.InferenceSession
    clip_shape: tuple[int, int, int]
    camids: Sequence[int]

    def describe(self, folders: Sequence[Path], camera: int | None = None) -> np.ndarray:
        """Describe tracklets, (n, D), float32.

        Args:
            folders: Those of the tracklets' frames; at least one.
            camera: Training camera of all of them, as annotated; None if unknown.
        Raises:
            FileNotFoundError: If a folder is missing or holds no image.
            ValueError: If there is no such camera.
            OSError: If a frame cannot be read.
        """
        if camera is not None and camera not in self.camids:
            raise ValueError(f"--camera {camera} is none of the training cameras: {list(self.camids)}.")
        cameras = np.array([-1 if camera is None else self.camids.index(camera)])
        clips = (read_clip(list_frames(folder), *self.clip_shape) for folder in folders)
        return np.concatenate(
            [self.session.run([DESCRIPTORS], {FRAMES: clip[None], CAMERAS: cameras})[0] for clip in clips]
        )


def open_network(path: Path) -> ExportedNetwork:
    """Open a file of tools/export_onnx.py. FileNotFoundError, ValueError: if it is none."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: tools/export_onnx.py makes one.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other class
        raise ValueError(f"{path} is damaged, or no ONNX file: {error}") from error
    metadata = session.get_modelmeta().custom_metadata_map
    if CLIP_SHAPE not in metadata:
        raise ValueError(f"{path} was not made by tools/export_onnx.py: its metadata lacks {CLIP_SHAPE!r}.")
    num_frames, height, width = json.loads(metadata[CLIP_SHAPE])
    return ExportedNetwork(session, (num_frames, height, width), json.loads(metadata[CAMIDS]) or [])


def list_frames(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order, hidden ones excepted.

    Raises:
        FileNotFoundError: If the folder is missing or holds no image.
    """
    images = [path for path in folder.glob("[!.]*") if path.suffix.lower() in FRAME_SUFFIXES]
    if not images:
        raise FileNotFoundError(f"{folder} is not a folder with frames ({', '.join(FRAME_SUFFIXES)}).")
    return sorted(images, key=lambda path: natural_key(path.name))


def read_clip(paths: Sequence[Path], num_frames: int, height: int, width: int) -> np.ndarray:
    """Return the first frame of each of ``num_frames`` equal segments of a tracklet, (T, 3, H, W), uint8."""
    segment = -(-len(paths) // num_frames)
    frames = []
    for number in range(num_frames):
        with Image.open(paths[min(number * segment, len(paths) - 1)]) as image:
            frames.append(np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)))
    return np.stack(frames).transpose(0, 3, 1, 2)


def write_features(path: Path, folders: Sequence[Path], features: np.ndarray) -> None:
    """Write an .npz file with 'keys' (the folders), 'features', (n, D), and their squared 'distances', (n, n)."""
    arrays = {
        "keys": np.array([str(folder) for folder in folders]),
        "features": features,
        "distances": np.stack([np.square(features - own).sum(axis=1) for own in features]),
    }
    write_whole(partial(np.savez, **arrays), path)  # type: ignore[arg-type]
