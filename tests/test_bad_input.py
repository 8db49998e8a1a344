"""Hundreds of bad command lines, configs, checkpoints and data sets: each ends in one line, soon, and with its status.

Every case runs in a child that is forked after torch was imported, in a folder of its own. A case fails if it raises,
hangs, succeeds where it must not, or ends in words that do not say what is wrong.
"""

import itertools
import logging
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import eval_main
import train_main
from configs import CHOICES
from configs.defaults import KEYS, Range
from configs.keys import DEFAULTS
from datasets.build import DATASETS
from processor.report import write as report
from processor.training import monitor
from utils.commands import run_command

pytestmark = [pytest.mark.forks, pytest.mark.slow]

TIME_LIMIT = 60.0  # seconds of a case
RUN = Path("logs/run")
Words = tuple[str, ...]
LAST = RUN / "checkpoint_last.pth"
# Without the checkpoint before, which a resumed run would use in place of a damaged one.
NOT_NEEDED = shutil.ignore_patterns("tensorboard", "*.log", ".lock", "checkpoint_previous.pth")


@dataclass(frozen=True)
class Case:
    """A command line, and what is wrong with what it reads."""

    name: str
    main: ModuleType
    words: Words
    change: Callable[[], Any] = lambda: None  # called in the folder of the case before the command
    must_fail: bool = True
    named: str = ""  # must be in the message


@pytest.fixture(scope="session")
def base(tmp_path_factory, write_tree, tiny_opts, run_case):
    """A folder with the data and a run of one epoch, which a child trained: nothing here may compute gradients."""
    folder = tmp_path_factory.mktemp("base")
    write_tree(folder / "data")
    words = ("--output_dir", str(RUN), "--weights_only", *tiny_opts, "DATASETS.ROOT_DIR", "data")
    train = Case("the run itself", train_main, (*words, "SOLVER.STAGE2.MAX_EPOCHS", "1"))
    status, console = run_case(train, folder)
    assert status == 0, console
    return folder


@pytest.fixture
def workshop(base, tmp_path, monkeypatch, run_case):
    """``workshop(cases, copy_data=False)``: run cases, each beside a copy of a trained run; returns the failures."""
    monkeypatch.setattr(report, "draw_best_and_worst", lambda result, folder: [])
    monkeypatch.setattr(report, "write_page", lambda *parts: [])
    for main in (train_main, eval_main):  # this imports what the commands need, so that no child has to
        assert run_command(partial(main.main, ["a mistake"])) == 1

    def run(cases: Iterable[Case], copy_data: bool = False) -> list[str]:
        problems = []
        for case in cases:
            # Files are linked: what a case changes, it replaces.
            shutil.copytree(base / RUN, tmp_path / RUN, ignore=NOT_NEEDED, copy_function=os.link)
            if copy_data:
                shutil.copytree(base / "data", tmp_path / "data", copy_function=os.link)
            else:
                (tmp_path / "data").symlink_to(base / "data")
            if problem := find_problem(case, *run_case(case, tmp_path)):
                problems.append(f"{case.name}: {problem}")
            for path in tmp_path.iterdir():
                remove(path)
        return problems

    return run


@pytest.fixture(scope="session")
def run_case(run_forked):
    """``run_case(case, folder)``: run a case there in a child; returns its status, None if killed, and what it said."""

    def run(case: Case, folder: Path) -> tuple[int | None, str]:
        status = run_forked(TIME_LIMIT, be_child, case, folder)
        return status, (folder / "console").read_text(encoding="utf-8", errors="replace")

    return run


def be_child(case: Case, folder: Path) -> None:
    """Run a case and end with its status; the console goes to a file."""
    os.chdir(folder)
    monitor.draw_curves = lambda rows, path: None
    torch.set_num_threads(1)  # the parent's threads do not exist here
    logging.getLogger().handlers.clear()
    handle = os.open("console", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout = sys.stderr = os.fdopen(handle, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    case.change()
    sys.exit(run_command(partial(case.main.main, list(case.words))))


def find_problem(case: Case, status: int | None, console: str) -> str | None:
    """Return what is wrong with the end of a case; None if nothing is."""
    lines = console.strip().splitlines() or [""]
    if status is None:
        return f"took more than {TIME_LIMIT:.0f} s: {lines[-1]}"
    if "Traceback" in console or status not in (0, 1, 2):
        return f"ended with status {status}: {' | '.join(lines[-6:])}"
    if status == 0:
        return f"succeeded: {lines[-1]}" if case.must_fail else None
    errors = [line for line in lines if " ERROR " in line] or lines[-1:]
    if len(errors) > 1 or errors[0] != lines[-1]:
        return f"said: {' | '.join(lines[-4:])}"
    return None if case.named in errors[0] else f"does not name {case.named}: {errors[0]}"


# ---- command lines


RESUME = ("--output_dir", str(RUN), "--resume", "SOLVER.STAGE2.MAX_EPOCHS", "2")
EVALUATE = ("--output_dir", str(RUN), "--custom_output_dir", "results")
LONG = "x" * 300
# Words, and what the message must name.
OF_BOTH = [
    (("SOLVER.SEED",), "SOLVER.SEED"),
    (("SOLVER.STAGE2", "1"), "SOLVER.STAGE2"),
    (("", "1"), "Unknown config key"),
    (("SOLVER.SEED", "1", "--eval_case", "all"), "--eval_case"),  # an option after the keys
    (("--nonsense", "1"), "--nonsense"),
    (("--output_dir",), "--output_dir"),
    (("--config_file", "gone.yml"), "gone.yml"),
    (("--config_file", "data"), "data"),
    (("--config_file", "/dev/zero"), "/dev/zero"),
    (("--config_file", LONG), LONG[:50]),
    (("--output_dir", LONG), LONG[:50]),
]
OF_EVALUATION = [
    (("--eval_case", "case9"), "--eval_case"),
    (("--weight", "data"), "data"),
    (("--weight", "best"), "checkpoint_best.pth"),
    (("--eval_case", "case3", *EVALUATE[:2]), "DATASETS.EVAL_CASE"),  # which this data set lacks
]


def command_lines(train: Words) -> Iterator[Case]:
    for words, named in OF_BOTH:
        yield from (Case(f"{words}", main, words, named=named) for main in (train_main, eval_main))
    for words, named in OF_EVALUATION:
        yield Case(f"{words}", eval_main, words, named=named)
    block = partial(replace, Path("taken"), b"a file")
    for output, named in (("taken", "taken"), ("taken/run", "taken"), ("/proc/run", "/proc/run")):
        yield Case(f"output in {output}", train_main, ("--output_dir", output, *train[2:]), block, named=named)
        words = ("--custom_output_dir", output, *EVALUATE[:2])
        yield Case(f"results in {output}", eval_main, words, block, named=named)


# ---- values


def bad_values(key: str) -> Iterator[str]:
    """Yield values for a key, as typed, that are certainly bad; one that may do would train a whole run."""
    default, allowed = DEFAULTS[key], KEYS[key].allowed
    if isinstance(default, bool):
        yield from ("maybe", "None")
    elif isinstance(default, int | float):
        yield from ("1e999", "-1", "1" + "0" * 30, "many", "(1, 2)")
        yield from ("0",) if allowed.low > 0 else ()
    elif isinstance(default, tuple):
        yield from ("5", "(nan, nan)")
        yield from ("('a', 2)",) if default or allowed else ()  # folders may be called so
        yield from ("(-1, -1)", "(1.5, 1e999)") if isinstance(allowed, Range) else ()
        yield from ("()",) if isinstance(allowed, Range) and key != "SOLVER.STAGE2.STEPS" else ()
    else:
        yield from ("\n", "a" * 5000)
        yield from ("nonsense",) if key in CHOICES else ()


def values(train: Words) -> Iterator[Case]:
    for key in DEFAULTS:
        # A folder that cannot be read may be named itself.
        named = "" if key.endswith("_DIR") or key == "MODEL.INIT_WEIGHT" else key.split(".")[1]
        for value in bad_values(key):
            yield Case(f"{key} {value[:40]!r}", train_main, (*train, key, value), named=named)
            if key.startswith("TEST."):
                yield Case(f"evaluation: {key} {value[:40]!r}", eval_main, (*EVALUATE, key, value))


# Sizes that are allowed one by one, and fit neither one another nor the ViT, or just do.
ODD = {
    "MODEL.VIT.EMBED_DIM": ("1", "2", "7", "65", "100"),
    "MODEL.VIT.NUM_HEADS": ("3", "64", "0"),
    "MODEL.VIT.PATCH_SIZE": ("1", "7", "15", "32", "64", "224"),
    "MODEL.VIT.PROJ_DIM": ("1", "7"),
    "INPUT.SIZE_TRAIN": ("(16, 16)", "(17, 16)", "(1, 1)", "(256, 16)"),
    "INPUT.SIZE_TEST": ("(16, 16)", "(17, 16)", "(1, 1)", "(256, 16)"),
    "MODEL.STRIDE_SIZE": ("(1, 1)", "(17, 17)", "(5, 16)", "(224, 224)"),
    "INPUT.SEQ_LEN": ("1", "7", "100"),
    "SOLVER.STAGE2.IMS_PER_BATCH": ("2", "3", "6", "60000"),
    "DATALOADER.NUM_INSTANCE": ("1", "3", "4"),
    "SOLVER.STAGE2.ACCUMULATION_STEPS": ("2", "3"),
    "MODEL.FREEZE_BLOCKS": ("2", "3"),
    "MODEL.NAME": ("ViT-B-16.pt", "resnet50", "vit_base_patch16_224", "vit", "clip"),
    "SOLVER.SEED": (str(2**32), str(2**63 - 1)),
    "SOLVER.STAGE2.BASE_LR": ("1e-300", "100"),
    "SOLVER.STAGE2.STEPS": ("(1, 1)", "(3, 2, 1)", "(1000000,)"),
    "MODEL.DEVICE": ("cuda", "cuda:7"),
    "MODEL.PRETRAINED": ("True",),
}


def odd_sizes(train: Words) -> Iterator[Case]:
    for key, several in ODD.items():
        yield from (Case(f"{key} {value}", train_main, (*train, key, value), must_fail=False) for value in several)


# ---- configs


CONTENTS = {  # tests/configs/test_configs.py has more
    "a number": b"5\n",
    "a tab": b"MODEL:\n\tNAME: a\n",
    "a section that is a number": b"MODEL: 5\n",
    "null as a key": b"~: 5\n",
    "a list as a key": b"[a, b]: 5\n",
    "many sections": "".join(f"a{number}: 1\n" for number in range(20_000)).encode(),
    "a number of 5000 digits": b"SOLVER:\n  SEED: " + b"9" * 5000,
    "a date": b"SOLVER:\n  SEED: 2026-11-40\n",
    "UTF-16": "TEST:\n  FLIP: True\n".encode("utf-16"),
    "Latin-1": "OUTPUT_DIR: \xe4\n".encode("latin-1"),
    "noise": random.Random(0).randbytes(2000),
}


def configs(train: Words) -> Iterator[Case]:
    contents = CONTENTS | {f"{key} that is a section": f"{key}:\n  a: 1\n".encode() for key in DEFAULTS}
    for number, (name, content) in enumerate(contents.items()):
        main, change = (train_main, eval_main)[number % 2], partial(replace, Path("bad.yml"), content)
        yield Case(f"a config with {name}", main, ("--config_file", "bad.yml", *train), change)


def replace(path: Path, content: bytes) -> None:
    """Put another file at a path; the file there, which other cases share, stays as it is."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


# ---- checkpoints

ENTRIES = ("model", "criterion", "optimizer", "schedule", "memory", "pids", "camids", "generator", "config", "epoch")
WEIGHTS = ("encoder.camera_embedding", "encoder.blocks.0.attn.qkv.weight")
EVALUATED = ("model", "config", "camids")
MISSING, NOT_FINITE = object(), "NaN"
Change = Callable[[Any], Any]
ODD_ENTRIES: dict[str, Change] = {
    "missing": lambda value: MISSING,
    "None": lambda value: None,
    "text": lambda value: "text",
    "a list": lambda value: [None],
    "a tensor": lambda value: torch.ones(2, 3),
}
ODD_WEIGHTS: dict[str, Change] = {
    "missing": lambda value: MISSING,
    "None": lambda value: None,
    "a list": lambda value: value.tolist(),
    "more dimensions": lambda value: value[None],
    "empty": lambda value: torch.empty(0),
    "meta": lambda value: value.to("meta"),
    "sparse": lambda value: value.to_sparse(),
    NOT_FINITE: lambda value: torch.full_like(value, float("nan")),
}


def change_checkpoint(name: str, change: Change) -> None:
    """Change an entry of the last checkpoint, or one of its weights."""
    content = torch.load(LAST, weights_only=True)
    part = content["model"] if name in WEIGHTS else content
    value = change(part.pop(name))
    if value is not MISSING:
        part[name] = value
    LAST.unlink()
    torch.save(content, LAST)


def checkpoints(train: Words) -> Iterator[Case]:
    odd = [*itertools.product(ENTRIES, ODD_ENTRIES.items()), *itertools.product(WEIGHTS, ODD_WEIGHTS.items())]
    for name, (kind, odd_value) in odd:
        change = partial(change_checkpoint, name, odd_value)
        # The loss, or the features, show what is not finite.
        named = "" if kind == NOT_FINITE else name if name in WEIGHTS else LAST.name
        yield Case(f"resume: {name}: {kind}", train_main, RESUME, change, named=named)
        if name in WEIGHTS or (name in EVALUATED and kind != "missing"):
            yield Case(f"evaluation: {name}: {kind}", eval_main, EVALUATE, change, named=named)


FOREIGN: dict[str, Callable[[Path], Any]] = {
    "empty": Path.touch,
    "noise": lambda path: path.write_bytes(random.Random(0).randbytes(100_000)),
    "a list": lambda path: torch.save([1, 2], path),
    "None": lambda path: torch.save(None, path),
    "a model of nothing": lambda path: torch.save({"model": {}}, path),
    "a model of a list": lambda path: torch.save({"model": [torch.ones(3)]}, path),
    "numbers as names": lambda path: torch.save({"model": {5: torch.ones(3)}}, path),
    "other names": lambda path: torch.save({"state_dict": {"a": torch.ones(3)}}, path),
    "an array": lambda path: torch.save({"model": {"a": np.ones(3)}}, path),
    "a function": lambda path: torch.save({"model": print}, path),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "safetensors": lambda path: save_file({"a": torch.ones(3)}, path),
}


def files_of_other_programs(train: Words) -> Iterator[Case]:
    commands = (
        (eval_main, (*EVALUATE, "--weight", "bad.pth")),
        (eval_main, (*EVALUATE, "--weight", "bad.safetensors")),
        (train_main, (*train, "MODEL.PRETRAINED", "True", "MODEL.INIT_WEIGHT", "bad.pth")),
        (train_main, (*train, "MODEL.PRETRAINED", "True", "MODEL.PRETRAIN_PATH", "bad.pth")),
    )
    for (name, make), (main, words) in itertools.product(FOREIGN.items(), commands):
        yield Case(f"{words[-2:]}: {name}", main, words, partial(make, Path(words[-1])), named=words[-1])


# ---- data

TRAIN, QUERY, GALLERY = "data/train", "data/case1_aerial_to_ground/query", "data/case1_aerial_to_ground/gallery"
TABLES = ("data/attributes/train.csv", "data/attributes/case1_aerial_to_ground/query.csv")


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def put(make: Callable[[Path], Any], path: Path) -> None:
    """Put something else at a path."""
    remove(path)
    make(path)


def rename(path: Path, name: str) -> None:
    path.rename(path.with_name(name))


def put_picture(size: tuple[int, int], kind: str, form: str) -> Callable[[Path], None]:
    return partial(put, lambda path: Image.new(kind, size).save(path, form))


FOLDER_DAMAGE: dict[str, Callable[[Path], None]] = {
    "missing": remove,
    "empty": partial(put, Path.mkdir),
    "a file": partial(put, Path.touch),
    "a link to itself": partial(put, lambda path: path.symlink_to(path.name)),
    "a pipe": partial(put, os.mkfifo),
}
FRAME_DAMAGE: dict[str, Callable[[Path], None]] = {
    **FOLDER_DAMAGE,
    "cut": lambda path: replace(path, path.read_bytes()[:200]),
    "noise": lambda path: replace(path, b"\xff\xd8\xff" + random.Random(0).randbytes(500)),
    "one pixel": put_picture((1, 1), "RGB", "PNG"),
    "a palette": put_picture((32, 64), "P", "PNG"),
    "CMYK": put_picture((32, 64), "CMYK", "JPEG"),
    "huge": put_picture((20_000, 20_000), "1", "PNG"),
}
NAMES_OF_FRAMES = (
    "frame.jpg",
    "P1T2310171A2C9E1K1F10.jpg",
    "P1T2310171A2C4E1K1F10.jpg",
    f"P1T2310171A2C0E1K1F{'9' * 100}.jpg",
    *(".jpg", "\udcff.jpg", "a\nb.jpg"),
)
NAMES_OF_PEOPLE = ("person", "-1", "0", "0x1", "01", "1.5", "9" * 30, "1 ", "\udcff", "a\nb")
CONTENTS_OF_TABLES = {
    "empty": b"",
    "a header only": b"id,gender\n",
    "huge numbers": b"id,gender\n99999999999999999999999,99999999999999999999999\n",
    "an open quote": b'id,gender\n"1,2\n',
    "UTF-16": "id,gender\n1,0\n".encode("utf-16"),
    "noise": random.Random(0).randbytes(1000),
}


def data(train: Words) -> Iterator[Case]:
    evaluate = (*EVALUATE, "DATASETS.ROOT_DIR", "data", "DATASETS.EVAL_CASE", "all")
    commands = {"train_main": (train_main, train), "eval_main": (eval_main, evaluate)}

    def case(command: str, place: str, kind: str, change: Callable[[], Any], must_fail: bool = False) -> Case:
        main, words = commands[command]
        return Case(f"{command}: {place} {kind}", main, words, change, must_fail)

    for kind, damage in FOLDER_DAMAGE.items():
        for command in commands:
            yield case(command, "the root", kind, partial(damage, Path("data")), must_fail=True)
        yield case("train_main", TRAIN, kind, partial(damage, Path(TRAIN)), must_fail=True)
        for place in (QUERY, GALLERY, "data/case1_aerial_to_ground", "data/attributes", *TABLES):
            yield case("eval_main", place, kind, partial(damage, Path(place)))
        for command, place in (("train_main", TRAIN), ("eval_main", QUERY), ("eval_main", GALLERY)):
            for depth in ("*", "*/*"):
                yield case(command, f"{place}/{depth}", kind, partial(at_first, depth, place, damage))
    for command, place in (("train_main", TRAIN), ("eval_main", QUERY)):
        for kind, damage in FRAME_DAMAGE.items():
            yield case(command, f"a frame in {place}", kind, partial(at_first, "*/*/*", place, damage))
            if kind != "huge":  # a hundred of them take minutes
                yield case(command, f"all frames in {place}", kind, partial(at_all, "*/*/*", place, damage))
        for depth, names in (("*/*/*", NAMES_OF_FRAMES), ("*", NAMES_OF_PEOPLE)):
            for name in names:
                change = partial(at_first, depth, place, partial(rename, name=name))
                yield case(command, f"{place}/{depth}", f"named {name!r:.40}", change)
    for name, content in CONTENTS_OF_TABLES.items():
        for command, table in zip(commands, TABLES, strict=True):
            yield case(command, table, f"with {name}", partial(replace, Path(table), content))


def at_all(pattern: str, folder: str, damage: Callable[[Path], Any]) -> None:
    for path in sorted(Path(folder).glob(pattern)):
        damage(path)


def at_first(pattern: str, folder: str, damage: Callable[[Path], Any]) -> None:
    damage(sorted(Path(folder).glob(pattern))[0])


def other_data_sets(train: Words) -> Iterator[Case]:
    changes = {"of another data set": lambda: None}
    changes |= {kind: partial(damage, Path("data")) for kind, damage in FOLDER_DAMAGE.items()}
    commands = ((train_main, ()), (eval_main, ("TEST.WEIGHT", str(LAST))))
    for name, (kind, change), (main, more) in itertools.product({*DATASETS} - {"agvpreid"}, changes.items(), commands):
        words = (*train, "TEST.MASK_ATTRIBUTES", "()", "DATASETS.NAMES", name, *more)
        must_fail = (name, kind) != ("detreidx", "of another data set")  # whose frames are named alike
        yield Case(f"{main.__name__}: {name} in a folder {kind}", main, words, change, must_fail)


FAMILIES = (command_lines, values, odd_sizes, configs, checkpoints, files_of_other_programs, data, other_data_sets)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_case_ends_in_one_line_that_says_what_is_wrong(family, workshop, tiny_opts):
    train = ("--output_dir", "logs/new", *tiny_opts, "DATASETS.ROOT_DIR", "data", "SOLVER.STAGE2.MAX_EPOCHS", "1")
    assert workshop(family(train), copy_data=family in (data, other_data_sets)) == []
