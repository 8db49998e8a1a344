"""benchmarks/full_model.py runs and reports its figures (on a small model; tests measure no time)."""

from benchmarks.full_model import run


def test_reports_both_steps():
    figures = run(["--config_file", "configs/demo.yml", "--train_batch", "4", "--test_batch", "2", "--repeats", "1"])
    assert set(figures) == {"training", "extraction"}
    for step in figures.values():
        assert all(value > 0 for value in step.values())
