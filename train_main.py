"""Train X-TFCLIP or TF-CLIP: parse the command line and hand over to processor/run.py."""

if __name__ == "__main__":  # the imports below take their time, and Ctrl-C may come
    import signal

    from utils.stopping import end_at_once

    signal.signal(signal.SIGINT, end_at_once)

import argparse
import sys
from collections.abc import Sequence

from configs import check_places, get_cfg
from configs.load import config_of_run
from utils.arguments import list_overrides
from utils.commands import run_command

EPILOG = """\
examples:
  python train_main.py --output_dir "logs/all" DATASETS.ROOT_DIR /data/AG-VPReID MODEL.PRETRAIN_PATH ViT-B-16.pt
  python train_main.py --config_file configs/tfclip_vit_b16_256x128.yml --output_dir logs/tfclip
  python train_main.py --config_file configs/demo.yml --output_dir logs/demo MODEL.DEVICE cpu
  python train_main.py --output_dir "logs/all" --resume
  torchrun --nproc_per_node=3 --max-restarts=3 train_main.py --output_dir "logs/all" DATASETS.ROOT_DIR /data/AG-VPReID

written to the output folder: config.yml, train.log, history.csv, curves.png, samples.png, tensorboard/, the last two
checkpoints (checkpoint_last.pth, checkpoint_previous.pth) and, with validation people (DATASETS.VALIDATION_FRACTION),
checkpoint_best.pth. Every key and its meaning: configs/defaults.py.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse and check the command line, then train."""
    parser = argparse.ArgumentParser(
        description="Train X-TFCLIP for aerial-ground video person re-identification.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config_file", help="YAML; default: the winner's recipe, with --resume the checkpoint's own")
    parser.add_argument("--output_dir", help="folder of the run (OUTPUT_DIR)")
    parser.add_argument(
        "--resume", action="store_true", help="continue from checkpoint_last.pth if the output folder has it"
    )
    parser.add_argument(
        "--weights_only", action="store_true", help="also write the weights alone: weights_*.safetensors"
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    opts = [*list_overrides({"OUTPUT_DIR": args.output_dir}), *args.opts]
    cfg = get_cfg(args.config_file or (config_of_run(opts) if args.resume else None), opts)
    check_places(cfg, "training", opts if args.resume else None)
    from processor.run import run_training  # torch takes seconds: --help and mistakes are answered before

    run_training(cfg, args.resume, args.weights_only, opts, args.config_file)


if __name__ == "__main__":
    sys.exit(run_command(main))
