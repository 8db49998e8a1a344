"""Train X-TFCLIP (or TF-CLIP): parse, build, hand over to processor.train."""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from yacs.config import CfgNode

from configs import CONFIG_FILE, config_of_run, get_cfg
from datasets import label_map, make_dataset, make_memory_loader, make_train_loader, train_cameras
from datasets.clips.transforms import Augmenter, Normalizer
from loss import make_loss
from model import make_model
from processor.clip_memory import build_memory
from processor.evaluate import VISUAL, evaluate
from processor.report import format_protocols, format_table
from processor.train import LAST_CHECKPOINT, Training, keep_old_checkpoints, train
from solver import make_optimizer, make_schedule
from utils.runtime import Runtime, make_runtime, prepare_output, run_command, start_logging

logger = logging.getLogger(__name__)

EPILOG = """\
examples:
  python train_main.py --output_dir "logs/all" DATASETS.ROOT_DIR /data/AG-VPReID MODEL.PRETRAIN_PATH ViT-B-16.pt
  python train_main.py --config_file configs/tfclip_vit_b16_256x128.yml --output_dir logs/tfclip
  python train_main.py --config_file configs/demo.yml --output_dir logs/demo MODEL.DEVICE cpu
  python train_main.py --output_dir "logs/all" --resume

written to the output folder: config.yml, train.log, tensorboard/, checkpoint_last.pth and checkpoint_best.pth (best
visual mAP over both directions). Every key and its meaning: configs/defaults.py.
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
    parser.add_argument("--resume", action="store_true", help=f"continue from {LAST_CHECKPOINT} in the output folder")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Build everything that the configuration names, then train."""
    args = parse_args(argv)
    opts = [*(["OUTPUT_DIR", args.output_dir] if args.output_dir else []), *args.opts]
    cfg = get_cfg(args.config_file or (config_of_run(opts) if args.resume else None), opts)
    output = prepare_output(cfg.OUTPUT_DIR)
    with start_logging(output / "train.log"):
        logger.info("Configuration:\n%s", cfg)
        runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
        torch.manual_seed(cfg.SOLVER.SEED)
        dataset = make_dataset(cfg)
        loader = make_train_loader(cfg, dataset)
        training = build_training(cfg, dataset, runtime, args.resume)
        if args.resume:
            training.restore(output / LAST_CHECKPOINT)
        else:
            keep_old_checkpoints(output)
        (output / CONFIG_FILE).write_text(cfg.dump(), encoding="utf-8")
        augment = Augmenter(
            cfg.INPUT.PIXEL_MEAN,
            cfg.INPUT.PIXEL_STD,
            flip_probability=cfg.INPUT.PROB,
            erase_probability=cfg.INPUT.RE_PROB,
            padding=cfg.INPUT.CROP_PADDING,
            color_jitter=cfg.INPUT.COLOR_JITTER,
            consistent=cfg.INPUT.CONSISTENT_AUGMENTATION,
        )
        train(
            cfg,
            training,
            loader,
            augment,
            runtime,
            output,
            validate=partial(validate, cfg, dataset, runtime),
        )
        logger.info("Done. Checkpoints, config and log are in %s", output)


def build_training(cfg: CfgNode, dataset, runtime: Runtime, resume: bool) -> Training:
    """Model, losses, solver and CLIP memory for a data set; a resumed run restores weights and memory later."""
    pids = list(label_map(tracklet.pid for tracklet in dataset.train))
    camids = list(train_cameras(dataset.train))
    logger.info("%d identities, %d tracklets, cameras %s", len(pids), len(dataset.train), camids)
    model = make_model(cfg, len(pids), len(camids), pretrained=not resume).to(runtime.device)
    criterion = make_loss(cfg, len(pids)).to(runtime.device)
    optimizer = make_optimizer(cfg, model)
    if resume:
        memory = torch.empty(0, device=runtime.device)
    else:
        transform = Normalizer(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)
        loader = make_memory_loader(cfg, dataset)
        memory = build_memory(model, loader, dataset.train, transform, runtime, cfg.DATALOADER.MAX_BAD_FRACTION)
    return Training(
        model,
        criterion,
        optimizer,
        make_schedule(cfg, optimizer),
        runtime.make_scaler(),
        memory,
        pids,
        camids,
        centralize=cfg.SOLVER.STAGE2.GRADIENT_CENTRALIZATION,
        generator=torch.Generator().manual_seed(cfg.SOLVER.SEED),
    )


def validate(cfg: CfgNode, dataset, runtime: Runtime, model: nn.Module) -> float:
    """Evaluate every direction of the data set and log the table; returns the visual mAP over all of them."""
    if dataset.identities_masked:
        logger.warning("The test identities are masked: nothing to validate on; the best checkpoint is the last one.")
        return 0.0
    evaluation = evaluate(cfg, model, list(dataset.cases.values()), train_cameras(dataset.train), runtime)
    logger.info("validation\n%s\n%s", format_protocols(evaluation), format_table(evaluation))
    return evaluation.overall(VISUAL).mAP


if __name__ == "__main__":
    sys.exit(run_command(main))
