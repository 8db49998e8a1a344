"""Draw what a trained model looks at when it compares a query with gallery tracklets."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from configs import CHOICES
from utils.arguments import at_least

logger = logging.getLogger(__name__)

EPILOG = """\
example:
  python -m tools.attention_maps --output_dir logs/all --query 1206/tracklet_7 --gallery 1206/abc1dE --gallery 9/fgh2iJ

A key is identity/tracklet, as in queries.csv and distmat.npz of eval_main.py. Each --gallery becomes one PNG: frames of
both tracklets, relevance of each patch for the similarity of the two (viridis, transparent where there is none), and
the weight of each frame in the pooling as a bar. A map shows what this similarity rests on, not whether it is right.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", required=True, help="folder of the training run (OUTPUT_DIR)")
    parser.add_argument("--query", required=True, metavar="KEY", help="query tracklet")
    parser.add_argument(
        "--gallery", required=True, metavar="KEY", action="append", help="gallery tracklet; may be given several times"
    )
    parser.add_argument("--pictures", type=Path, help="folder for the PNGs; default: attention_maps/ in the run's")
    parser.add_argument("--layers", type=at_least(1), default=4, help="last blocks to go back through (%(default)s)")
    cases = [case for case in CHOICES["DATASETS.EVAL_CASE"] if case != "all"]
    parser.add_argument("--eval_case", choices=cases, default=cases[0], help="direction (%(default)s)")
    parser.add_argument("--weight", default="", help="last (default), best, or a file (TEST.WEIGHT)")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Open the trained run, explain the pairs, draw them."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from datasets.build import choose_cases, make_test_loader
    from datasets.clips.clip_dataset import NO_FRAME
    from datasets.clips.decoding import UnreadableFrameError
    from processor.build import make_extractor
    from processor.evaluation.open_run import open_run
    from processor.report.attention_maps import draw_pair, explain_pair, find_tracklet

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    opts = ["TEST.WEIGHT", args.weight, "OUTPUT_DIR", args.output_dir, "DATASETS.EVAL_CASE", args.eval_case]
    # One clip of each tracklet is drawn; a compiled block has no attention to read.
    opts += [*args.opts, "TEST.NUM_CLIPS", "1", "MODEL.COMPILE", "False"]
    trained = open_run(opts)
    dataset = trained.read_dataset()
    (case,) = choose_cases(trained.cfg, dataset)
    query = case.query[find_tracklet(args.query, case.query, "--query")]
    gallery = [case.gallery[find_tracklet(key, case.gallery, "--gallery")] for key in args.gallery]
    loader = make_test_loader(trained.cfg, [query, *gallery], trained.cameras_for(dataset))
    extractor = make_extractor(trained.cfg, trained.model, trained.runtime)
    folder = args.pictures or Path(args.output_dir) / "attention_maps"
    folder.mkdir(parents=True, exist_ok=True)
    items = [loader.dataset[row] for row in range(1 + len(gallery))]
    for tracklet, item in zip([query, *gallery], items, strict=True):
        if (item["unreadable"] == NO_FRAME).any():
            raise UnreadableFrameError(f"Tracklet {tracklet.key}: none of its frames can be read.")
    for tracklet, item in zip(gallery, items[1:], strict=True):
        pair = (items[0]["clips"], item["clips"])
        camids = (int(items[0]["camid"]), int(item["camid"]))
        explanation = explain_pair(extractor, *pair, camids, args.layers)
        path = folder / f"{query.key}_and_{tracklet.key}.png".replace("/", "-")
        draw_pair(explanation, pair, (query, tracklet), path)
        logger.info("Similarity %.3f: %s", explanation.similarity, path)


if __name__ == "__main__":
    parse_args()  # answers --help and mistakes before torch is imported, which takes seconds
    from utils.commands import run_command

    sys.exit(run_command(main))
