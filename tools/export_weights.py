"""Export the weights of a trained run: as safetensors with a model card, and in the published names and shapes."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from configs import dump_config, get_cfg
from utils.arguments import list_overrides

logger = logging.getLogger(__name__)

EPILOG = """\
example:
  python -m tools.export_weights --output_dir logs/all --output export

Written to the folder: weights.safetensors (our names; eval_main.py --weight reads it), published_layout.pth (a plain
state dict in the names and shapes of the winner's checkpoint, for programs that load these strictly; only for networks
with a camera embedding) and MODEL_CARD.md.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Export the weights of a trained run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output_dir", help="folder of the training run (OUTPUT_DIR): where its checkpoints are")
    parser.add_argument("--weight", default="", help="last (default), best, or a file, ours or published (TEST.WEIGHT)")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to; files there are replaced")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Open the run and write its weights."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from model.weights import to_published
    from processor.evaluation.open_run import open_run
    from processor.export import describe_export, format_card
    from utils.checkpoint import write_checkpoint, write_weights
    from utils.files import write_text
    from utils.runtime import prepare_output

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = {"OUTPUT_DIR": args.output_dir, "TEST.WEIGHT": args.weight, "MODEL.DEVICE": "cpu"}
    trained = open_run([*list_overrides(options), *args.opts])
    folder = prepare_output(args.output)
    state = trained.model.state_dict()
    metadata = describe_export(trained.cfg, trained.camids, trained.checkpoint, trained.origin)
    cfg = trained.cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = get_cfg().MODEL.DEVICE  # not the CPU that wrote the file
    values = {"config": dump_config(cfg)} | ({"camids": list(trained.camids)} if trained.camids else {})
    write_weights(state, values, folder / "weights.safetensors")
    files = {"weights.safetensors": "weights in the names of X-TFCLIP's code, with the configuration"}
    if trained.model.num_cameras:
        write_checkpoint(to_published(state), folder / "published_layout.pth")
        files["published_layout.pth"] = "the same weights in the names and shapes of the published checkpoint"
    write_text(format_card(metadata, files), folder / "MODEL_CARD.md")
    logger.info("Written to %s: %s, MODEL_CARD.md", folder, ", ".join(files))


if __name__ == "__main__":
    parse_args()  # answers --help and mistakes before torch is imported, which takes seconds
    from utils.commands import run_command

    sys.exit(run_command(main))
