"""Pre-train the demo's small CLIP on synthetic people: an image tower, and a text tower for their captions.

    python -m demo.pretrain
    python -m demo.pretrain --text_only --people 1500
    python -m demo.pretrain --score --people 100

Renders people that no demo data set contains, trains the ViT of configs/demo.yml contrastively, and writes the image
tower, demo_encoder.safetensors, as a file for MODEL.PRETRAIN_PATH. Then a text tower, demo_captions.safetensors, is
trained beside it, so that texts can be compared with tracklets. On two CPU cores the defaults take about three quarters
of an hour. With --text_only, the image tower in the folder is taken; this takes minutes. With --score, nothing is
trained: searches by text are scored on unseen people (--seed 7, for example), by the whole caption and by the clothes
of the upper body.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from configs import get_cfg
from utils.arguments import at_least
from utils.commands import run_command, show

logger = logging.getLogger(__name__)

CONFIG = "configs/demo.yml"  # names the ViT, the input size and the normalisation
VALIDATION_PEOPLE = 100


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--output", type=Path, default=Path("demo"), help="folder of both towers (%(default)s)")
    add("--text_only", action="store_true", help="train the text tower only, for the image tower in the folder")
    add("--score", action="store_true", help="score the text tower in the folder; no training")
    add("--people", type=at_least(2), default=3000, help="people to train on (%(default)s)")
    add("--steps", type=at_least(1), default=2600, help="of the image tower (%(default)s)")
    add("--caption_steps", type=at_least(1), default=600, help="of the text tower (%(default)s)")
    add("--seed", type=at_least(0), default=0, help="of the people, weights and batches (%(default)s)")
    add("--workers", type=at_least(1), default=2, help="processes that render (%(default)s)")
    args = parser.parse_args(argv)
    image_tower, captions = (args.output / f"demo_{name}.safetensors" for name in ("encoder", "captions"))
    # Imported here, so that --help answers at once: torch takes seconds.
    import torch

    from model.encoder import ClipVideoEncoder, build_vit
    from model.text_space import open_text_space, write_captions
    from model.weights import load_clip_weights
    from utils.checkpoint import hash_file

    from .pretraining import describe_search, pretrain, render_crowd, save_timm, start_text_space, train_captions

    if args.score:
        space = open_text_space(captions)
        height, width = space.image_size
        crowd = render_crowd(args.people, args.seed, (height, width), args.workers)
        for what, score in describe_search(space, crowd).items():
            show(f"{args.people} people, {what}: {score}")
        return
    torch.manual_seed(args.seed)
    cfg = get_cfg(CONFIG)
    vit = {"name": cfg.MODEL.NAME, **{name.lower(): value for name, value in cfg.MODEL.VIT.items()}}
    size, stride = cfg.INPUT.SIZE_TRAIN, cfg.MODEL.STRIDE_SIZE
    pixels = {"size": size, "mean": cfg.INPUT.PIXEL_MEAN, "std": cfg.INPUT.PIXEL_STD}
    encoder = ClipVideoEncoder(build_vit(**vit), size, stride)
    args.output.mkdir(parents=True, exist_ok=True)
    crowd = render_crowd(args.people, args.seed, size, args.workers)
    unseen = render_crowd(VALIDATION_PEOPLE, args.seed + 1, size, args.workers)
    options = {name: str(value) for name, value in vars(args).items() if name != "workers"}
    origin = {"license": "MIT", "made_by": "demo/pretrain.py", **options}
    if not args.text_only:
        pretrain(start_text_space(encoder, **pixels), crowd, args.steps, args.seed)
        save_timm(encoder, image_tower, origin)
        logger.info("Wrote %s (%.1f MB)", image_tower, image_tower.stat().st_size / 1e6)
    load_clip_weights(encoder, image_tower)  # the text tower sees what half precision left
    space = start_text_space(encoder, **pixels)
    train_captions(space, crowd, args.caption_steps, args.seed)
    scores = describe_search(space, unseen)
    for what, score in scores.items():
        logger.info("%d unseen people, %s: %s", VALIDATION_PEOPLE, what, score)
    tower = {"vit": vit, "stride": stride, **pixels, "file": image_tower.name, "sha256": hash_file(image_tower)}
    figures = {"people": VALIDATION_PEOPLE, "seed": args.seed + 1, **scores}
    write_captions(space, tower, {**origin, "unseen people": figures}, captions)
    logger.info("Wrote %s (%.1f MB)", captions, captions.stat().st_size / 1e6)


if __name__ == "__main__":
    sys.exit(run_command(main))
