"""Describe tracklets by a network of tools/export_onnx.py; needs NumPy, onnxruntime and Pillow, and no torch."""

import argparse
import json
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

logger = logging.getLogger(__name__)

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
EPILOG = """\
examples:
  python -m tools.describe_features xtfclip.onnx /data/tracklet1 /data/tracklet2 --output features.npz
  python -m tools.describe_features xtfclip.onnx /data/people/* --camera 2 --output features.npz

Each folder holds the frames of one tracklet. The file holds 'keys' (the folders), 'features' (n, D) and 'distances'
(n, n), which are squared.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Describe tracklets by an exported network, without torch.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", type=Path, help="file of tools/export_onnx.py")
    parser.add_argument("tracklets", type=Path, nargs="+", help="folder of each tracklet's frames")
    parser.add_argument("--camera", type=int, help="training camera of all of them, as annotated; default: unknown")
    parser.add_argument("--output", type=Path, required=True, help=".npz file to write")
    return parser.parse_args(argv)


def list_frames(folder: Path) -> list[Path]:
    """Return the images of a folder; numbers in their names count as numbers, so 2 comes before 10.

    Raises:
        FileNotFoundError: If the folder is missing or holds no image.
    """
    images = [path for path in folder.glob("*") if path.suffix.lower() in FRAME_SUFFIXES]
    if not images:
        raise FileNotFoundError(f"{folder} is not a folder with frames ({', '.join(FRAME_SUFFIXES)}).")
    return sorted(
        images, key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
    )


def read_clip(folder: Path, num_frames: int, height: int, width: int) -> np.ndarray:
    """Return the first frame of each of ``num_frames`` equal segments of a tracklet, (1, T, 3, H, W), uint8."""
    paths = list_frames(folder)
    segment = -(-len(paths) // num_frames)
    frames = []
    for number in range(num_frames):
        with Image.open(paths[min(number * segment, len(paths) - 1)]) as image:
            frames.append(np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)))
    return np.stack(frames).transpose(0, 3, 1, 2)[None]


def open_network(path: Path) -> tuple[onnxruntime.InferenceSession, dict[str, str]]:
    """Open an exported network; returns it with its metadata. FileNotFoundError, ValueError: if it is none."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: tools/export_onnx.py makes one.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other class
        raise ValueError(f"{path} is damaged, or no ONNX file: {error}") from error
    metadata = session.get_modelmeta().custom_metadata_map
    if "T, H, W" not in metadata:
        raise ValueError(f"{path} was not made by tools/export_onnx.py: its metadata lacks 'T, H, W'.")
    return session, metadata


def main(argv: Sequence[str] | None = None) -> None:
    """Describe all tracklets and write the file."""
    args = parse_args(argv)
    session, metadata = open_network(args.network)
    shape = json.loads(metadata["T, H, W"])
    cameras = json.loads(metadata["cameras"]) or []
    if args.camera is not None and args.camera not in cameras:
        raise ValueError(f"--camera {args.camera} is none of the training cameras: {cameras}.")
    camera = np.array([-1 if args.camera is None else cameras.index(args.camera)])
    features = np.concatenate(
        [session.run(None, {"frames": read_clip(folder, *shape), "cameras": camera})[0] for folder in args.tracklets]
    )
    distances = np.stack([np.square(features - own).sum(axis=1) for own in features])
    np.savez(args.output, keys=[str(folder) for folder in args.tracklets], features=features, distances=distances)
    logger.info("%d descriptors of %d numbers are in %s", *features.shape, args.output)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main()
    except (OSError, ValueError) as error:
        logger.error("%s", error)
        sys.exit(1)
