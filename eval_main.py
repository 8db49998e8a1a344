"""Evaluate a checkpoint in one matching direction or all: parse, build, hand over to processor.evaluate."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from yacs.config import CfgNode

from configs import CHOICES, config_of_run, get_cfg
from datasets import make_dataset, train_cameras
from model import XTFCLIP, make_model
from model.weights import CAMERA_EMBEDDING, CLASSIFIERS, convert_checkpoint, load_state
from processor.evaluate import evaluate
from processor.report import format_protocols, format_table, write_report
from processor.train import BEST_CHECKPOINT, LAST_CHECKPOINT
from utils.checkpoint import read_checkpoint
from utils.runtime import make_runtime, prepare_output, run_command, start_logging

logger = logging.getLogger(__name__)

NETWORK_SWITCHES = ("POSITION_RESIZE", "POOLING", "FRAME_EMBEDDING", "MEMORY_WEIGHTING", "FEATURE_NECK", "STRIDE_SIZE")

EPILOG = """\
examples:
  python eval_main.py --custom_output_dir "results/case1_aerial_to_ground" --output_dir "logs/all"
  python eval_main.py --custom_output_dir "results/case2_ground_to_aerial" --output_dir "logs/all" --eval_case case2
  python eval_main.py --custom_output_dir "results/all" --output_dir "logs/all" --eval_case all
  python eval_main.py --custom_output_dir results/winner --weight winner.pth DATASETS.ROOT_DIR /data/AG-VPReID

written to the results folder: results.txt and results.json (the table), tracklet_rankings*.csv (the challenge's form),
distmat*.npz (distances with the keys of their rows and columns), ranked_best.png and ranked_worst.png; for --eval_case
all a folder per direction and submission*.csv, the rankings merged. Files named *_annotated_attributes used the
test set's annotations. Every key and its meaning: configs/defaults.py.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Rank the gallery for every query and score the ranking.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config_file", help="YAML; default: the config kept in the checkpoint, else the winner's recipe"
    )
    parser.add_argument("--output_dir", help="folder of the training run (OUTPUT_DIR): where its checkpoints are")
    parser.add_argument("--custom_output_dir", help="folder for the results; default: results/ in the run's folder")
    parser.add_argument(
        "--eval_case",
        choices=CHOICES["DATASETS.EVAL_CASE"],
        help="direction (DATASETS.EVAL_CASE); not all sets have all",
    )
    parser.add_argument(
        "--weight", help="checkpoint, ours or a published one (TEST.WEIGHT); default: the run's best, else its last"
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    return parser.parse_args(argv)


def build_opts(args: argparse.Namespace) -> list[str]:
    """All overrides that the command line gives, as KEY VALUE pairs."""
    options = {"OUTPUT_DIR": args.output_dir, "DATASETS.EVAL_CASE": args.eval_case, "TEST.WEIGHT": args.weight}
    return [word for key, value in options.items() if value for word in (key, value)] + args.opts


def main(argv: Sequence[str] | None = None) -> None:
    """Load the checkpoint, evaluate the directions asked for, write the report."""
    args = parse_args(argv)
    opts = build_opts(args)
    cfg = get_cfg(args.config_file or config_of_run(opts), opts)
    results = prepare_output(args.custom_output_dir or Path(cfg.OUTPUT_DIR) / "results")
    with start_logging(results / "eval.log"):
        weight = find_weight(cfg)
        content = read_checkpoint(weight)
        if "config" in content:
            if not args.config_file:  # a checkpoint of ours knows how it was trained
                cfg = get_cfg(opts=opts, config_text=content["config"])
            warn_of_other_network(cfg, get_cfg(config_text=content["config"]))
        runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
        dataset = make_dataset(cfg, with_train=False)
        cases = choose_cases(cfg, dataset)
        model = build_model(cfg, content, weight).to(runtime.device)
        cameras = find_cameras(content, dataset, model)
        evaluation = evaluate(cfg, model, cases, cameras, runtime, dataset.identities_masked)
        origin = {"checkpoint": str(weight), "data": cfg.DATASETS.ROOT_DIR, "model": cfg.MODEL.NAME}
        written = write_report(evaluation, results, cfg.TEST.RANKING_LENGTH, origin)
        if evaluation.identities_masked:
            logger.warning(
                "The test identities are masked (the challenge's copy): scores computed here would mean nothing and "
                "are left out. The submission is written; the challenge's server scores it."
            )
        else:
            logger.info("%s\n%s", format_protocols(evaluation), format_table(evaluation))
        logger.info("Written:\n%s", "\n".join(f"  {path}" for path in written))


def warn_of_other_network(cfg: CfgNode, trained: CfgNode) -> None:
    """Say which switches of the network differ from those that the checkpoint was trained with."""
    differing = [key for key in cfg.MODEL if key in NETWORK_SWITCHES and cfg.MODEL[key] != trained.MODEL[key]]
    for key in differing:
        logger.warning(
            "MODEL.%s is %s here, but the checkpoint was trained with %s: these scores are of a network that was never "
            "trained. Switches are set when training.",
            key,
            cfg.MODEL[key],
            trained.MODEL[key],
        )


def find_weight(cfg: CfgNode) -> Path:
    """The checkpoint to evaluate: TEST.WEIGHT, else the run's best, else its last."""
    if cfg.TEST.WEIGHT:
        return Path(cfg.TEST.WEIGHT)
    for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
        if (Path(cfg.OUTPUT_DIR) / name).is_file():
            return Path(cfg.OUTPUT_DIR) / name
    raise FileNotFoundError(
        f"No checkpoint in {cfg.OUTPUT_DIR}: expected {BEST_CHECKPOINT} or {LAST_CHECKPOINT}. Train first "
        f'(python train_main.py --output_dir "{cfg.OUTPUT_DIR}"), or name a file with --weight.'
    )


def choose_cases(cfg: CfgNode, dataset) -> list:
    """The directions that DATASETS.EVAL_CASE names."""
    wanted = list(dataset.cases) if cfg.DATASETS.EVAL_CASE == "all" else [cfg.DATASETS.EVAL_CASE]
    for name in wanted:
        if name not in dataset.cases:
            raise ValueError(
                f"DATASETS.EVAL_CASE is {name}, but {cfg.DATASETS.ROOT_DIR} holds only {', '.join(dataset.cases)}."
            )
    return [dataset.cases[name] for name in wanted]


def build_model(cfg: CfgNode, content: dict, weight: Path) -> XTFCLIP:
    """The network with as many classes and cameras as the checkpoint has, whatever the data set has."""
    state = convert_checkpoint(content)
    num_classes = len(state[CLASSIFIERS[0]]) if CLASSIFIERS[0] in state else 1
    num_cameras = len(state[CAMERA_EMBEDDING]) if CAMERA_EMBEDDING in state else 1
    model = make_model(cfg, num_classes, num_cameras, pretrained=False)
    load_state(model, content, weight)
    return model


def find_cameras(content: dict, dataset, model: XTFCLIP) -> dict[int, int]:
    """Camera indices by camid: the checkpoint's own table, else the training split's if it has as many cameras."""
    if "camids" in content:
        return {camid: index for index, camid in enumerate(content["camids"])}
    if not model.num_cameras:
        return {}
    cameras = train_cameras(dataset.train)
    if len(cameras) != model.num_cameras:
        logger.warning(
            "The checkpoint has %d cameras and the training split %d: every camera counts as unknown.",
            model.num_cameras,
            len(cameras),
        )
        return {}
    return cameras


if __name__ == "__main__":
    sys.exit(run_command(main))
