"""Describe tracklets by a network of tools.export, with NumPy, onnxruntime and Pillow only.

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

from utils.files import write_whole
from utils.mistake import MissingFile, Mistake
from utils.text import natural_key

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")  # read by content, as training does
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
            raise Mistake(f"--camera {camera} is none of the training cameras: {list(self.camids)}.")
        cameras = np.array([-1 if camera is None else self.camids.index(camera)])
        clips = (read_clip(list_frames(folder), *self.clip_shape) for folder in folders)
        return np.concatenate(
            [self.session.run([DESCRIPTORS], {FRAMES: clip[None], CAMERAS: cameras})[0] for clip in clips]
        )


def open_network(path: Path) -> ExportedNetwork:
    """Open a file of tools.export. FileNotFoundError, ValueError: if it is none."""
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
    return ExportedNetwork(session, (num_frames, height, width), json.loads(metadata[CAMIDS]) or [])


def list_frames(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order, hidden ones excepted.

    Only regular files, and links to them, are images: a pipe would wait for its writer for ever.

    Raises:
        FileNotFoundError: If the folder is missing or holds no image.
    """
    shown = list(folder.glob("[!.]*"))
    images = [path for path in shown if path.suffix.lower() in FRAME_SUFFIXES and path.is_file()]
    if not images:
        message = f"{folder} is not a folder with frames ({', '.join(FRAME_SUFFIXES)})."
        if any(path.is_dir() for path in shown):
            message += f" It holds folders: if these are the tracklets, name them, in a shell by {folder}/*/ at once."
        raise MissingFile(message)
    return sorted(images, key=lambda path: natural_key(path.name))


def read_clip(paths: Sequence[Path], num_frames: int, height: int, width: int) -> np.ndarray:
    """Return the first frame of each of ``num_frames`` equal segments of a tracklet, (T, 3, H, W), uint8.

    Raises:
        OSError: If a frame cannot be read; names it.
    """
    segment = -(-len(paths) // num_frames)
    chosen = [paths[min(number * segment, len(paths) - 1)] for number in range(num_frames)]
    return np.stack([_read_frame(path, (width, height)) for path in chosen]).transpose(0, 3, 1, 2)


def _read_frame(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels that training takes for a frame, (H, W, 3), uint8; ``size`` is (W, H)."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            # Of 16 bits a pixel, which only grey images keep, training takes the upper 8.
            frame = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if image.mode.startswith("I") else image
            return np.asarray(frame.convert("RGB").resize(size, Image.Resampling.BILINEAR))
    except Exception as error:  # Pillow promises no list of what it raises for damaged files
        raise Mistake(f"Cannot read frame {path}: {str(error) or type(error).__name__}") from error


def write_features(path: Path, folders: Sequence[Path], features: np.ndarray) -> None:
    """Write an .npz file with 'keys' (the folders), 'features', (n, D), and their squared 'distances', (n, n)."""
    arrays = {
        "keys": np.array([str(folder) for folder in folders]),
        "features": features,
        "distances": np.stack([np.square(features - own).sum(axis=1) for own in features]),
    }
    write_whole(partial(np.savez, **arrays), path)  # type: ignore[arg-type]
