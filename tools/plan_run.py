"""Plan a training run: its parameters, operations, memory, steps and time, without training."""

import argparse
import logging
import sys
from collections.abc import Sequence

from configs import get_cfg
from utils.arguments import at_least

logger = logging.getLogger(__name__)

EPILOG = """\
examples:
  python -m tools.plan_run DATASETS.ROOT_DIR /data/AG-VPReID
  python -m tools.plan_run --config_file configs/xtfclip_mars.yml --identities 625 --tracklets 8298 --cameras 6
  python -m tools.plan_run --identities 689 --tracklets 3300 --tflops 60 SOLVER.STAGE2.IMS_PER_BATCH 36

With --identities and --tracklets, no data set is read. Memory is that of tensors; a card also needs room for the CUDA
context and for fragmentation, which the column of batches allows for.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Plan a training run: parameters, operations, memory, steps and time.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config_file", help="YAML file, as for train_main.py; default: the winner's recipe")
    parser.add_argument("--identities", type=at_least(2), help="training identities; default: of the data set")
    parser.add_argument("--tracklets", type=at_least(2), help="training tracklets; default: of the data set")
    parser.add_argument("--cameras", type=at_least(1), default=6, help="with --identities: cameras (%(default)s)")
    parser.add_argument(
        "--tflops", type=float, default=100.0, help="rate that training sustains, TFLOP/s (%(default)s)"
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    if (args.identities is None) != (args.tracklets is None):
        parser.error("--identities and --tracklets belong together.")
    if args.tflops <= 0:
        parser.error("--tflops must be positive.")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Plan the run of the command line and log the tables."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from datasets import make_dataset
    from processor.estimate import DatasetSize, count_steps, format_plan, made_up_pids, make_plan, size_of

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = get_cfg(args.config_file, args.opts)
    if args.identities:
        size = DatasetSize(args.identities, args.tracklets, args.cameras)
        pids = made_up_pids(size)
    else:
        dataset = make_dataset(cfg)
        size, pids = size_of(dataset), [tracklet.pid for tracklet in dataset.train]
    logger.info("%s", format_plan(cfg, make_plan(cfg, size), count_steps(cfg, pids), args.tflops))


if __name__ == "__main__":
    parse_args()  # answers --help and mistakes before torch is imported, which takes seconds
    from utils.commands import run_command

    sys.exit(run_command(main))
