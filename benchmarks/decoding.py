"""Measure how many frames per second and core several decoders turn from JPEG files into the model's pixels.

    python -m benchmarks.decoding                                generated crops of 60x150 to 400x900 pixels
    python -m benchmarks.decoding --root /data/AG-VPReID         also frames of a data set

Each row compares one decoder with plain Pillow (decode, convert, antialiased bilinear resize) in speed and in pixels:
the mean difference in grey levels, 0..255. The decoders take turns on the same files, and the CPU time of one thread is
measured, so other work on the machine matters little. ``decode_frame`` is the decoder of training and evaluation.
"""

import argparse
import functools
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import simplejpeg
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from benchmarks.timing import time_in_turns
from datasets.clips.decoding import decode_frame
from utils.arguments import at_least
from utils.commands import run_command, show
from utils.mistake import MissingFile
from utils.tables import format_table

SIZE = (288, 144)
CROPS = ((60, 150), (100, 250), (200, 450), (300, 640), (361, 793), (400, 900))  # width and height, pixels
QUALITY = 90
PLAIN = "Pillow"
OURS = "decode_frame"


def resize_with_torch(pixels: torch.Tensor) -> torch.Tensor:
    """Resize pixels (C, height, width), uint8, to (C, H, W)."""
    return F.interpolate(pixels.unsqueeze(0), SIZE, mode="bilinear", antialias=True)[0].contiguous()


# The decoders take the path of a JPEG file and return pixels (C, H, W), uint8.


def plain_pillow(path: str, draft: bool = False) -> torch.Tensor:
    with Image.open(path) as image:
        if draft:
            image.draft("RGB", SIZE[::-1])
        pixels = np.array(image.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def with_torchvision(path: str) -> torch.Tensor:
    content = np.fromfile(path, dtype=np.uint8)
    return resize_with_torch(decode_jpeg(torch.from_numpy(content), mode=ImageReadMode.RGB))


def simplejpeg_full(path: str) -> torch.Tensor:
    pixels = simplejpeg.decode_jpeg(Path(path).read_bytes(), "RGB")
    return resize_with_torch(torch.from_numpy(pixels).permute(2, 0, 1))


DECODERS: dict[str, Callable[[str], torch.Tensor]] = {
    PLAIN: plain_pillow,
    "Pillow, draft mode": lambda path: plain_pillow(path, draft=True),
    "torchvision + torch resize": with_torchvision,
    "simplejpeg + torch resize": simplejpeg_full,
    OURS: lambda path: decode_frame(path, SIZE),
}


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


def measure(paths: Sequence[str], rounds: int) -> dict[str, dict[str, float]]:
    """Measure, by decoder, frames per second, speed relative to plain Pillow, and difference from it in grey levels."""
    plain = [plain_pillow(path).float() for path in paths]
    decode_all = {
        name: functools.partial(lambda decoder: [decoder(path) for path in paths], decoder)
        for name, decoder in DECODERS.items()
    }
    seconds = time_in_turns(decode_all, rounds, torch.device("cpu"))
    return {
        name: {
            "frames_per_second": len(paths) / seconds[name].processor,
            "speedup": seconds[PLAIN].processor / seconds[name].processor,
            "difference": statistics.mean(
                (pixels.float() - expected).abs().mean().item()
                for pixels, expected in zip(decode(), plain, strict=True)
            ),
        }
        for name, decode in decode_all.items()
    }


def run(argv: Sequence[str] | None = None) -> dict[str, dict[str, dict[str, float]]]:
    """Measure all sizes; returns the figures by size and decoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="also measure JPEG frames found under this folder")
    parser.add_argument("--frames", type=at_least(1), default=16, help="files of each size")
    parser.add_argument("--rounds", type=at_least(1), default=15, help="turns of each decoder; the median is reported")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    simd = torch.backends.cpu.get_cpu_capability()
    show(f"to {SIZE[1]}x{SIZE[0]} (width x height), torch {torch.__version__} ({simd})")
    results, rows = {}, []
    files: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for width, height in CROPS:
            files[f"{width}x{height}"] = write_crops(Path(folder), width, height, args.frames)
        if args.root is not None:
            files[str(args.root)] = list_frames(args.root, args.frames)
        for size, paths in files.items():
            results[size] = measure(paths, args.rounds)
            rows += [
                (size, name, f"{one['frames_per_second']:.0f}", f"{one['speedup']:.2f}", f"{one['difference']:.3f}")
                for name, one in results[size].items()
            ]
    show(format_table(("frames", "decoder", "frames/s per core", "x Pillow", "grey levels"), rows, "<<>>>"))
    return results


def main() -> None:
    """Measure with the options of the command line."""
    run()


if __name__ == "__main__":
    sys.exit(run_command(main))
