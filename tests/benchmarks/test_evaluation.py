"""benchmarks/evaluation.py runs and reports its figures (on a small model; tests measure no time)."""

from benchmarks.evaluation import main


def test_reports_the_network_and_the_whole_evaluation(tiny_opts, capsys):
    figures = main(["--tracklets", "4", "--repeats", "1", *tiny_opts])
    assert min(figures.values()) > 0
    assert "The whole evaluation reaches" in capsys.readouterr().out
