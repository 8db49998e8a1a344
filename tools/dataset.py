"""Work on a copy of a data set: check it, describe folders of your own, draw validation people, make frames small.

What imports torch, which takes seconds, is imported by the commands, so that --help answers at once.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from configs import check_places, get_cfg
from utils.arguments import MAX_WORKERS, add_config, at_least, output_file
from utils.commands import run_command, show
from utils.files import write_text
from utils.mistake import Mistake

CHECK = """\
examples:
  python -m tools.dataset check --sample 4 --json check.json DATASETS.ROOT_DIR /data/AG-VPReID
  python -m tools.dataset check --config_file configs/xtfclip_mars.yml DATASETS.ROOT_DIR /data/MARS

The last line says whether training can start, and so does the exit status: 0 means yes, whatever the warnings; 1 means
no; 130 means that Ctrl-C interrupted the check, which then reports what it has found so far.
"""

DESCRIBE = """\
examples:
  python -m tools.dataset describe data/own --pattern "{person}/cam{camera}_{tracklet}"
  python -m tools.dataset describe data/own --table data/own/tracklets.csv --force

A pattern says what the names of the folders that hold frames mean, or, with {frame}, those of the frames. Its fields
are {person}, {camera}, {tracklet}, {view} (ground, aerial), {altitude} (metres), {day} (a date), {split} (train, query,
gallery, test) and {frame}; * stands for anything. docs/datasets.md, 'Your own data', explains the table.
"""

SPLIT = """\
example:
  python -m tools.dataset split --fraction 0.2 --seed 1 --output pids.txt DATASETS.ROOT_DIR /data/AG-VPReID

DATASETS.VALIDATION_FRACTION 0.2 holds out a drawn share without a file; this command is for other draws.
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add_command(run: Callable[..., int | None], text: str, epilog: str | None = None) -> argparse.ArgumentParser:
        style = argparse.RawDescriptionHelpFormatter
        command = commands.add_parser(run.__name__, help=text, epilog=epilog, formatter_class=style)
        command.set_defaults(run=run)
        return command

    several, workers = at_least(1, MAX_WORKERS), f"processes, at most {MAX_WORKERS}; default: one for each core"
    command = add_command(check, "check a copy: counts, frames, names, attributes, and if training can start", CHECK)
    add = command.add_argument
    add("--sample", type=at_least(0), default=0, metavar="N", help="decode N frames of each tracklet; default: all")
    add("--workers", type=several, help=workers)
    report = output_file(".json", beginning='{ "dataset":')
    add("--json", type=report, metavar="PATH", help="also write the report, with every finding, to PATH")
    add_config(command)

    command = add_command(describe, "write the table of your own data from the names of folders", DESCRIBE)
    add = command.add_argument
    add("root", type=Path, help="folder of the data (DATASETS.ROOT_DIR)")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--pattern", default="", help="what the names mean; default: {person}/{camera}[/{tracklet}]")
    text = "people who are nobody, such as 0000 in sets named as Market-1501"
    add("--distractors", nargs="+", default=(), metavar="PERSON", help=text)
    source.add_argument("--table", type=Path, help="take the tracklets of this table, and add only the splits")
    add("--test_share", type=float, default=0.3, metavar="SHARE", help="share of the people to test (%(default)s)")
    add("--seed", type=at_least(0), default=0, help="seed by which they are drawn (%(default)s)")
    add("--force", action="store_true", help="replace the table")

    command = add_command(split, "draw people to hold out for validation, for DATASETS.VALIDATION_PIDS", SPLIT)
    add = command.add_argument
    add("--fraction", type=float, default=0.2, help="share of the training people (%(default)s)")
    add("--seed", type=at_least(0), default=0, help="seed of the draw (%(default)s)")
    add("--output", type=Path, required=True, help="the list to write, one pid a line")
    add_config(command)

    add = add_command(resize, "write a copy of a data set with small frames; it can be stopped").add_argument
    add("root", type=Path, help="folder of the data set; nothing is written there")
    add("output", type=Path, help="folder of the copy; files that are there are kept")
    size = "largest height and width, as INPUT.SIZE_TRAIN (288 144)"
    add("--size", type=at_least(1), nargs=2, default=(288, 144), metavar=("H", "W"), help=size)
    add("--workers", type=several, help=workers)
    args = parser.parse_args(argv)
    return run_command(partial(args.run, args))


def check(args: argparse.Namespace) -> int:
    cfg = get_cfg(args.config_file, args.opts)
    check_places(cfg, "both", args.opts)
    from datasets.check.check import check_dataset, count_cores
    from datasets.check.report import format_report, report_as_dict

    report = check_dataset(cfg, args.sample, args.workers or count_cores())
    show(format_report(report))
    if args.json:
        write_text(json.dumps(report_as_dict(report), indent=2) + "\n", args.json)
    if not report.complete and "worker" not in report.problems.places:
        return 130
    return 0 if report.can_train else 1


def describe(args: argparse.Namespace) -> None:
    """Read the names, show what was understood, and write the table."""
    from datasets.readers.describe import Description, describe_folders, format_counts, format_description
    from datasets.readers.own_data import list_frames
    from datasets.readers.tracklet_table import TABLE, draw_split, read_table, write_table

    output = args.root / TABLE
    if output.exists() and not args.force:
        raise Mistake(f"{output} exists already: --force replaces it.")
    if args.table:
        description = Description(read_table(args.table), str(args.table))
        if description.table.rows[0].split:
            raise Mistake(f"{args.table}, line 1: there is a column split already; remove it to have another drawn.")
    else:
        description = describe_folders(args.root, output, args.pattern, args.distractors)
    table = description.table
    frames = list_frames(args.root, table, table.rows)
    show(format_description(description, frames) + "\n")
    rows = table.rows if table.rows[0].split else draw_split(table.rows, args.test_share, args.seed)
    write_table(output, rows, table.attributes)
    written = read_table(output)  # refuses what cannot be trained on, such as a person in train and test
    show(format_counts(written.rows, frames) + "\n")
    show(f"Wrote {output}. Check it, and the frames, with:")
    root = shlex.quote(str(args.root))
    show(f"python -m tools.dataset check --config_file configs/own_data.yml DATASETS.ROOT_DIR {root}")


def split(args: argparse.Namespace) -> None:
    cfg = get_cfg(args.config_file, args.opts)
    check_places(cfg, "both", args.opts)
    from datasets.build import make_dataset
    from datasets.split import draw_people

    if args.output.exists():
        raise Mistake(f"{args.output} exists already: --output names another file.")
    train = make_dataset(cfg).train
    pids = sorted(draw_people(train, args.fraction, args.seed, "--fraction", distractors=True))
    people = {each.pid: each.person for each in train}
    write_text("".join(f"{people[pid]}\n" for pid in pids), args.output)
    show(f"{args.output} names {len(pids)} of {len(people)} people.")


def resize(args: argparse.Namespace) -> None:
    from datasets.check.check import count_cores
    from datasets.resize import resize_copy

    done = resize_copy(args.root, args.output, tuple(args.size), args.workers or count_cores())
    resized, copied, kept = (done[kind] for kind in ("resized", "copied", "kept"))
    show(f"{args.output}: {resized} frames resized, {copied} files copied, {kept} were there already.")


if __name__ == "__main__":
    sys.exit(main())
