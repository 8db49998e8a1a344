"""benchmarks/full_model.py runs and reports its figures (on a small model; tests measure no time)."""

import pytest

from benchmarks.full_model import run


def test_reports_both_steps():
    figures = run(["--config_file", "configs/demo.yml", "--train_batch", "4", "--test_batch", "2", "--repeats", "1"])
    assert set(figures) == {"training", "extraction"}
    for step in figures.values():
        assert all(value > 0 for value in step.values())


@pytest.mark.slow
def test_the_comparison_times_both_networks(tiny_opts):
    options = ["--vs_plain", "--train_batch", "4", "--test_batch", "2", "--repeats", "1"]
    figures = run([*options, *tiny_opts])
    assert set(figures) == {"train", "extract"}
    for step in figures.values():
        assert step["times_as_fast"] == pytest.approx(step["plain_seconds"] / step["ours_seconds"])
        assert step["share_of_memory"] == pytest.approx(step["ours_peak_gib"] / step["plain_peak_gib"])
        assert min(step.values()) > 0


def test_a_network_that_the_plain_one_cannot_match_is_refused():
    with pytest.raises(ValueError, match=r"patches of 16 pixels that do not overlap \(MODEL\.STRIDE_SIZE\)"):
        run(["--vs_plain", "--config_file", "configs/demo.yml", "--train_batch", "4", "--test_batch", "2"])
