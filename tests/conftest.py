"""Fixtures that every test may use."""

import colorsys
import logging
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from yacs.config import CfgNode

from configs import get_cfg
from datasets.attributes import COLUMNS
from datasets.tracklet import Tracklet

TRAIN_PIDS = (1, 4, 6, 9)
TEST_PIDS = (20, 21, 22)
TREE_CASES = {"case1_aerial_to_ground": (4, 0), "case2_ground_to_aerial": (0, 4)}  # camera of query, of gallery
TINY_OPTS = {
    "MODEL.DEVICE": "cpu",
    "MODEL.PRETRAINED": "False",
    "MODEL.NAME": "vit_xsmall_patch16_clip_224",
    "MODEL.VIT.EMBED_DIM": "64",
    "MODEL.VIT.DEPTH": "2",
    "MODEL.VIT.NUM_HEADS": "1",
    "MODEL.VIT.PROJ_DIM": "64",
    "INPUT.SIZE_TRAIN": "(64, 32)",
    "INPUT.SIZE_TEST": "(64, 32)",
    "INPUT.SEQ_LEN": "4",
    "DATALOADER.NUM_WORKERS": "0",
    "DATALOADER.NUM_INSTANCE": "2",
    "SOLVER.PRECISION": "fp32",
    "SOLVER.STAGE2.IMS_PER_BATCH": "4",
    "SOLVER.STAGE2.BASE_LR": "1e-3",
    "SOLVER.STAGE2.MAX_EPOCHS": "2",
    "SOLVER.STAGE2.WARMUP_ITERS": "0",
    "SOLVER.STAGE2.EVAL_PERIOD": "0",
    "TEST.IMS_PER_BATCH": "16",
    "TEST.NUM_MAPS": "0",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests that fork first: no child can compute gradients once its parent has computed any."""
    items.sort(key=lambda item: item.get_closest_marker("forks") is None)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count the tests that a run leaves out; every process collects all of them."""
    config = items[0].config
    getattr(config, "workeroutput", vars(config))["num_left_out"] = len(items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    """Take the count over from a process of pytest-xdist, which does not show it."""
    node.config.num_left_out = getattr(node, "workeroutput", {}).get("num_left_out", 0)


def pytest_terminal_summary(terminalreporter) -> None:
    """Say how many tests were left out, and what runs them."""
    if num_left_out := getattr(terminalreporter.config, "num_left_out", 0):
        terminalreporter.write_line(f"{num_left_out} tests were left out: `make test-all` runs the long ones, too.")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data beside the checkout; its tests skip without it."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip(f"needs the development data in {path}, which this machine does not have")
    return path


@pytest.fixture(scope="session")
def parity_folder() -> Path:
    """Folder of inputs and outputs of the published code."""
    return Path(__file__).parent / "parity"


@pytest.fixture(scope="session", autouse=True)
def _cache_home(tmp_path_factory) -> Iterator[None]:
    """Indices of data sets go to a temporary folder instead of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def run_forked() -> Callable[..., int | None]:
    """``run_forked(seconds, function, *arguments)``: run it in a child; returns its status, None if it took longer.

    The child is forked, so it has imported everything.
    """

    def run(seconds: float, function: Callable[..., None], *arguments: object) -> int | None:
        child = multiprocessing.get_context("fork").Process(target=function, args=arguments)
        child.start()
        child.join(seconds)
        status = child.exitcode
        child.kill()
        child.join()
        return status

    return run


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """``assert_same(actual, expected, where, tolerance=0)``: compare nested dicts, lists, tensors and numbers."""

    def compare(actual: object, expected: object, where: object = "", tolerance: float = 0) -> None:
        if isinstance(expected, torch.Tensor | float):
            message = partial("{}: {}".format, where)
            torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance, msg=message)
        elif isinstance(expected, dict):
            assert actual.keys() == expected.keys(), where
            for key in expected:
                compare(actual[key], expected[key], f"{where}/{key}", tolerance)
        elif isinstance(expected, list | tuple):
            assert len(actual) == len(expected), where
            for index, value in enumerate(expected):
                compare(actual[index], value, f"{where}/{index}", tolerance)
        else:
            assert actual == expected, where

    return compare


@pytest.fixture(autouse=True)
def _seed_torch() -> None:
    torch.manual_seed(1234)


@pytest.fixture(autouse=True)
def _detach_run_logging() -> Iterator[None]:
    """Entry points attach handlers to the root logger; no test may inherit another's."""
    yield
    detach_run_logging()


def detach_run_logging() -> None:
    """Undo ``utils.runtime.start_logging``."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if not type(handler).__module__.startswith("_pytest"):
            root.removeHandler(handler)
            with suppress(OSError):  # the test of a full disk
                handler.close()
    root.setLevel(logging.WARNING)
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def tiny_opts() -> list[str]:
    """Overrides, alternating KEY VALUE, for a model that trains on a CPU in seconds."""
    return [word for pair in TINY_OPTS.items() for word in pair]


@pytest.fixture
def tiny_cfg(tiny_opts) -> Callable[..., CfgNode]:
    """``tiny_cfg(key, value, ..., config_file=None)``: the configuration of the tiny model with more overrides."""

    def build(*opts: object, config_file: str | None = None) -> CfgNode:
        return get_cfg(config_file, [*tiny_opts, *map(str, opts)])

    return build


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, write_tree, tiny_opts) -> SimpleNamespace:
    """A run that train_main made once for all tests, which only read it: ``root`` of its data, ``output`` of the run.

    ``opts`` are the overrides that it was trained with. A test that writes takes ``copy_run``.
    """
    import train_main

    folder = tmp_path_factory.mktemp("trained")
    root, output = write_tree(folder / "data"), folder / "run"
    opts = [*tiny_opts, "DATASETS.ROOT_DIR", str(root)]
    train_main.main(["--output_dir", str(output), *opts])
    detach_run_logging()
    return SimpleNamespace(root=root, output=output, opts=opts)


@pytest.fixture
def copy_run(trained_run, tmp_path) -> Callable[..., Path]:
    """``copy_run(name="run")``: a copy of the folder of ``trained_run`` for a test that writes; its data are shared."""

    def copy(name: str = "run") -> Path:
        return shutil.copytree(trained_run.output, tmp_path / name, ignore=shutil.ignore_patterns(".lock"))

    return copy


@pytest.fixture
def set_up(trained_run, tiny_cfg, tmp_path):
    """``set_up(*overrides, resume=False, root=..., runtime=...)``: what ``train`` needs."""
    from datasets.build import make_dataset, make_train_loader, make_train_transform
    from processor.build import build_memory, make_training_state
    from utils.runtime import Runtime

    def build(*opts, resume=False, root=trained_run.root, runtime=Runtime(torch.device("cpu"), None)):  # noqa: B008
        cfg = tiny_cfg("DATASETS.ROOT_DIR", root, *opts)
        torch.manual_seed(cfg.SOLVER.SEED)
        dataset = make_dataset(cfg)
        state = make_training_state(cfg, dataset, runtime, resume=resume)
        if not resume:
            state.memory = build_memory(cfg, dataset, state.model, runtime)
        loader, augment = make_train_loader(cfg, dataset), make_train_transform(cfg)
        parts = {"cfg": cfg, "dataset": dataset, "runtime": runtime, "state": state, "output": tmp_path}
        return SimpleNamespace(**parts, loader=loader, augment=augment)

    return build


@pytest.fixture
def make_tracklet() -> Callable[..., Tracklet]:
    """``make_tracklet(pid, camid, name="a", num_frames=1, **attribute codes)``: a record without files."""

    def build(pid: int, camid: int = 0, name: str = "a", num_frames: int = 1, **codes: int) -> Tracklet:
        paths = tuple(f"{pid}/{name}/{frame}.jpg" for frame in range(num_frames))
        attributes = tuple(codes.get(column, 0) for column in COLUMNS) if codes else None
        return Tracklet(name, paths, pid, camid, "aerial" if camid >= 4 else "ground", None, attributes)

    return build


@pytest.fixture
def make_tree(tmp_path, write_tree) -> Callable[..., Path]:
    """``make_tree(name="data", **options)``: a folder of the test's own that ``write_tree`` fills; returns the root."""

    def build(name: str = "data", **options) -> Path:
        return write_tree(tmp_path / name, **options)

    return build


@pytest.fixture(scope="session")
def write_tree() -> Callable[..., Path]:
    """Writer of tiny AG-VPReID copies in which every person wears a colour of their own.

    ``write_tree(root, train=..., test=..., tracklets=2, num_frames=6, attributes=True, masked=False)`` writes
    ``tracklets`` tracklets of each person from cameras C0 (ground) and C4 (aerial), with JPEGs of 32 x 64 pixels, and
    returns the root. People with one pid look alike wherever they are written.
    """

    def write(
        root: Path,
        train: tuple[int, ...] = TRAIN_PIDS,
        test: tuple[int, ...] = TEST_PIDS,
        tracklets: int = 2,
        num_frames: int = 6,
        attributes: bool = True,
        masked: bool = False,
    ) -> Path:
        for pid in train:
            for camid in (0, 4):
                for number in range(tracklets):
                    _write_tracklet(root / "train" / str(pid) / f"c{camid}n{number}", pid, camid, number, num_frames)
        _write_table(root / "attributes/train.csv", train)
        for case, (query, gallery) in TREE_CASES.items():
            for side, camid in (("query", query), ("gallery", gallery)):
                for index, pid in enumerate(test):
                    for number in range(tracklets):
                        serial = index * tracklets + number
                        masked_name = f"tracklet_{serial}" if camid == 4 else f"ab{chr(97 + serial)}{number}cD"
                        tracklet = masked_name if masked else f"c{camid}n{number}"
                        folder = root / case / side / str(pid) / tracklet
                        _write_tracklet(folder, pid, camid, 10 + number, num_frames)
                if attributes:
                    _write_table(root / "attributes" / case / f"{side}.csv", test)
        return root

    return write


def _write_tracklet(folder: Path, pid: int, camid: int, number: int, num_frames: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng([pid, camid, number])
    hue = pid * 0.618 % 1
    shirt = colorsys.hsv_to_rgb(hue, 1.0, 0.9)
    trousers = colorsys.hsv_to_rgb((hue + 0.37) % 1, 0.8, 0.5)
    for frame in range(num_frames):
        pixels = np.empty((64, 32, 3))
        pixels[:32], pixels[32:] = shirt, trousers
        pixels = pixels * (0.8 if camid == 4 else 1.0) + rng.normal(0, 0.04, pixels.shape)
        image = Image.fromarray((255 * pixels.clip(0, 1)).astype(np.uint8))
        image.save(folder / f"P{pid}T2310171A2C{camid}E1K1F{10 * number + frame}.jpg")


def _write_table(path: Path, pids: tuple[int, ...]) -> None:
    """Attributes of ``pids``: gender alternates, the rest is the same for all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join(map(str, (pid, pid % 2, *[1] * (len(COLUMNS) - 1)))) for pid in pids]
    path.write_text("\n".join([",".join(("id", *COLUMNS)), *rows]) + "\n")


@pytest.fixture
def build_mars_tree(tmp_path):
    """Write a tree laid out as MARS, without lists of names; query holds 1-based rows of test."""

    def build(train, test, query):
        (tmp_path / "info").mkdir(exist_ok=True)
        names = {"train": _add_tracks(tmp_path, "train", train), "test": _add_tracks(tmp_path, "test", test)}
        savemat(tmp_path / "info/query_IDX.mat", {"query_IDX": np.array([query], dtype=np.uint16)})
        return SimpleNamespace(root=tmp_path, names=names)

    return build


def _add_tracks(root, split, tracks):
    """Write the frames and the table of (pid, camera, number of frames); returns the names in the table's order."""
    table, names, end = [], [], 0
    for number, (pid, camera, num_frames) in enumerate(tracks, start=1):
        folder = "00-1" if pid == -1 else f"{pid:04d}"
        path = root / f"bbox_{split}" / folder
        path.mkdir(parents=True, exist_ok=True)
        for frame in range(1, num_frames + 1):
            names.append(f"{folder}C{camera}T{number:04d}F{frame:03d}.jpg")
            Image.new("RGB", (2, 4)).save(path / names[-1])
        table.append([end + 1, end + num_frames, pid, camera])
        end += num_frames
    savemat(root / "info" / f"tracks_{split}_info.mat", {f"track_{split}_info": np.array(table)})
    return names
