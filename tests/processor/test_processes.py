"""Two processes compute what one does: training, CLIP memory, features and rankings; three exchange what two do.

``process_scenarios.py`` runs in the child processes, once for the exchanges and a short training, and once for all that
takes longer. Without dropout it computes in double precision; ``compute_in_double_precision`` says why.
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
METHODS = ("xtfclip", "tfclip")
MODELS = (*METHODS, "frozen")


@pytest.fixture(scope="module")
def run_processes(tmp_path_factory, write_tree, tiny_opts):
    """``run_processes(kind)``: what each process found, by number of processes, process and scenario."""

    def run(kind):
        folder = tmp_path_factory.mktemp("processes")
        root = write_uneven_tree(write_tree, folder / "data")
        opts = [*tiny_opts, "DATASETS.ROOT_DIR", str(root), "SOLVER.STAGE2.IMS_PER_BATCH", "6"]
        opts += ["TEST.IMS_PER_BATCH", "4", "TEST.NUM_CLIPS", "2", "TEST.RE_RANKING", "True"]
        opts += ["TEST.QUERY_EXPANSION", "average", "TEST.MUTUAL_NEIGHBOURS", "both"]
        command = [sys.executable, str(SCENARIOS), kind, str(folder), *opts]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return {
            size: [torch.load(folder / f"{size}_{rank}.pt", weights_only=True) for rank in range(size)]
            for size in (1, 2, 3)
        }

    return run


@pytest.fixture(scope="module")
def exchanged(run_processes):
    return run_processes("exchange")


@pytest.fixture(scope="module")
def found(run_processes):
    return run_processes("compare")


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


def assert_close(actual, expected, tolerance, where=""):
    """Compare nested dicts and lists of tensors and numbers; tensors by their largest difference."""
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys(), where
        for key in expected:
            assert_close(actual[key], expected[key], tolerance, f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(actual) == len(expected), where
        for index, value in enumerate(expected):
            assert_close(actual[index], value, tolerance, f"{where}/{index}")
    else:
        actual, expected = torch.as_tensor(actual), torch.as_tensor(expected)
        assert actual.shape == expected.shape, where
        torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance, msg=lambda text: f"{where}: {text}")


def assert_trained_alike(found, model):
    """Adam at a rate of 1e-3, two hundred times the recipe's: the weights move by far more than the tolerance."""
    expected = found[1][0][model]
    for process in found[2]:
        for quantity in ("memory", "losses", "first gradients", "model", "criterion"):
            tolerance = 1e-6 if quantity == "model" else 1e-9
            assert_close(process[model][quantity], expected[quantity], tolerance, quantity)


def assert_ranked_alike(found, model):
    expected = found[1][0][model]
    lengths = {name: len(features) for name, features in expected["features"].items()}
    assert list(lengths.values()) == [2, 5, 5, 6]
    num_methods = 4 if model == "tfclip" else 9  # X-TFCLIP: all masked, attributes alone
    assert len(expected["distances"]) == 2 * num_methods
    # The last part of the folder has one tracklet, so all but one process have none.
    assert_close(expected["described"], expected["features"]["aerial to ground, gallery"], 1e-9)
    for process in found[2]:
        assert_close(process[model]["features"], expected["features"], 1e-9)
        assert_close(process[model]["described"], expected["described"], 1e-9)
        assert_close(process[model]["distances"], expected["distances"], 1e-6)
        assert process[model]["metrics"] == expected["metrics"]
        for name, distmat in expected["distances"].items():
            assert torch.equal(process[model]["distances"][name].argsort(stable=True), distmat.argsort(stable=True))


def test_a_short_training_and_its_evaluation_are_those_of_one_process(exchanged):
    assert_trained_alike(exchanged, "xtfclip")
    assert_ranked_alike(exchanged, "xtfclip")
    first, second = (process["xtfclip"] for process in exchanged[2])
    assert_close(second, first, 0)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_training_is_that_of_one_process(model, found):
    assert_trained_alike(found, model)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_the_comparison_of_training_is_not_empty(model, found):
    """Two epochs moved every trained weight, all terms are positive, and label smoothing learned something."""
    alone = found[1][0][model]
    assert len(alone["losses"]) >= 4
    assert all(term > 0 for terms in alone["losses"] for term in terms.values())
    assert alone["memory"].dtype == torch.float64
    biggest = {name: gradient.abs().max() for name, gradient in alone["first gradients"].items()}
    assert sum(value > 1e-6 for value in biggest.values()) > 0.8 * len(biggest)
    assert any(name.startswith("encoder.blocks.0.") for name in biggest) == (model != "frozen")
    for name, value in alone["criterion"].items():
        assert value.any() == name.endswith("soft_labels"), name
    assert bool(alone["criterion"]) == (model != "tfclip")
    assert ("neck_image.running_mean" in alone["model"]) == (model == "tfclip")


@pytest.mark.slow
@pytest.mark.parametrize("model", METHODS)
def test_features_distances_and_scores_are_those_of_one_process(model, found):
    assert_ranked_alike(found, model)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [*MODELS, "bf16"])
def test_all_processes_end_with_the_same_bits(scenario, found):
    first, *rest = (process[scenario] for process in found[2])
    for other in rest:
        assert_close(other, first, 0)


@pytest.mark.slow
def test_bf16_losses_are_close_to_those_of_one_process(found):
    """The exchange of a batch joins features of two floating types here."""
    (expected,) = found[1]
    for process in found[2]:
        for actual_terms, terms in zip(process["bf16"]["losses"], expected["bf16"]["losses"], strict=True):
            assert actual_terms == pytest.approx(terms, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2])
def test_dropout_is_repeatable_to_the_bit(world_size, found):
    for process in found[world_size]:
        first, second = process["dropout"]
        assert_close(first, second, 0)


@pytest.mark.slow
def test_dropout_leaves_the_mean_loss_as_it_is(found):
    means = [
        sum(terms["total"] for terms in process["dropout"][0]["losses"]) / len(process["dropout"][0]["losses"])
        for process in (found[1][0], found[2][0])
    ]
    assert means[1] == pytest.approx(means[0], rel=0.1)
    assert means[1] != means[0]  # other masks


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2])
def test_every_clip_of_a_batch_gets_a_dropout_mask_of_its_own(world_size, found):
    """The clips are equal, so two equal rows of logits would mean that two processes drew the same mask."""
    for logits in found[world_size][0]["dropout logits"]:  # (B, K)
        assert len(torch.unique(logits, dim=0)) == len(logits) == 6


@pytest.mark.slow
def test_dropout_spreads_the_logits_as_in_one_process(found):
    """150 draws: their standard deviation is known to 6 %, and their mean to a twelfth of it."""
    alone, several = (found[size][0]["dropout logits"].flatten(0, 1) for size in (1, 2))  # (n, K)
    assert len(alone) == len(several) == 150
    errors = (several.mean(dim=0) - alone.mean(dim=0)).abs() / (alone.std(dim=0) * (2 / len(alone)) ** 0.5)
    assert errors.max() < 4
    assert (several.std(dim=0) / alone.std(dim=0) - 1).abs().max() < 0.25


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_gathered_batch_has_all_rows_in_order_and_passes_gradients_back(world_size, exchanged):
    ranks = range(world_size)
    batch = torch.cat([torch.tensor([[1.0, 2.0], [3.0, 4.0]]) + 10 * rank for rank in ranks])
    halves = torch.cat([torch.full((2, 1, 3), 0.5 + rank, dtype=torch.bfloat16) for rank in ranks])
    for rank, process in enumerate(exchanged[world_size]):
        exchanges = process["exchanges"]
        assert torch.equal(exchanges["batch"], batch)
        assert torch.equal(exchanges["other"], halves)
        assert exchanges["labels"].tolist() == list(range(2 * world_size))
        # The loss of process r is (r + 1) * (factor of the row) * row, so a row gets its factor times 1 + ... + W.
        factors = torch.tensor([[2 * rank + 1.0], [2 * rank + 2.0]]).expand(2, 2)
        assert torch.equal(exchanges["gradient"], factors * sum(r + 1 for r in ranks))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_exchanges_of_sums_and_values(world_size, exchanged):
    for rank, process in enumerate(exchanged[world_size]):
        exchanges = process["exchanges"]
        assert exchanges["sum"].tolist() == [sum(r + 1 for r in range(world_size)), world_size]
        assert exchanges["values"] == [{"rank": r} for r in range(world_size)]
        assert exchanges["of main"] == "from 0"
        assert exchanges["found by others"] == (rank > 0)
