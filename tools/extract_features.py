"""Describe every tracklet in a folder, without labels, and write one file of descriptors."""

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from configs import config_of_run, get_cfg
from utils.mistake import Mistake

logger = logging.getLogger(__name__)

EPILOG = """\
examples:
  python -m tools.extract_features --output_dir logs/all --tracklets /data/people --output people.npz
  python -m tools.extract_features --output_dir logs/all --tracklets /data/people/anna/1 --output query.parquet
  python -m tools.extract_features --output_dir logs/all --tracklets photo.jpg --output photo.npz --weight best
  python -m tools.extract_features --output_dir logs/all --tracklets people --output p.npz --text_tower ViT-B-16.pt
  torchrun --nproc_per_node=4 -m tools.extract_features --output_dir logs/all --tracklets /data/people --output p.npz

Every folder that directly holds frames (.jpg, .jpeg, .png) is one tracklet: the folder of --tracklets itself and those
below it. Its key is its path below that folder. One still image is a tracklet of one frame.

The file holds, for each tracklet, its key, descriptor, camera and a picture, and says which weights and settings made
it. A command that was stopped goes on where it was: finished parts are in OUTPUT.parts, which is removed in the end.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", required=True, help="folder of the training run (OUTPUT_DIR)")
    parser.add_argument("--tracklets", required=True, type=Path, help="folder of tracklets, of one, or an image")
    parser.add_argument("--output", required=True, type=Path, help="file to write, .npz or .parquet")
    parser.add_argument("--camera", type=int, help="training camera of all of them, as annotated; default: unknown")
    parser.add_argument(
        "--text_tower", type=Path, help="CLIP file, for search by words; default: none (docs/text.md names files)"
    )
    parser.add_argument("--weight", default="", help="last (default), best, or a file (TEST.WEIGHT)")
    parser.add_argument("--force", action="store_true", help="replace the file")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Open the trained run, describe the tracklets, write the file."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from model.text_space import open_text_space
    from processor.evaluation.open_run import load_trained, locate_checkpoint
    from search.described import check_suffix, write_described
    from search.extraction import describe_folder
    from utils.files import lock_folder
    from utils.runtime import start_logging

    output: Path = args.output
    check_suffix(output)
    if output.exists() and not args.force:
        raise Mistake(f"{output} exists already: --force replaces it, --output names another file.")
    opts = ["TEST.WEIGHT", args.weight, "OUTPUT_DIR", args.output_dir, *args.opts]
    cfg = get_cfg(config_of_run(opts), opts)
    locate_checkpoint(cfg)  # a folder that is misspelt must not be created
    parts = output.with_name(f"{output.name}.parts")
    parts.mkdir(parents=True, exist_ok=True)
    with lock_folder(parts, option="--output"), start_logging(output.with_name(f"{output.name}.log")):
        trained = load_trained(cfg, overrides=opts)
        text_space = open_text_space(args.text_tower) if args.text_tower else None
        described = describe_folder(trained, args.tracklets, args.camera, parts, text_space=text_space)
        trained.runtime.processes.run_on_main(partial(write_described, described, output))
        if trained.runtime.processes.is_main:
            shutil.rmtree(parts, ignore_errors=True)
        logger.info("%d descriptors of %d numbers are in %s", *described.features.shape, output)


if __name__ == "__main__":
    parse_args()  # answers --help and mistakes before torch is imported, which takes seconds
    from utils.commands import run_command

    sys.exit(run_command(main))
