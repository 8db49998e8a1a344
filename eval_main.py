"""Evaluate a checkpoint in one matching direction or all: parse the command line and hand over to processor/run.py."""

if __name__ == "__main__":  # the imports below take their time, and Ctrl-C may come
    import signal

    from utils.stopping import end_at_once

    signal.signal(signal.SIGINT, end_at_once)

import argparse
import sys
from collections.abc import Sequence

from configs import CHOICES
from configs.load import find_run
from utils.arguments import list_overrides
from utils.commands import run_command

EPILOG = """\
examples:
  python eval_main.py --custom_output_dir "results/case1_aerial_to_ground" --output_dir "logs/all"
  python eval_main.py --custom_output_dir "results/case2_ground_to_aerial" --output_dir "logs/all" --eval_case case2
  python eval_main.py --custom_output_dir "results/all" --output_dir "logs/all" --eval_case all
  python eval_main.py --custom_output_dir results/winner --weight winner.pth DATASETS.ROOT_DIR /data/AG-VPReID
  torchrun --nproc_per_node=4 eval_main.py --custom_output_dir "results/all" --output_dir "logs/all" --eval_case all

written to the results folder: report.html (a page to open in a browser), figures/ (its figures as PNG and PDF),
results.txt and results.json (the tables), queries.csv (the scores of every query, for tools.results compare),
breakdown.txt, tracklet_rankings*.csv (the challenge's form), ranked_best.png and ranked_worst.png; with
TEST.SAVE_DISTANCES True distmat*.npz; for --eval_case all a folder per direction and submission*.csv, the rankings
merged. Files named *_annotated_attributes used the test set's annotations. features/ serves the next evaluation.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse and check the command line, then evaluate."""
    parser = argparse.ArgumentParser(
        description="Rank the gallery for every query and score the ranking.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config_file", help="YAML; default: that of the checkpoint, else the winner's recipe")
    parser.add_argument("--output_dir", help="folder of the training run (OUTPUT_DIR): where its checkpoints are")
    parser.add_argument("--custom_output_dir", help="folder for the results; default: results/ in the run's folder")
    cases = CHOICES["DATASETS.EVAL_CASE"]
    parser.add_argument("--eval_case", choices=cases, help="direction (DATASETS.EVAL_CASE); not all sets have all")
    parser.add_argument("--weight", help="last (default), best, or a file, ours or published (TEST.WEIGHT)")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    own = [] if args.config_file else ["TEST.WEIGHT", ""]  # no run's own configuration decides it
    options = {"OUTPUT_DIR": args.output_dir, "DATASETS.EVAL_CASE": args.eval_case, "TEST.WEIGHT": args.weight}
    opts = own + list_overrides(options) + args.opts
    cfg = find_run(opts, args.config_file)
    from processor.run import run_evaluation  # torch takes seconds: --help and mistakes are answered before

    run_evaluation(cfg, args.custom_output_dir, opts, args.config_file)


if __name__ == "__main__":
    sys.exit(run_command(main))
