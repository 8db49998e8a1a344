"""Extract the features of every tracklet in a folder, without labels, and write one feature file.

examples:
  python -m tools.extract_features --output_dir logs/all --tracklets /data/people --output people.npz
  python -m tools.extract_features --output_dir logs/all --tracklets /data/people/anna/1 --output query.parquet
  python -m tools.extract_features --output_dir logs/all --tracklets photo.jpg --output photo.npz --weight best
  python -m tools.extract_features --output_dir logs/all --tracklets people --output p.npz --text_tower ViT-B-16.pt
  torchrun --nproc_per_node=4 -m tools.extract_features --output_dir logs/all --tracklets /data/people --output p.npz
  python -m tools.extract_features --network xtfclip.onnx --tracklets /data/people --output people.npz

Every folder that directly holds frames is one tracklet, and so is one still image; docs/search.md says what their keys
are, what the file holds, and how a command that was stopped goes on.

--network takes a file of tools.export in place of a run, and needs NumPy, onnxruntime, Pillow, pyarrow, yacs, PyYAML
and filelock, but no torch.
"""

import argparse
import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from configs.load import find_run
from search.feature_file import VIEWS, check_replaced, check_suffix, make_table, write_features
from utils.commands import run_command
from utils.mistake import MissingFile, Mistake
from utils.unknown import UNKNOWN

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--output_dir", help="folder of the training run (OUTPUT_DIR)")
    source.add_argument("--network", type=Path, help="exported network, .onnx")
    add("--tracklets", required=True, type=Path, help="folder of tracklets, of one, or an image")
    add("--output", required=True, type=Path, help="file to write, .npz or .parquet")
    add("--camera", help="training camera of all of them, as annotated; default: unknown")
    add("--view", choices=VIEWS, default="", help="view of all of them; default: unknown")
    add("--time", type=datetime.fromisoformat, help="when all of them begin, as 2023-10-17T10:00; default: unknown")
    add("--text_tower", type=Path, help="CLIP file, for search by words; default: none (docs/search.md names files)")
    add("--weight", default="", help="last (default), best, or a file (TEST.WEIGHT)")
    add("--force", action="store_true", help="replace the file")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    if args.network and (args.text_tower or args.weight or args.opts):
        parser.error("--network goes without --text_tower, --weight and keys, which belong to a run")
    check_suffix(args.output)
    if args.output.exists():
        if not args.force:
            raise Mistake(f"{args.output} exists already: --force replaces it, --output names another file.")
        check_replaced(args.output)
    for option, path in (("--tracklets", args.tracklets), ("--text_tower", args.text_tower)):
        if path and not path.exists():
            raise MissingFile(f"{path} is not there ({option}).")
    (extract_by_network if args.network else extract_by_run)(args)


def extract_by_run(args: argparse.Namespace) -> None:
    opts = ["TEST.WEIGHT", args.weight, "OUTPUT_DIR", args.output_dir, *args.opts]
    cfg = find_run(opts)
    from model.text_space import open_text_space
    from processor.evaluation.open_run import load_trained
    from processor.extract import extract_folder
    from utils.files import lock_folder, make_folder
    from utils.runtime import start_logging

    output: Path = args.output
    parts, log = (output.with_name(f"{output.name}.{ending}") for ending in ("parts", "log"))
    make_folder(output.parent)
    with lock_folder(output.parent, output.name), start_logging(log):
        trained = load_trained(cfg, overrides=opts)
        text_space = open_text_space(args.text_tower) if args.text_tower else None
        columns, origin = extract_folder(
            trained, args.tracklets, args.camera, parts, text_space=text_space, view=args.view
        )
        trained.runtime.processes.run_on_main(partial(write, args, origin, columns))
        if trained.runtime.processes.is_main:
            shutil.rmtree(parts, ignore_errors=True)


def extract_by_network(args: argparse.Namespace) -> None:
    from datasets.readers.listing import find_tracklets
    from processor.exported_network import open_network

    network = open_network(args.network)
    tracklets = find_tracklets(args.tracklets)
    features = network.describe(tracklets.values(), args.camera)
    pictures = [frames[len(frames) // 2] for frames in tracklets.values()]
    write(args, network.origin, {"key": list(tracklets), "feature": features, "picture": pictures})


def write(args: argparse.Namespace, origin: Mapping[str, str], columns: Mapping[str, Any]) -> None:
    """Write the feature file; the options give camera, view and time to all tracklets alike."""
    values = {"camera": UNKNOWN if args.camera is None else args.camera, "view": args.view, "time": args.time}
    alike = {name: [value] * len(columns["key"]) for name, value in values.items()}
    write_features(make_table(origin, **columns, **alike), args.output)
    logger.info("%d descriptors of %d numbers are in %s", *columns["feature"].shape, args.output)
    if "unread" in origin:
        logger.warning("%s", origin["unread"])


if __name__ == "__main__":
    sys.exit(run_command(main))
