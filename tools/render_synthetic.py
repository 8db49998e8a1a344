"""Render the synthetic aerial-ground data set, or a contact sheet to look at its people.

python -m tools.render_synthetic --output data/synthetic
python -m tools.render_synthetic --contact_sheet people.png
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.synthetic.cameras import CAMERAS
from datasets.synthetic.dataset import render_dataset, render_tracklet
from datasets.synthetic.people import Person

logger = logging.getLogger(__name__)

SHEET_PEOPLE = 12
SHEET_FRAMES = 2
SHEET_ALTITUDES = (15, 30, 80, 120)  # metres, one aerial tracklet each
CELL = (130, 80)  # height and width, pixels
MAX_ZOOM = 2.5  # small aerial crops grow by at most this, so that they stay visibly small


def contact_sheet(seed: int, num_people: int = SHEET_PEOPLE) -> np.ndarray:
    """Draw people in rows: on the left one tracklet per ground camera, on the right one per altitude.

    Args:
        seed: Seed of people and tracklets.
        num_people: Rows.
    Returns:
        Sheet, (H, W, 3), uint8.
    """
    ground = [(camera, None) for camera in CAMERAS if camera.view == "ground"]
    drones = [camera for camera in CAMERAS if camera.view == "aerial"]
    aerial = [(drones[index % len(drones)], altitude) for index, altitude in enumerate(SHEET_ALTITUDES)]
    shots = ground + aerial
    height, width = CELL
    sheet = np.full((num_people * height, len(shots) * SHEET_FRAMES * width, 3), 255, dtype=np.uint8)
    for row in range(num_people):
        person = Person.sample(np.random.default_rng([seed, row]))
        logger.info("Row %d: %s.", row + 1, person.caption())
        for index, (camera, altitude) in enumerate(shots):
            rng = np.random.default_rng([seed, row, index])
            frames = render_tracklet(person, camera, 2 * SHEET_FRAMES, rng, altitude)[::2]
            for column, frame in enumerate(frames, start=index * SHEET_FRAMES):
                cell = _fit(frame)
                top, left = row * height, column * width
                sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet


def _fit(frame: np.ndarray) -> np.ndarray:
    """Resize a crop (H, W, 3) to fill a cell, less a narrow border, as far as ``MAX_ZOOM`` allows."""
    zoom = min((CELL[0] - 4) / frame.shape[0], (CELL[1] - 4) / frame.shape[1], MAX_ZOOM)
    size = (max(int(frame.shape[1] * zoom), 1), max(int(frame.shape[0] * zoom), 1))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and render."""
    parser = argparse.ArgumentParser(
        description="Render walking people seen by four ground cameras and two drones, in the AG-VPReID layout "
        "with attribute tables. The same options give the same bytes, whatever --workers is.",
        epilog="Train on it with DATASETS.ROOT_DIR data/synthetic; see what colour alone achieves with "
        "'python -m benchmarks.color_histogram --root data/synthetic'.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", default="data/synthetic", help="folder to write the data set to")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other people and other passes")
    parser.add_argument("--train_people", type=int, default=120, help="identities in train/")
    parser.add_argument("--test_people", type=int, default=60, help="identities in both cases' query and gallery")
    parser.add_argument(
        "--tracklets_per_view", type=int, default=4, help="aerial tracklets, and as many ground ones, per person"
    )
    parser.add_argument("--frames", type=int, default=8, help="frames per tracklet")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--force", action="store_true", help="replace the data set already in --output")
    parser.add_argument(
        "--contact_sheet",
        metavar="PATH",
        help="write a picture of a dozen people to PATH instead of the data set: one row each, ground views on "
        "the left, aerial ones (15, 30, 80, 120 m) on the right",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.contact_sheet:
        Path(options.contact_sheet).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(contact_sheet(options.seed)).save(options.contact_sheet)
        logger.info("Wrote %s.", options.contact_sheet)
        return
    try:
        render_dataset(
            options.output,
            seed=options.seed,
            num_train=options.train_people,
            num_test=options.test_people,
            tracklets_per_view=options.tracklets_per_view,
            frames_per_tracklet=options.frames,
            num_workers=options.workers,
            force=options.force,
            progress=True,
        )
    except FileExistsError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
