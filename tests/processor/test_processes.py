"""Two processes compute what one does: training, CLIP memory, features and rankings; three exchange what two do.

``process_scenarios.py`` runs in the child processes. Without dropout it computes in double precision;
``compute_in_double_precision`` says why.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "tests/processor/process_scenarios.py"
LONG_MODELS = [pytest.param(model, marks=pytest.mark.slow) for model in ("tfclip", "frozen", "ingredients", "siglip")]


@pytest.fixture(scope="module")
def run_processes(tmp_path_factory, write_tree, tiny_opts):
    """``run_processes(scenarios)``: what each process found, by number of processes, process and scenario."""

    def run(scenarios):
        folder = tmp_path_factory.mktemp("processes")
        root = write_uneven_tree(write_tree, folder / "data")
        opts = [*tiny_opts, "DATASETS.ROOT_DIR", str(root), "SOLVER.STAGE2.IMS_PER_BATCH", "6"]
        opts += ["TEST.IMS_PER_BATCH", "4", "TEST.NUM_CLIPS", "2", "TEST.RE_RANKING", "True"]
        opts += ["TEST.QUERY_EXPANSION", "average", "TEST.MUTUAL_NEIGHBOURS", "both"]
        command = [sys.executable, str(SCENARIOS), "compare", scenarios, str(folder), *opts]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return {
            size: [torch.load(folder / f"{size}_{rank}.pt", weights_only=True) for rank in range(size)]
            for size in (1, 2, 3)
        }

    return run


@pytest.fixture(scope="module")
def short(run_processes):
    return run_processes("xtfclip")


@pytest.fixture(scope="module")
def long(run_processes):
    return run_processes("dropout,bf16,tfclip,frozen,ingredients,siglip")


@pytest.fixture
def found(request, model):
    """What one process and the processes of two found in a training of ``model``."""
    by_size = request.getfixturevalue("short" if model == "xtfclip" else "long")
    return by_size[1][0][model], [process[model] for process in by_size[2]]


def write_uneven_tree(write_tree, root):
    """Write people whose tracklets two processes do not share equally; one side has two tracklets only."""
    write_tree(root)
    for number, tracklet in enumerate(sorted((root / "train").glob("*/*"))):
        for frame in sorted(tracklet.iterdir())[1 + number % 6 :]:  # 1 to 6 frames
            frame.unlink()
    for side, num_tracklets in (
        ("case1_aerial_to_ground/query", 2),
        ("case1_aerial_to_ground/gallery", 5),
        ("case2_ground_to_aerial/query", 5),
    ):
        for tracklet in sorted((root / side).glob("*/*"))[num_tracklets:]:
            shutil.rmtree(tracklet)
            if not any(tracklet.parent.iterdir()):
                tracklet.parent.rmdir()
    return root


@pytest.mark.parametrize("model", ["xtfclip", *LONG_MODELS])
def test_training_is_that_of_one_process(model, found, assert_same):
    """Adam at a rate of 1e-3, two hundred times the recipe's: the weights move by far more than the tolerance."""
    alone, several = found
    for process in several:
        for quantity in ("memory", "losses", "first gradients", "model", "criterion"):
            tolerance = 1e-6 if quantity == "model" else 1e-9
            assert_same(process[quantity], alone[quantity], quantity, tolerance)
    # The comparison is not empty: every trained weight moved, all terms are positive, and label smoothing learned.
    assert len(alone["losses"]) >= 4
    assert all(term > 0 for terms in alone["losses"] for term in terms.values())
    assert alone["memory"].dtype == torch.float64
    biggest = {name: gradient.abs().max() for name, gradient in alone["first gradients"].items()}
    assert sum(value > 1e-6 for value in biggest.values()) > 0.75 * len(biggest)  # low-rank changes start at 0
    assert any(name.startswith("encoder.blocks.0.") for name in biggest) == (model != "frozen")
    for name, value in alone["criterion"].items():
        assert value.any() == name.endswith(("soft_labels", "proxies")), name
    assert bool(alone["criterion"]) == (model != "tfclip")
    assert ("neck_image.running_mean" in alone["model"]) == (model == "tfclip")


@pytest.mark.parametrize("model", ["xtfclip", *LONG_MODELS[:1]])
def test_features_distances_and_scores_are_those_of_one_process(model, found, assert_same):
    alone, several = found
    assert [len(features) for features in alone["features"].values()] == [2, 5, 5, 6]
    num_methods = 5 if model == "tfclip" else 11  # X-TFCLIP: all masked, attributes alone
    assert len(alone["distances"]) == 2 * num_methods
    # The last part of the folder has one tracklet, so all but one process have none.
    assert_same(alone["described"], alone["features"]["aerial to ground, gallery"], tolerance=1e-9)
    for process in several:
        for quantity, tolerance in (("features", 1e-9), ("described", 1e-9), ("distances", 1e-6)):
            assert_same(process[quantity], alone[quantity], quantity, tolerance)
        assert process["metrics"] == alone["metrics"]
        for name, distmat in alone["distances"].items():
            assert torch.equal(process["distances"][name].argsort(stable=True), distmat.argsort(stable=True))


@pytest.mark.parametrize("model", ["xtfclip", *LONG_MODELS, pytest.param("bf16", marks=pytest.mark.slow)])
def test_all_processes_end_with_the_same_bits(model, found, assert_same):
    first, second = found[1]
    assert_same(second, first)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["bf16"])
def test_bf16_losses_are_close_to_those_of_one_process(model, found):
    """The exchange of a batch joins features of two floating types here."""
    alone, several = found
    for process in several:
        for actual_terms, terms in zip(process["losses"], alone["losses"], strict=True):
            assert actual_terms == pytest.approx(terms, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["dropout"])
def test_dropout_is_repeatable_to_the_bit_and_leaves_the_mean_loss_as_it_is(model, found, assert_same):
    alone, several = found
    means = []
    for first, second in (alone, *several):
        assert_same(first, second)
        means.append(sum(terms["total"] for terms in first["losses"]) / len(first["losses"]))
    assert means[1] == pytest.approx(means[0], rel=0.1)
    assert means[1] != means[0]  # other masks


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_exchanges(world_size, short):
    """A gathered batch has all rows in order, and passes gradients back; sums and values reach every process."""
    ranks = range(world_size)
    batch = torch.cat([torch.tensor([[1.0, 2.0], [3.0, 4.0]]) + 10 * rank for rank in ranks])
    halves = torch.cat([torch.full((2, 1, 3), 0.5 + rank, dtype=torch.bfloat16) for rank in ranks])
    total = sum(rank + 1 for rank in ranks)
    for rank, process in enumerate(short[world_size]):
        exchanges = process["exchanges"]
        assert torch.equal(exchanges["batch"], batch)
        assert torch.equal(exchanges["other"], halves)
        assert exchanges["labels"].tolist() == list(range(2 * world_size))
        # The loss of process r is (r + 1) * (factor of the row) * row, so a row gets its factor times 1 + ... + W.
        factors = torch.tensor([[2 * rank + 1.0], [2 * rank + 2.0]]).expand(2, 2)
        assert torch.equal(exchanges["gradient"], factors * total)
        assert exchanges["sum"].tolist() == [total, world_size]
        assert exchanges["values"] == [{"rank": r} for r in ranks]
        assert exchanges["of main"] == "from 0"
        assert exchanges["found by others"] == (rank > 0)
