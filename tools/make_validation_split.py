"""Make a validation split of AG-VPReID: some training people become the test people of a new copy."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

# As in datasets/readers/validation_split.py (a test compares them), which imports torch: --help answers at once.
FRACTION, DISTRACTOR_FRACTION, SEED = 0.2, 0.1, 0
LINKS = ("symlink", "hard", "copy")

EPILOG = """\
example:
  python -m tools.make_validation_split /data/AG-VPReID data/AG-VPReID-validation
  python train_main.py --output_dir logs/validation DATASETS.ROOT_DIR data/AG-VPReID-validation
  python eval_main.py --output_dir logs/validation --custom_output_dir results/validation --eval_case all

Test people are drawn from those with tracklets from the ground and from the air; they become queries and gallery of
both directions. Distractors are drawn from the other people seen from the air; their aerial tracklets are in case 2's
gallery without a query, as in the challenge. Both draws keep the distribution of altitudes. Everybody else stays in
train/.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Make a validation split from the training people of a copy of AG-VPReID.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="copy of AG-VPReID; only its train/ and its table are used")
    parser.add_argument("output", type=Path, help="folder for the new copy")
    parser.add_argument(
        "--fraction",
        type=float,
        default=FRACTION,
        help="share of the people with both views who become test people (%(default)s)",
    )
    parser.add_argument(
        "--distractor_fraction",
        type=float,
        default=DISTRACTOR_FRACTION,
        help="share of the people seen from the air who become distractors (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the draw (%(default)s)")
    parser.add_argument(
        "--link", choices=LINKS, default="symlink", help="link folders, hard-link files, or copy files (%(default)s)"
    )
    parser.add_argument(
        "--index_dir", default="", help="folder for lists of frames (DATASETS.INDEX_DIR); default: the user's cache"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace the validation split in the output folder; other files are never deleted",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Write the split and log what is in it."""
    parser = make_parser()
    args = parser.parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from datasets.readers.validation_split import PEOPLE_FILE, SplitSettings, format_splits, make_validation_split

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        settings = SplitSettings(args.fraction, args.distractor_fraction, args.seed)
        dataset = make_validation_split(args.source, args.output, settings, args.link, args.force, args.index_dir)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    logger.info("%s", format_splits(dataset))
    logger.info(
        "%s lists the people in each split. Use the split with DATASETS.ROOT_DIR %s",
        args.output / PEOPLE_FILE,
        args.output,
    )


if __name__ == "__main__":
    main()
