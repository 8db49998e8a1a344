"""People held out of training choose the checkpoint, and can be evaluated where the test people are masked."""

import json

import pytest

import eval_main
import train_main


@pytest.mark.slow
def test_masked_data_are_validated_and_scored_on_held_out_people(make_tree, tmp_path, tiny_opts):
    data = ["DATASETS.ROOT_DIR", str(make_tree(masked=True)), "DATASETS.VALIDATION_FRACTION", "0.5"]
    output = ["--output_dir", str(tmp_path / "run")]
    assert train_main.main([*output, *tiny_opts, *data, "SOLVER.STAGE2.EVAL_PERIOD", "1"]) in (0, None)
    assert (tmp_path / "run/checkpoint_best.pth").is_file()
    words = ["--weight", "best", "--eval_case", "all", "DATASETS.EVAL_SPLIT", "validation"]
    assert eval_main.main([*output, "--custom_output_dir", str(tmp_path / "results"), *words]) in (0, None)
    results = json.loads((tmp_path / "results/results.json").read_text())
    assert results["identities_masked"] is False
    directions = {row["direction"]: row["num_people"] for row in results["results"]}
    assert set(directions.values()) == {2}
    assert {"aerial to ground, validation people", "ground to aerial, validation people"} <= directions.keys()
