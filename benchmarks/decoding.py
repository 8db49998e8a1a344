"""Measure how many frames per second and core the decoder of training and evaluation turns from JPEG into pixels.

    python -m benchmarks.decoding                                generated crops of 60x150 to 400x900 pixels
    python -m benchmarks.decoding --root /data/AG-VPReID         also frames of a data set

``decode_frame`` is compared with plain Pillow (decode, convert, antialiased bilinear resize) in processor time, and in
pixels by the mean difference in grey levels, 0..255.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.timing import time_in_turns
from datasets.clips.decoding import decode_frame
from utils.arguments import at_least
from utils.commands import run_command, show
from utils.mistake import MissingFile
from utils.text import format_table

SIZE = (288, 144)
CROPS = ((60, 150), (100, 250), (200, 450), (300, 640), (361, 793), (400, 900))  # width and height, pixels
QUALITY = 90
HEADER = ("frames", "Pillow, frames/s", "decode_frame, frames/s", "faster by", "grey levels")


def decode_plainly(path: str) -> torch.Tensor:
    """Decode an image file to (C, H, W), uint8."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def write_crops(folder: Path, width: int, height: int, number: int) -> list[str]:
    """Write JPEG files with noise at several scales, as in photographs, and sensor noise; returns their paths."""
    rng = np.random.default_rng([width, height])
    paths = []
    for index in range(number):
        noise = (rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (3, 9, 27, 81))
        layers = [Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC) for one in noise]
        pixels = np.mean([np.asarray(layer, float) for layer in layers], axis=0)
        pixels += rng.normal(0, 4, (height, width, 3))
        paths.append(str(folder / f"{width}x{height}_{index}.jpg"))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=QUALITY)
    return paths


def list_frames(root: Path, number: int) -> list[str]:
    """Return up to ``number`` JPEG files from under ``root``, spread over the first ones that are found."""
    found = sorted(map(str, islice(root.rglob("*.jpg"), 100 * number)))
    if not found:
        raise MissingFile(f"{root} holds no .jpg file (--root).")
    return found[:: -(-len(found) // number)]


def measure(paths: Sequence[str], rounds: int) -> tuple[float, float, float, float]:
    """Measure frames per second of Pillow and of ours, their ratio, and the mean difference in grey levels."""
    ways = {
        "plain": lambda: [decode_plainly(path) for path in paths],
        "ours": lambda: [decode_frame(path, SIZE) for path in paths],
    }
    seconds = time_in_turns(ways, rounds, torch.device("cpu"))
    plain, ours = (len(paths) / seconds[name].processor for name in ways)
    pairs = zip(ways["plain"](), ways["ours"](), strict=True)
    differences = [(one.float() - other.float()).abs().mean().item() for one, other in pairs]
    return plain, ours, ours / plain, float(np.mean(differences))


def main(argv: Sequence[str] | None = None) -> dict[str, tuple[float, float, float, float]]:
    """Measure all sizes; returns the figures of ``measure`` by size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="also measure JPEG frames found under this folder")
    parser.add_argument("--frames", type=at_least(1), default=16, help="files of each size")
    parser.add_argument("--rounds", type=at_least(1), default=15, help="turns of each decoder; the median is reported")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    simd = torch.backends.cpu.get_cpu_capability()
    show(f"to {SIZE[1]}x{SIZE[0]} (width x height), torch {torch.__version__} ({simd})")
    with tempfile.TemporaryDirectory() as folder:
        files = {f"{width}x{height}": write_crops(Path(folder), width, height, args.frames) for width, height in CROPS}
        if args.root is not None:
            files[str(args.root)] = list_frames(args.root, args.frames)
        results = {size: measure(paths, args.rounds) for size, paths in files.items()}
    rows = [
        (size, f"{plain:.0f}", f"{ours:.0f}", f"{speedup:.2f}x", f"{difference:.3f}")
        for size, (plain, ours, speedup, difference) in results.items()
    ]
    show(format_table(HEADER, rows))
    return results


if __name__ == "__main__":
    sys.exit(run_command(main))
