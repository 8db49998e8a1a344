"""Evaluate a checkpoint in one matching direction or all: parse, build, hand over to processor.evaluation.rank."""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from configs import CHOICES, config_of_run, describe_differences, get_cfg, warn_of_unread_keys

logger = logging.getLogger(__name__)

EPILOG = """\
examples:
  python eval_main.py --custom_output_dir "results/case1_aerial_to_ground" --output_dir "logs/all"
  python eval_main.py --custom_output_dir "results/case2_ground_to_aerial" --output_dir "logs/all" --eval_case case2
  python eval_main.py --custom_output_dir "results/all" --output_dir "logs/all" --eval_case all
  python eval_main.py --custom_output_dir results/winner --weight winner.pth DATASETS.ROOT_DIR /data/AG-VPReID
  torchrun --nproc_per_node=4 eval_main.py --custom_output_dir "results/all" --output_dir "logs/all" --eval_case all

written to the results folder: report.html (a page to open in a browser), figures/ (its figures as PNG and PDF),
results.txt and results.json (the tables), queries.csv (the scores of every query, for tools/results.py),
breakdown.txt, tracklet_rankings*.csv (the challenge's form), ranked_best.png and ranked_worst.png; with
TEST.SAVE_DISTANCES True distmat*.npz; for --eval_case all a folder per direction and submission*.csv, the rankings
merged. Files named *_annotated_attributes used the test set's annotations. features/ serves the next evaluation.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
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
    return parser.parse_args(argv)


def build_opts(args: argparse.Namespace) -> list[str]:
    """List all overrides as KEY VALUE pairs: those typed, and TEST.WEIGHT, which no run's own configuration decides."""
    own = [] if args.config_file else ["TEST.WEIGHT", ""]
    options = {"OUTPUT_DIR": args.output_dir, "DATASETS.EVAL_CASE": args.eval_case, "TEST.WEIGHT": args.weight}
    return own + [word for key, value in options.items() if value for word in (key, value)] + args.opts


def main(argv: Sequence[str] | None = None) -> None:
    """Open the trained run, evaluate the directions asked for, write the report."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from datasets import choose_cases, make_test_loader, warn_of_equal_clips
    from processor.build import make_extractor, make_feature_cache, make_query_mapper, make_ranking_options
    from processor.evaluation.open_run import load_trained, locate_checkpoint
    from processor.evaluation.rank import evaluate
    from processor.report.write import write_report
    from utils.folder_lock import lock_folder
    from utils.runtime import prepare_output, start_logging

    opts = build_opts(args)
    cfg = get_cfg(args.config_file or config_of_run(opts), opts)
    locate_checkpoint(cfg)  # a folder that is misspelt must not be created
    results = prepare_output(args.custom_output_dir or Path(cfg.OUTPUT_DIR) / "results")
    with lock_folder(results), start_logging(results / "eval.log"):
        warn_of_unread_keys(cfg, "evaluation", opts)
        trained = load_trained(cfg, None if args.config_file else opts, args.config_file)
        cfg, processes = trained.cfg, trained.runtime.processes
        logger.info("What differs from the recipe: %s", describe_differences(cfg))
        with processes.first_on_machine():  # the first one lists the frames
            dataset = trained.read_dataset()
        cases, cameras = choose_cases(cfg, dataset), trained.cameras_for(dataset)
        warn_of_equal_clips(cfg, cases)
        make_loader = partial(make_test_loader, cfg, cameras=cameras, processes=processes)
        cache = make_feature_cache(cfg, trained.model, trained.runtime, cameras, results / "features")
        extractor = make_extractor(cfg, trained.model, trained.runtime)
        evaluation = evaluate(extractor, cases, make_loader, make_ranking_options(cfg, trained), cache)
        maps = make_query_mapper(cfg, extractor, cameras)
        report = evaluation, results, cfg.TEST.RANKING_LENGTH, trained.origin, cfg.TEST.SAVE_DISTANCES, maps
        written = processes.run_on_main(partial(write_report, *report))
        logger.info("Written:\n%s", "\n".join(f"  {path}" for path in written))


if __name__ == "__main__":
    parse_args()  # answers --help and mistakes before torch is imported, which takes seconds
    from utils.commands import run_command

    sys.exit(run_command(main))
