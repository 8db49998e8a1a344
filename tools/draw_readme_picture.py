"""Draw the picture of the README: people of the demo's data set, small enough to keep in the repository.

python -m tools.draw_readme_picture
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from utils.arguments import at_least

logger = logging.getLogger(__name__)

PICTURE = Path(__file__).resolve().parents[1] / "docs/images/demo_people.png"


def draw_people(seed: int, num_people: int, width: int) -> Image.Image:
    """Render people in rows, ground views on the left and aerial views on the right.

    Args:
        seed: Seed of the people, as in ``make demo``.
        num_people: Rows.
        width: Width of the picture, pixels.
    Returns:
        Picture of the given width.
    """
    # Imported here, so that --help answers at once: torch takes seconds.
    from demo.contact_sheet import draw_contact_sheet

    sheet = Image.fromarray(draw_contact_sheet(seed, num_people, captions=False))
    size = (width, round(width * sheet.height / sheet.width))
    return sheet.resize(size, Image.Resampling.LANCZOS)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, draw, write the file."""
    parser = argparse.ArgumentParser(
        description="Draw people of the demo's data set for the README.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=PICTURE, help="PNG file to write")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the people, as in 'make demo'")
    parser.add_argument("--people", type=at_least(1), default=4, help="rows")
    parser.add_argument("--width", type=at_least(1), default=640, help="pixels")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    draw_people(args.seed, args.people, args.width).save(args.output, optimize=True)
    logger.info("Wrote %s, %d KiB.", args.output, args.output.stat().st_size // 1024)


if __name__ == "__main__":
    from utils.commands import run_command

    sys.exit(run_command(main))
