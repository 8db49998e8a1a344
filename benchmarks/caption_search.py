"""Score how well texts find synthetic people whom neither tower was trained on.

    python -m benchmarks.caption_search

Renders people, and asks for each by the whole caption and by the clothes of the upper body alone, among the tracklets
of one view. A text is asked once, however many people it describes, and any tracklet of any of these people is right.
Beside each score is what tracklets in random order would reach.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace

from utils.arguments import at_least
from utils.commands import run_command

logger = logging.getLogger(__name__)

SEED = 7  # tools/pretrain_encoder.py trains on the people of seed 0 and validates on those of seed 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Log one line of scores for each number of people, kind of text and view."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--text_tower", default="demo/demo_captions.safetensors", help="captions or a CLIP file (%(default)s)"
    )
    parser.add_argument(
        "--people", type=at_least(2), nargs="+", default=[100, 500], help="numbers of people (%(default)s)"
    )
    parser.add_argument("--seed", type=at_least(0), default=SEED, help="other seeds, other people (%(default)s)")
    parser.add_argument("--workers", type=at_least(1), default=2, help="processes that render (%(default)s)")
    options = parser.parse_args(arguments)
    # Imported here, so that --help answers at once: torch takes seconds.
    from demo.caption_training import describe_search, encode_crowd
    from demo.crowd import render_crowd
    from model.text_space import open_text_space

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    space = open_text_space(options.text_tower)
    height, width = space.image_size
    crowd = render_crowd(max(options.people), options.seed, (height, width), options.workers)
    images = encode_crowd(space, crowd)
    for number in options.people:
        part = replace(crowd, captions=crowd.captions[:number], phrases=crowd.phrases[:number])
        for what, scores in describe_search(space, part, images[:number]).items():
            logger.info("%d people, %s: %s", number, what, scores)


if __name__ == "__main__":
    sys.exit(run_command(main))
