"""Train classifiers of attributes on a checkpoint's descriptors, from the training people's table.

examples:
  python -m tools.train_attributes --output_dir logs/all
  python -m tools.train_attributes --output_dir logs/all --weight best
  python -m tools.train_attributes --output_dir logs/all --text_tower ViT-B-16.pt
  python eval_main.py --output_dir logs/all --custom_output_dir results/predicted TEST.MASK predicted
  python eval_main.py --output_dir logs/all --custom_output_dir results/soft TEST.MASK soft
  python eval_main.py --output_dir logs/all --eval_case all TEST.MASK predicted TEST.TEXT_TOWER ViT-B-16.pt

Run it after training. It describes every training tracklet that has attributes, and trains a linear classifier of each
attribute on 60 % of these people. Another 20 % choose its regularisation and its temperature, which makes its
probabilities honest; the last 20 % give the scores that are printed: accuracy beside chance (always the most frequent
code), agreement beyond chance (Cohen's kappa), and the calibration error before and after. The network was trained on
all of these people, so test people may be harder.

attributes.safetensors is written beside the checkpoint, and is refused for any other checkpoint: train the classifiers
again after more training. Classifiers of gender, age and ethnicity are not kept, unless TEST.PREDICT_SENSITIVE True.

--text_tower also scores descriptions of the values in CLIP's space, as they are and calibrated on the same people. The
calibrated ones are written to zero_shot.safetensors, and TEST.TEXT_TOWER has evaluation use them.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial

from configs import warn_of_unread_keys
from configs.load import find_run, locate_checkpoint
from utils.arguments import at_least, list_overrides
from utils.commands import run_command

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config_file", help="YAML; default: that of the checkpoint, else the winner's recipe")
    parser.add_argument("--output_dir", help="folder of the training run (OUTPUT_DIR): where its checkpoints are")
    parser.add_argument("--weight", help="last (default), best, or a file, ours or published (TEST.WEIGHT)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the draw of people (%(default)s)")
    parser.add_argument("--text_tower", help="CLIP file or captions: compare with zero-shot classifiers (AG-VPReID)")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    own = [] if args.config_file else ["TEST.WEIGHT", ""]  # no run's own configuration decides it
    opts = own + list_overrides({"OUTPUT_DIR": args.output_dir or None, "TEST.WEIGHT": args.weight or None}) + args.opts
    cfg = find_run(opts, args.config_file)
    # Below the parsing, because torch takes seconds.
    from datasets.build import make_dataset, make_test_loader
    from model.text_space import open_text_space
    from processor.attributes.fit import find_annotated, train_heads
    from processor.attributes.heads import format_scores, write_trained_heads
    from processor.attributes.zero_shot import encode_words, fit_zero_shot, make_zero_shot_heads, write_zero_shot_heads
    from processor.build import make_extractor
    from processor.evaluation.open_run import load_trained
    from utils.files import lock_folder
    from utils.runtime import prepare_output, start_logging

    folder = prepare_output(locate_checkpoint(cfg).parent)
    with lock_folder(folder), start_logging(folder / "attributes.log"):
        warn_of_unread_keys(cfg, "evaluation", opts)
        trained = load_trained(cfg, overrides=None if args.config_file else opts)
        cfg, processes = trained.cfg, trained.runtime.processes
        with processes.first_on_machine():  # the first one lists the frames
            dataset = make_dataset(cfg)
        tracklets, scheme = find_annotated(dataset, cfg.DATASETS.NAMES)
        make_loader = partial(make_test_loader, cfg, cameras=trained.cameras_for(dataset), processes=processes)
        extractor = make_extractor(cfg, trained.model, trained.runtime)
        if args.text_tower:  # opened first: a file that is missing is known before anything takes long
            space = open_text_space(args.text_tower).to(trained.runtime.device)
            plain = make_zero_shot_heads(space, scheme)
        features = extractor.extract(make_loader(tracklets), tracklets, "training people")
        heads, scores = train_heads(features, scheme, args.seed, processes)
        path = processes.run_on_main(partial(write_trained_heads, heads, scores, trained))
        logger.info("Held-out training people, in percent:\n%s", format_scores(scores))
        logger.info("Written: %s, for TEST.MASK predicted and soft", path)
        if args.text_tower:
            words = encode_words(features.tracklets, space, extractor, make_loader)
            fitted, (before, after) = fit_zero_shot(plain, words, features, scores, args.seed)
            logger.info("Zero-shot classifiers by %s on the same people:\n%s", space.name, format_scores(before))
            logger.info("Calibrated zero-shot classifiers on the same people:\n%s", format_scores(after))
            path = processes.run_on_main(partial(write_zero_shot_heads, fitted, space, folder))
            logger.info("Written: %s, for TEST.MASK predicted with TEST.TEXT_TOWER", path)


if __name__ == "__main__":
    sys.exit(run_command(main))
