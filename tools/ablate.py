"""Train and evaluate named changes to a recipe with several seeds, and compare each with the recipe unchanged.

examples:
  python -m tools.ablate configs/ablation/extras.yml --seeds 3
  python -m tools.ablate configs/ablation/testing.yml --seeds 3 --output results/testing DATASETS.ROOT_DIR data/bench
  python -m tools.ablate configs/ablation/extras.yml --seeds 3 --jobs 2 --cards 0,1 DATASETS.ROOT_DIR /data/AG-VPReID

The list is a YAML: `config` is the recipe's file, `base` (if there) what all runs share beside it, and `variants` the
changes by name, each a mapping of config keys. KEY VALUE pairs are shared, too. A change of keys that only evaluation
reads is evaluated with the weights of the base.

--output holds a folder for each variant and seed, a run with its results in it, and in the end ablation.txt,
ablation.json and ablation.html: the differences to the base with one interval over people and seeds (as
`python -m tools.results compare` computes them), what a variant costs, and its curves. A variant that adds a row to the
results, such as TEST.RE_RANKING True, is compared by this row with 'visual only' of the base, others by the first row
that they change. The same command goes on where it was stopped. A run that fails is named, and the others go on.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from processor.ablation.trials import read_list, run_trials
from utils.arguments import at_least
from utils.commands import run_command, show


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path, help="the YAML of the variants")
    parser.add_argument("--seeds", type=at_least(1), default=3, help="runs of each variant, SOLVER.SEED 0 and on")
    parser.add_argument(
        "--output", type=Path, help="folder of all runs; default: results/ablation/ and the list's name"
    )
    parser.add_argument("--jobs", type=at_least(1), default=1, help="runs at a time; they share the cores")
    cards = "CUDA devices, such as 0,1, of which each job gets one; default: one for all"
    parser.add_argument("--cards", type=lambda text: text.split(","), default=[], help=cards)
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="any config key and its value")
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is left to run and write the summary; returns 1 if a run failed."""
    args = parse_args(argv)
    output = args.output or Path("results/ablation") / args.list.stem
    variants = read_list(args.list, args.opts)
    failed = run_trials(variants, args.seeds, output, args.jobs, args.cards)
    from processor.ablation.summary import write_summary  # torch takes seconds: mistakes are answered before

    show(write_summary(variants, args.seeds, output, str(args.list)))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(run_command(main))
