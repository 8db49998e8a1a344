"""Rank people by clothing colour alone, in both directions of a data set in the AG-VPReID layout.

    python -m benchmarks.color_histogram --root data/synthetic

Each frame is cut into horizontal stripes (as by Gray and Tao, ECCV 2008), and each stripe becomes a joint
hue-saturation-value histogram. The feature of a tracklet is the square root of the mean over its frames, so that
Euclidean distance is the Hellinger distance between histograms. A learned model that does not beat these scores has
learned nothing beyond colour.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from PIL import Image

from datasets.build import open_dataset
from datasets.tracklet import Case, DatasetOptions, Tracklet
from utils.commands import run_command, show
from utils.metrics import evaluate_ranking

NUM_STRIPES = 6
BINS = (16, 4, 4)  # hue, saturation, value
MARGIN = 0.15  # share of the width left out on each side, where background dominates


def frame_histogram(image: np.ndarray) -> np.ndarray:
    """Return the histograms of all stripes, (NUM_STRIPES * 256,), each summing to 1, of (H, W, 3), uint8, in HSV."""
    side = int(image.shape[1] * MARGIN)
    middle = image[:, side : image.shape[1] - side].astype(np.int64)
    cells = np.zeros(middle.shape[:2], dtype=np.int64)
    for channel, bins in enumerate(BINS):
        cells = cells * bins + middle[..., channel] * bins // 256
    stripes = np.array_split(cells, NUM_STRIPES, axis=0)
    counts = [np.bincount(stripe.ravel(), minlength=int(np.prod(BINS))) / max(stripe.size, 1) for stripe in stripes]
    return np.concatenate(counts)


def tracklet_feature(tracklet: Tracklet) -> np.ndarray:
    """Return the tracklet's feature, (NUM_STRIPES * 256,): the square root of its frames' mean histogram."""
    histograms = []
    for path in tracklet.frame_paths:
        with Image.open(path) as image:
            histograms.append(frame_histogram(np.asarray(image.convert("HSV"))))
    return np.sqrt(np.mean(histograms, axis=0))


def evaluate_case(case: Case) -> dict[str, float]:
    """Rank a case's gallery for each query; return R1, R5, R10 and mAP in percent."""
    sides = case.query, case.gallery
    query, gallery = (np.stack([tracklet_feature(tracklet) for tracklet in side]) for side in sides)
    q_pids, g_pids = (np.array([tracklet.pid for tracklet in side]) for side in sides)
    q_camids, g_camids = (np.array([tracklet.camid for tracklet in side]) for side in sides)
    # All features have the same length, so the inner product ranks as the Hellinger distance does.
    distmat = 1.0 - query @ gallery.T / NUM_STRIPES
    ranking = evaluate_ranking(distmat, q_pids, g_pids, q_camids, g_camids)
    return {**{f"R{k}": 100.0 * ranking.cmc[k - 1] for k in (1, 5, 10)}, "mAP": 100.0 * ranking.mAP}


def main(arguments: Sequence[str] | None = None) -> None:
    """Show one line of scores per matching direction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="data set folder, such as data/synthetic")
    options = parser.parse_args(arguments)
    for case in open_dataset("agvpreid", options.root, DatasetOptions(with_train=False)).cases.values():
        scores = evaluate_case(case)
        show(f"{case.name:24s} {'  '.join(f'{name} {value:5.1f}' for name, value in scores.items())}")


if __name__ == "__main__":
    sys.exit(run_command(main))
