"""Export a trained run: as one ONNX network, or its weights with a model card.

  python -m tools.export onnx --output_dir logs/all --output xtfclip.onnx
  python -m tools.export onnx --weight winner.pth --output winner.onnx --frames /data/tracklet1
  python -m tools.export weights --output_dir logs/all --output export

onnx: the file goes from frames as bytes to descriptors, and is checked against torch. It takes any number of clips of T
frames: 'frames', uint8 (B, T, 3, H, W), and 'cameras', int64 (B,), -1 where unknown; it returns the descriptors of
eval_main.py, float32. Its metadata says how frames are chosen and resized.

weights: the folder gets weights.safetensors, which eval_main.py --weight reads, published_layout.pth and MODEL_CARD.md.
docs/export.md explains them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from configs.load import find_run
from utils.arguments import list_overrides, output_file
from utils.commands import run_command


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    onnx = kinds.add_parser("onnx", help="one network from bytes to descriptors")
    onnx.add_argument("--output", type=output_file(".onnx"), required=True, help="ONNX file to write or replace")
    onnx.add_argument("--frames", type=Path, help="folder of a tracklet to compare both networks on; default: noise")
    onnx.add_argument("--opset", type=int, default=18, choices=range(18, 24), help="ONNX operators (%(default)s)")
    weights = kinds.add_parser("weights", help="safetensors, the published layout, and a model card")
    weights.add_argument("--output", type=Path, required=True, help="folder to write to; files there are replaced")
    for each in (onnx, weights):
        each.add_argument("--output_dir", help="folder of the training run (OUTPUT_DIR): where its checkpoints are")
        weight = "last (default), best, or a file, ours or published (TEST.WEIGHT)"
        each.add_argument("--weight", default="", help=weight)
        each.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    opts = [*list_overrides({"OUTPUT_DIR": args.output_dir, "TEST.WEIGHT": args.weight}), *args.opts]
    find_run(opts)
    from processor.export import export_run_as_onnx, export_run_as_weights  # torch takes seconds

    if args.kind == "onnx":
        export_run_as_onnx(opts, args.output, args.frames, args.opset)
    else:
        export_run_as_weights(opts, args.output)


if __name__ == "__main__":
    sys.exit(run_command(main))
