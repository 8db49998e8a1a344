"""Measure how the index of a data set as large as AG-VPReID opens: 9.6 million frames in 32,321 tracklets.

    python -m benchmarks.index

Opening is measured at full size. The folders are real but empty, because that many files do not fit on every disk; the
usual writer writes their index, with generated frame names. A fresh process then opens it: it checks the times of all
folders and the checksum of the whole file, and makes the records of all tracklets. The memory of loader workers is
proportional (PSS: a page that n processes share counts as 1/n), measured after they have looked up random frames all
over the index. Listing is measured on a smaller tree of real, empty files.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

from datasets.readers.agvpreid import LAYOUT, AGVPReID
from datasets.readers.dataset_options import DatasetOptions
from datasets.readers.folder_stamps import stamp_folders
from datasets.readers.frame_index import index_path, open_index
from datasets.readers.index_file import IndexWriter
from datasets.tracklet import Tracklet
from utils.arguments import at_least
from utils.commands import run_command
from utils.mistake import Mistake

logger = logging.getLogger(__name__)

NUM_FRAMES = 9_600_000
NUM_TRACKLETS = 32_321
TRACKLETS_PER_IDENTITY = 5
# Share of the tracklets, and camera, of each split.
SPLITS = {
    "train": (0.5, 5),
    "case1_aerial_to_ground/query": (0.1, 5),
    "case1_aerial_to_ground/gallery": (0.15, 2),
    "case2_ground_to_aerial/query": (0.1, 2),
    "case2_ground_to_aerial/gallery": (0.15, 5),
}
LONG_AGO = 1_600_000_000  # seconds since 1970; an index does not trust folders that have just been made
NUM_WORKERS = 2
LOOKUPS = 100_000  # frames that the loader looks up
BATCH = 100
REPORTS = NUM_WORKERS * BATCH  # the last lookups, with which every worker reports its memory
LISTED_TRACKLETS, LISTED_FRAMES = 300, 300  # real files: tracklets, and frames of each


class RandomPaths(Dataset):
    """Looks up paths of random frames; the last items also hold the memory of the process that looks up.

    An item is the length of the path, the process, its memory in MiB and that of its indices; zeros in earlier items.
    """

    def __init__(self, tracklets: Sequence[Tracklet]) -> None:
        self.tracklets = tracklets

    def __len__(self) -> int:
        return LOOKUPS

    def __getitem__(self, number: int) -> tuple[int, int, float, float]:
        rng = np.random.default_rng(number)
        paths = self.tracklets[int(rng.integers(len(self.tracklets)))].frame_paths
        path = paths[int(rng.integers(len(paths)))]
        if number < LOOKUPS - REPORTS:
            return len(path), 0, 0.0, 0.0
        return len(path), os.getpid(), memory("Pss"), mapped_memory()


def memory(kind: str) -> float:
    """Return the memory of this process in MiB; ``kind`` is 'Rss' or 'Pss'."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) / 1024
    raise Mistake(f"/proc/self/smaps_rollup has no {kind}.")


def mapped_memory() -> float:
    """Return the proportional memory of the indices that this process has mapped, in MiB."""
    total, is_index = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        key, *values = line.split()
        if not key.endswith(":"):
            is_index = line.endswith(".index")
        elif is_index and key == "Pss:":
            total += int(values[0])
    return total / 1024


def time_listing(folder: Path, num_tracklets: int, num_frames: int) -> float:
    """Build the index of a new tree of real files; returns the files listed and checked per second."""
    for number in range(num_tracklets):
        tracklet = folder / "listed" / str(number) / "a"
        tracklet.mkdir(parents=True)
        for frame in range(num_frames):
            (tracklet / f"P{number}T2310171A2C5E152K7F{frame}.jpg").touch()
    start = time.perf_counter()
    open_index(folder / "listed", "a generated tree", LAYOUT.parse_tracklet, LAYOUT.parser_version, folder)
    return num_tracklets * num_frames / (time.perf_counter() - start)


def generate(root: Path, index_dir: Path, num_frames: int, num_tracklets: int) -> int:
    """Make folders and write their indices; returns the size of the indices in bytes."""
    index_dir.mkdir()
    rng = np.random.default_rng(0)
    pid = written = 0
    for split, (share, camera) in SPLITS.items():
        number = round(share * num_tracklets) if split != "case2_ground_to_aerial/gallery" else num_tracklets - written
        written += number
        folders = [f"{pid + n // TRACKLETS_PER_IDENTITY}/{n:05d}C{camera}" for n in range(number)]
        pid += -(-number // TRACKLETS_PER_IDENTITY)
        folders.sort(key=lambda folder: (int(folder.split("/")[0]), folder))
        parents = [*dict.fromkeys(folder.split("/")[0] for folder in folders), "."]
        for folder in folders:
            (root / split / folder).mkdir(parents=True)
        places = [str(root / split / folder) for folder in (*folders, *parents)]
        for place in places:
            os.utime(place, (LONG_AGO, LONG_AGO))
        with open(index_path(root / split, LAYOUT.parser_version, index_dir), "wb") as file:
            writer = IndexWriter(file, root / split, LAYOUT.parser_version)
            for folder, first in zip(folders, rng.integers(9000, size=number), strict=True):
                stem = f"P{folder.split('/')[0]}T2310171A2C{camera}E152K7F"
                names = [f"{stem}{first + frame}.jpg" for frame in range(num_frames // num_tracklets + 1)]
                writer.add(folder, names, (camera, 80, 231017))
            writer.finish(parents, stamp_folders(places))
    return sum(path.stat().st_size for path in index_dir.iterdir())


def open_generated(root: str, index_dir: str) -> dict[str, float]:
    """Open the indices in this process, then look up frames in loader workers; returns the figures by name."""
    before = memory("Rss")
    start = time.perf_counter()
    dataset = AGVPReID(root, options=DatasetOptions(index_dir=index_dir))
    seconds = time.perf_counter() - start
    tracklets = [*dataset.train, *(t for case in dataset.cases.values() for t in (*case.query, *case.gallery))]
    figures = {
        "seconds": seconds,
        "rss_before": before,
        "rss": memory("Rss"),
        "tracklets": len(tracklets),
        "frames": sum(len(tracklet.frame_paths) for tracklet in tracklets),
    }
    workers: dict[int, tuple[float, float]] = {}
    loader = DataLoader(RandomPaths(tracklets), batch_size=BATCH, num_workers=NUM_WORKERS)
    for _, pids, pss, mapped in loader:
        reports = zip(pids.tolist(), pss.tolist(), mapped.tolist(), strict=True)
        workers |= {pid: (all_of_it, of_index) for pid, all_of_it, of_index in reports if pid}
    figures["pss_workers"] = sum(all_of_it for all_of_it, _ in workers.values())
    figures["index_workers"] = sum(of_index for _, of_index in workers.values())
    return figures


def run(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Generate the indices, open them in a fresh process, and log; returns the logged figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=at_least(1), default=NUM_FRAMES)
    parser.add_argument("--tracklets", type=at_least(1), default=NUM_TRACKLETS)
    parser.add_argument("--listed", type=at_least(1), default=LISTED_TRACKLETS, help="tracklets of real files to list")
    parser.add_argument("--open", nargs=2, metavar=("ROOT", "INDEX_DIR"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.open:
        figures = open_generated(*args.open)
        sys.stdout.write(json.dumps(figures))
        return figures
    with tempfile.TemporaryDirectory() as folder:
        root, index_dir = Path(folder, "data"), Path(folder, "index")
        start = time.perf_counter()
        size = generate(root, index_dir, args.frames, args.tracklets)
        logger.info("generated in %.1f s: indices of %.0f MiB", time.perf_counter() - start, size / 2**20)
        command = [sys.executable, "-m", "benchmarks.index", "--open", str(root), str(index_dir)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        figures = {**json.loads(output), "index": size / 2**20}
        figures["files_per_second"] = time_listing(Path(folder), args.listed, LISTED_FRAMES)
    logger.info(
        "opened %s frames in %s tracklets in %.2f s: %.0f MiB resident, %.0f MiB of them before (Python and torch)",
        f"{figures['frames']:,}",
        f"{figures['tracklets']:,}",
        figures["seconds"],
        figures["rss"],
        figures["rss_before"],
    )
    logger.info(
        "%d loader workers, proportional: %.0f MiB together, %.0f MiB of it the index, whose size is %.0f MiB",
        NUM_WORKERS,
        figures["pss_workers"],
        figures["index_workers"],
        figures["index"],
    )
    logger.info("listing a tree of real files: %.0f files/s", figures["files_per_second"])
    return figures


def main() -> None:
    """Measure with the options of the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run()


if __name__ == "__main__":
    sys.exit(run_command(main))
