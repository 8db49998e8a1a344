"""Export a trained run as one ONNX file, from frames as bytes to descriptors, checked against torch."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.arguments import list_overrides

logger = logging.getLogger(__name__)

EPILOG = """\
examples:
  python -m tools.export_onnx --output_dir logs/all --output xtfclip.onnx
  python -m tools.export_onnx --weight winner.pth --output winner.onnx --frames /data/tracklet1
  python -m tools.extract_features --network xtfclip.onnx --tracklets /data/people --output people.npz

The file takes any number of clips of T frames: 'frames', uint8 (B, T, 3, H, W), and 'cameras', int64 (B,), -1 where
unknown. It returns the descriptors of eval_main.py, float32. Its metadata says how frames are chosen and resized.
tools/extract_features.py runs it without torch.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Export a trained run as one ONNX file.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output_dir", help="folder of the training run (OUTPUT_DIR): where its checkpoints are")
    parser.add_argument("--weight", default="", help="last (default), best, or a file, ours or published (TEST.WEIGHT)")
    parser.add_argument("--output", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--frames", type=Path, help="folder of a tracklet to compare both networks on; default: noise")
    parser.add_argument("--opset", type=int, default=18, choices=range(18, 24), help="ONNX operators (%(default)s)")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Open the run, export it, compare it with torch, write it."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from processor.evaluation.open_run import open_run
    from processor.export import describe_export, make_describer, make_example_clips, write_onnx

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for exporter in ("onnx_ir", "onnxscript"):  # each logs every step of its work
        logging.getLogger(exporter).setLevel(logging.WARNING)
    opts = [*list_overrides({"OUTPUT_DIR": args.output_dir, "TEST.WEIGHT": args.weight}), *args.opts]
    opts += ["MODEL.DEVICE", "cpu", "SOLVER.PRECISION", "fp32"]
    opts += ["MODEL.COMPILE", "False"]  # a compiled block cannot be exported
    trained = open_run(opts)
    clips = make_example_clips(trained.cfg, args.frames)
    metadata = describe_export(trained.cfg, trained.camids, trained.checkpoint, trained.origin)
    check = write_onnx(make_describer(trained.cfg, trained.model), clips, metadata, args.output, args.opset)
    logger.info(
        "%s: differs from torch by at most %.1e; 2 clips and their mirror images took %.2f s in torch, %.2f s in ONNX.",
        args.output,
        check.difference,
        check.torch_seconds,
        check.onnx_seconds,
    )


if __name__ == "__main__":
    parse_args()  # answers --help and mistakes before torch is imported, which takes seconds
    from utils.commands import run_command

    sys.exit(run_command(main))
