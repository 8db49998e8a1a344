"""Frames per second and core of several ways from a JPEG file to the pixels that the model sees.

    python -m benchmarks.decoding                                generated crops of 60x150 to 400x900 pixels
    python -m benchmarks.decoding --root /data/AG-VPReID         and frames of a data set

Each line compares one way with plain Pillow (decode, convert, antialiased bilinear resize) in speed and in pixels: the
mean difference in grey levels, 0..255. Ways take turns on the same files, and CPU time of one thread is what counts, so
that other work on the machine matters little. ``decode_frame`` is what training and evaluation use; the frame cache is
DATALOADER.CACHE_DIR's, with every frame in it and its file in memory.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import simplejpeg
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from datasets.clips.decoding import DECODER, decode_frame
from datasets.storage.frame_cache import FrameCache, frame_key
from utils.runtime import run_command

logger = logging.getLogger(__name__)

SIZE = (288, 144)
CROPS = ((60, 150), (100, 250), (200, 450), (300, 640), (361, 793), (400, 900))  # width and height, pixels
QUALITY = 90
PLAIN = "Pillow"
OURS = "decode_frame"
CACHED = "frame cache, warm"
CACHE_BYTES = 2**36  # more than all frames need; nothing is set aside


def resize_with_pillow(image: Image.Image) -> torch.Tensor:
    """Pixels (C, H, W)."""
    pixels = np.array(image.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def resize_with_torch(pixels: torch.Tensor) -> torch.Tensor:
    """(C, height, width), uint8, to (C, H, W)."""
    return F.interpolate(pixels.unsqueeze(0), SIZE, mode="bilinear", antialias=True)[0].contiguous()


def plain_pillow(path: str) -> torch.Tensor:
    with Image.open(path) as image:
        return resize_with_pillow(image)


def pillow_draft(path: str) -> torch.Tensor:
    with Image.open(path) as image:
        image.draft("RGB", SIZE[::-1])
        return resize_with_pillow(image)


def pillow_and_torch(path: str) -> torch.Tensor:
    with Image.open(path) as image:
        return resize_with_torch(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))


def with_torchvision(path: str) -> torch.Tensor:
    content = np.fromfile(path, dtype=np.uint8)
    return resize_with_torch(decode_jpeg(torch.from_numpy(content), mode=ImageReadMode.RGB))


def simplejpeg_and_pillow(path: str) -> torch.Tensor:
    return resize_with_pillow(Image.fromarray(simplejpeg.decode_jpeg(Path(path).read_bytes(), "RGB")))


def simplejpeg_full(path: str) -> torch.Tensor:
    pixels = simplejpeg.decode_jpeg(Path(path).read_bytes(), "RGB")
    return resize_with_torch(torch.from_numpy(pixels).permute(2, 0, 1))


def simplejpeg_tight(path: str) -> torch.Tensor:
    pixels = simplejpeg.decode_jpeg(Path(path).read_bytes(), "RGB", min_height=SIZE[0], min_width=SIZE[1])
    return resize_with_torch(torch.from_numpy(pixels).permute(2, 0, 1))


WAYS: dict[str, Callable[[str], torch.Tensor]] = {
    PLAIN: plain_pillow,
    "Pillow, draft mode": pillow_draft,
    "Pillow + torch resize": pillow_and_torch,
    "torchvision + torch resize": with_torchvision,
    "simplejpeg + Pillow resize": simplejpeg_and_pillow,
    "simplejpeg + torch resize": simplejpeg_full,
    "simplejpeg, any scale + torch": simplejpeg_tight,
    OURS: lambda path: decode_frame(path, SIZE),
}


def warm_cache(folder: Path, paths: Sequence[str]) -> Callable[[str], torch.Tensor]:
    """The way through a cache that holds all of ``paths``."""
    cache = FrameCache(str(folder), CACHE_BYTES)
    cache.put({frame_key(path, SIZE, DECODER): decode_frame(path, SIZE) for path in paths})
    return lambda path: cache.get(frame_key(path, SIZE, DECODER), SIZE)


def write_crops(folder: Path, width: int, height: int, number: int) -> list[str]:
    """JPEG files with noise at several scales, as photographs have, and some of a sensor's."""
    rng = np.random.default_rng([width, height])
    paths = []
    for index in range(number):
        layers = [
            np.asarray(
                Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize(
                    (width, height), Image.Resampling.BICUBIC
                ),
                dtype=np.float64,
            )
            for side in (3, 9, 27, 81)
        ]
        pixels = np.mean(layers, axis=0) + rng.normal(0, 4, (height, width, 3))
        paths.append(str(folder / f"{width}x{height}_{index}.jpg"))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=QUALITY)
    return paths


def list_frames(root: Path, number: int) -> list[str]:
    """JPEG frames found first under ``root``, spread over them."""
    found = sorted(map(str, islice(root.rglob("*.jpg"), 100 * number)))
    if not found:
        raise FileNotFoundError(f"{root} holds no .jpg file (--root).")
    return found[:: -(-len(found) // number)]


def measure(
    paths: Sequence[str], rounds: int, ways: Mapping[str, Callable[[str], torch.Tensor]]
) -> dict[str, dict[str, float]]:
    """Frames per second, speed relative to plain Pillow (one of the ways), and difference from it, by way."""
    plain = [plain_pillow(path).float() for path in paths]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            for path in paths:
                way(path)
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        name: {
            "frames_per_second": len(paths) / medians[name],
            "speedup": medians[PLAIN] / medians[name],
            "difference": statistics.mean(
                (way(path).float() - expected).abs().mean().item() for path, expected in zip(paths, plain, strict=True)
            ),
        }
        for name, way in ways.items()
    }


def run(argv: Sequence[str] | None = None) -> dict[str, dict[str, dict[str, float]]]:
    """Measure all sizes; returns what was logged, by size and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="also measure JPEG frames found under this folder")
    parser.add_argument("--frames", type=int, default=16, help="files of each size")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each way; the median is reported")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    simd = torch.backends.cpu.get_cpu_capability()
    logger.info("to %dx%d (width x height), torch %s (%s)", *SIZE[::-1], torch.__version__, simd)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for width, height in CROPS:
            results[f"{width}x{height}"] = write_crops(Path(folder), width, height, args.frames)
        if args.root is not None:
            results[str(args.root)] = list_frames(args.root, args.frames)
        for size, paths in results.items():
            cached = warm_cache(Path(folder) / "cache", paths)
            results[size] = measure(paths, args.rounds, {**WAYS, CACHED: cached})
            logger.info("%s, %d frames", size, len(paths))
            for name, figures in results[size].items():
                logger.info(
                    "  %-30s %7.0f frames/s per core  %5.2f x Pillow  differs by %.3f",
                    name,
                    figures["frames_per_second"],
                    figures["speedup"],
                    figures["difference"],
                )
    return results


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(run_command(run))
