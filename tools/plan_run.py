"""Plan a training run: its parameters, operations, memory, steps and time, without training.

examples:
  python -m tools.plan_run DATASETS.ROOT_DIR /data/AG-VPReID
  python -m tools.plan_run --config_file configs/xtfclip_mars.yml --identities 625 --tracklets 8298 --cameras 6
  python -m tools.plan_run --identities 689 --tracklets 3300 --tflops 60 SOLVER.STAGE2.IMS_PER_BATCH 36

With --identities and --tracklets, no data set is read. Memory is that of tensors; the smallest card has 1.5 GiB more,
for the CUDA context and for fragmentation.
"""

import argparse
import sys
from collections.abc import Sequence

from configs import check_places, get_cfg
from utils.arguments import add_config, at_least, real_number
from utils.commands import run_command, show


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=at_least(2), help="training identities; default: of the data set")
    parser.add_argument("--tracklets", type=at_least(2), help="training tracklets; default: of the data set")
    parser.add_argument("--cameras", type=at_least(1), default=6, help="with --identities: cameras (%(default)s)")
    parser.add_argument("--tflops", type=real_number(0.001), default=100.0, help="sustained TFLOP/s (%(default)s)")
    add_config(parser)
    args = parser.parse_args(argv)
    if (args.identities is None) != (args.tracklets is None):
        parser.error("--identities and --tracklets belong together.")
    cfg = get_cfg(args.config_file, args.opts)
    check_places(cfg, "both", args.opts)
    from processor.estimate import plan_run  # torch takes seconds: --help and mistakes are answered before

    numbers = (args.identities, args.tracklets, args.cameras) if args.identities else None
    show(plan_run(cfg, args.tflops, numbers))


if __name__ == "__main__":
    sys.exit(run_command(main))
