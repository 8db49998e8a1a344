"""Draw what a trained model looks at when it compares a query with gallery tracklets.

example:
  python -m tools.attention_maps --output_dir logs/all --query 1206/tracklet_7 --gallery 1206/abc1dE --gallery 9/fgh2iJ

A key is identity/tracklet, as in queries.csv and distmat.npz of eval_main.py. Each --gallery becomes one PNG: frames of
both tracklets, relevance of each patch for the similarity of the two (yellow: most; transparent: none), and the weight
of each frame in the pooling. A map shows what this similarity rests on, not whether it is right.
"""

import argparse
import difflib
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from configs import CHOICES
from configs.load import find_run
from utils.commands import run_command
from utils.mistake import Mistake
from utils.text import describe_origin

logger = logging.getLogger(__name__)
T = TypeVar("T")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--output_dir", required=True, help="folder of the run; PNGs go to attention_maps/ in it")
    add("--query", required=True, metavar="KEY", help="query tracklet")
    add("--gallery", required=True, metavar="KEY", action="append", help="gallery tracklet; may be given several times")
    cases = [case for case in CHOICES["DATASETS.EVAL_CASE"] if case != "all"]
    add("--eval_case", choices=cases, default=cases[0], help="direction (%(default)s)")
    add("--weight", default="", help="last (default), best, or a file (TEST.WEIGHT)")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    opts = ["TEST.WEIGHT", args.weight, "OUTPUT_DIR", args.output_dir, "DATASETS.EVAL_CASE", args.eval_case]
    # One clip of each tracklet is drawn; a compiled block has no attention to read.
    opts += [*args.opts, "TEST.NUM_CLIPS", "1", "MODEL.COMPILE", "False"]
    find_run(opts)
    # Imported here, as torch takes seconds: --help and mistakes are answered before.
    from datasets.build import choose_cases, make_test_loader
    from datasets.clips.clip_dataset import NO_FRAME
    from processor.build import make_extractor
    from processor.evaluation.open_run import open_run
    from processor.report.maps import draw_pair, explain_pair

    trained = open_run(opts)
    dataset = trained.read_dataset()
    (case,) = choose_cases(trained.cfg, dataset)
    gallery = {tracklet.key: tracklet for tracklet in case.gallery}
    tracklets = [find(args.query, {tracklet.key: tracklet for tracklet in case.query}, "--query")]
    tracklets += [find(key, gallery, "--gallery") for key in args.gallery]
    clips = make_test_loader(trained.cfg, tracklets, trained.cameras_for(dataset)).dataset
    extractor = make_extractor(trained.cfg, trained.model, trained.runtime)
    folder = Path(args.output_dir) / "attention_maps"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, len(tracklets)):
        pair, items = (tracklets[0], tracklets[number]), (clips[0], clips[number])
        for tracklet, item in zip(pair, items, strict=True):
            if (item["unreadable"] == NO_FRAME).any():
                raise Mistake(f"Tracklet {tracklet.key}: none of its frames can be read.")
        pixels = [item["clips"] for item in items]
        explanation = explain_pair(extractor, pixels[0], pixels[1], [item["camid"] for item in items])
        path = folder / f"{pair[0].key}_and_{pair[1].key}.png".replace("/", "-")
        draw_pair(explanation, pixels, pair, describe_origin(trained.origin), path)
        logger.info("Similarity %.3f: %s", explanation.similarity, path)


def find(key: str, tracklets: Mapping[str, T], option: str) -> T:
    """Return the tracklet with this key; Mistake names the nearest keys if there is none."""
    if key not in tracklets:
        nearest = ", ".join(difflib.get_close_matches(key, tracklets, n=3, cutoff=0.0)) or "none: it is empty"
        raise Mistake(f"{option} {key}: there is no such tracklet. The nearest keys: {nearest}")
    return tracklets[key]


if __name__ == "__main__":
    sys.exit(run_command(main))
