"""Describe tracklets by a network of tools.export; needs NumPy, onnxruntime and Pillow, and no torch."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.mistake import Mistake

logger = logging.getLogger(__name__)

EPILOG = """\
examples:
  python -m tools.describe_features xtfclip.onnx /data/tracklet1 /data/tracklet2 --output features.npz
  python -m tools.describe_features xtfclip.onnx /data/people/*/ --camera 2 --output features.npz

Each folder holds the frames of one tracklet; those that tools.cut_tracklets wrote into data/drone are data/drone/*/.
The file holds 'keys' (the folders), 'features' (n, D) and 'distances' (n, n), which are squared. tools.search does not
read it; tools.extract_features writes files for a search.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Describe tracklets by an exported network, without torch.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", type=Path, help="file of tools.export")
    parser.add_argument("tracklets", type=Path, nargs="+", help="folder of each tracklet's frames")
    parser.add_argument("--camera", type=int, help="training camera of all of them, as annotated; default: unknown")
    parser.add_argument("--output", type=Path, required=True, help=".npz file to write")
    parser.add_argument("--force", action="store_true", help="replace the file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Describe all tracklets and write the file."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once.
    from processor.exported_network import open_network, write_features

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.output.exists() and not args.force:
        raise Mistake(f"{args.output} exists already: --force replaces it, --output names another file.")
    features = open_network(args.network).describe(args.tracklets, args.camera)
    write_features(args.output, args.tracklets, features)
    logger.info("%d descriptors of %d numbers are in %s", *features.shape, args.output)


if __name__ == "__main__":
    from utils.commands import run_command

    sys.exit(run_command(main))
