"""benchmarks/full_model.py runs and reports its figures (on a small model; tests measure no time)."""

import pytest

from benchmarks.full_model import run


@pytest.mark.slow
@pytest.mark.parametrize("networks", [("ours",), ("ours", "plain")])
def test_reports_both_steps_of_each_network(networks, tiny_opts):
    words = ["--train_batch", "4", "--test_batch", "2", "--repeats", "1", *tiny_opts]
    figures = run(["--vs_plain", *words] if "plain" in networks else words)
    assert set(figures) == {f"{step}, {network}" for step in ("extraction", "training") for network in networks}
    for step in figures.values():
        assert min(step.values()) > 0
        assert ("times as fast as plain" in step) == ("plain" in networks)


@pytest.mark.slow
def test_a_network_that_the_plain_one_cannot_match_is_refused():
    with pytest.raises(ValueError, match=r"patches of 16 pixels that do not overlap \(MODEL\.STRIDE_SIZE\)"):
        run(["--vs_plain", "--config_file", "configs/demo.yml", "--train_batch", "4", "--test_batch", "2"])
