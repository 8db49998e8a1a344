"""Pre-train the demo's small encoder on synthetic people, as CLIP was pre-trained: image against caption.

    python -m tools.pretrain_encoder

Renders people that no demo data set contains, through cameras with other colours and places, and trains the ViT of a
config contrastively (``processor.pretraining``). The image tower is written in timm's names and half precision, so that
MODEL.PRETRAIN_PATH reads it like any other CLIP file. On two CPU cores the defaults take about three quarters of an
hour.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from configs import get_cfg
from utils.arguments import at_least

logger = logging.getLogger(__name__)

VALIDATION_PEOPLE = 100


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config_file", default="configs/demo.yml", help="names the ViT, the input size and the normalisation"
    )
    parser.add_argument("--output", type=Path, default=Path("configs/demo_encoder.safetensors"))
    parser.add_argument("--people", type=at_least(2), default=3000, help="people to train on")
    parser.add_argument("--steps", type=at_least(1), default=2600)
    parser.add_argument("--batch", type=at_least(2), default=64, help="people in a step, four frames of each")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--workers", type=at_least(1), default=2, help="processes that render")
    parser.add_argument(
        "--log_period", type=at_least(1), default=250, help="steps between two log lines with validation"
    )
    args = parser.parse_args(argv)
    if args.batch > args.people:
        parser.error(f"--batch must be at most --people ({args.people}), got {args.batch}.")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Render, train, save."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    import torch

    from datasets.synthetic.crowd import render_crowd
    from model.encoder import ClipVideoEncoder, build_vit
    from processor.pretraining import PretrainingSettings, pretrain, save_timm

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cfg = get_cfg(args.config_file)
    torch.manual_seed(args.seed)
    size = cfg.INPUT.SIZE_TRAIN
    args.output.parent.mkdir(parents=True, exist_ok=True)
    crowd = render_crowd(args.people, args.seed, size, args.workers)
    validation = render_crowd(VALIDATION_PEOPLE, args.seed + 1, size, args.workers)
    vit = build_vit(cfg.MODEL.NAME, **{name.lower(): value for name, value in cfg.MODEL.VIT.items()})
    encoder = ClipVideoEncoder(vit, size, cfg.MODEL.STRIDE_SIZE, position_mode=cfg.MODEL.POSITION_RESIZE)
    settings = PretrainingSettings(
        args.steps, args.batch, args.lr, args.seed, args.log_period, cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD
    )
    pretrain(encoder, crowd, validation, settings)
    options = {name: str(value) for name, value in vars(args).items() if name != "workers"}
    save_timm(encoder, args.output, {"license": "MIT", "made_by": "tools/pretrain_encoder.py", **options})
    logger.info("Wrote %s (%.1f MB)", args.output, args.output.stat().st_size / 1e6)


if __name__ == "__main__":
    parse_args()  # answers --help and mistakes before torch is imported, which takes seconds
    from utils.commands import run_command

    sys.exit(run_command(main))
