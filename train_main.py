"""Train X-TFCLIP (or TF-CLIP): parse, build, hand over to processor.training.train."""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial

from configs import CONFIG_FILE, config_of_run, describe_differences, dump_config, get_cfg, warn_of_unread_keys

logger = logging.getLogger(__name__)

EPILOG = """\
examples:
  python train_main.py --output_dir "logs/all" DATASETS.ROOT_DIR /data/AG-VPReID MODEL.PRETRAIN_PATH ViT-B-16.pt
  python train_main.py --config_file configs/tfclip_vit_b16_256x128.yml --output_dir logs/tfclip
  python train_main.py --config_file configs/demo.yml --output_dir logs/demo MODEL.DEVICE cpu
  python train_main.py --output_dir "logs/all" --resume
  torchrun --nproc_per_node=3 --max-restarts=3 train_main.py --output_dir "logs/all" DATASETS.ROOT_DIR /data/AG-VPReID

written to the output folder: config.yml, train.log, history.csv, curves.png, samples.png, tensorboard/, the last two
checkpoints (checkpoint_last.pth, checkpoint_previous.pth) and, with a validation split (DATASETS.VALIDATION_DIR),
checkpoint_best.pth. Every key and its meaning: configs/defaults.py.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Train X-TFCLIP for aerial-ground video person re-identification.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config_file", help="YAML; default: the winner's recipe, or with --resume that of the run")
    parser.add_argument("--output_dir", help="folder of the run (OUTPUT_DIR)")
    parser.add_argument(
        "--resume", action="store_true", help="continue from checkpoint_last.pth if the output folder has it"
    )
    parser.add_argument(
        "--weights_only", action="store_true", help="also write the weights alone: weights_*.safetensors"
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Build everything that the configuration names, then train."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    import torch

    from datasets import make_dataset, make_train_loader, make_train_transform
    from processor.build import make_memory, make_training_options, make_training_state
    from processor.estimate import compute_ideal_step_seconds, size_of
    from processor.training.resume import keep_old_checkpoints, prepare_run, restore_last
    from processor.training.state import LAST_CHECKPOINT
    from processor.training.train import train
    from processor.training.validate import make_validation
    from utils.folder_lock import lock_folder
    from utils.runtime import make_runtime, prepare_output, start_logging
    from utils.whole_files import write_text

    opts = [*(["OUTPUT_DIR", args.output_dir] if args.output_dir else []), *args.opts]
    cfg = get_cfg(args.config_file or (config_of_run(opts) if args.resume else None), opts)
    output = prepare_output(cfg.OUTPUT_DIR)
    with lock_folder(output), start_logging(output / "train.log"):
        logger.info("What differs from the recipe (%s holds all): %s", CONFIG_FILE, describe_differences(cfg))
        warn_of_unread_keys(cfg, "training")
        runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
        processes = runtime.processes
        torch.manual_seed(cfg.SOLVER.SEED)
        resume = processes.run_on_main(partial(prepare_run, output, args.resume))
        with processes.first_on_machine():  # the first one lists the frames
            dataset = make_dataset(cfg)
            validation = make_validation(cfg, dataset, runtime)
        loader = make_train_loader(cfg, dataset, processes)
        state = make_training_state(cfg, dataset, runtime, resume=resume)
        state.with_weights = args.weights_only
        if resume:
            restore_last(state, output)
        else:
            processes.run_on_main(partial(keep_old_checkpoints, output))
        processes.run_on_main(partial(write_text, dump_config(cfg), output / CONFIG_FILE))
        if not resume:
            state.memory = make_memory(cfg, dataset, state.model, runtime)
            state.save(output / LAST_CHECKPOINT)  # for CLIP memory all frames were decoded
        augment = make_train_transform(cfg, processes)
        measures_rate = cfg.SOLVER.STAGE2.MEASURE_RATE
        ideal = compute_ideal_step_seconds(cfg, size_of(dataset), runtime) if measures_rate else 0.0
        train(state, loader, augment, runtime, make_training_options(cfg, ideal), output, validation)
        logger.info("Done. Checkpoints, config and log are in %s", output)


if __name__ == "__main__":
    parse_args()  # answers --help and mistakes before torch is imported, which takes seconds
    from utils.commands import run_command

    sys.exit(run_command(main))
