"""tools/plan_run.py plans a named data set or numbers of people and tracklets."""

from tools.plan_run import main


def test_plans_numbers_or_a_data_set(make_tree, tiny_opts, capsys):
    main(["--identities", "6", "--tracklets", "30", "--cameras", "2", *tiny_opts])
    assert "6 identities, 30 tracklets" in capsys.readouterr().out
    main(["--tflops", "0.1", *tiny_opts, "DATASETS.ROOT_DIR", str(make_tree())])
    planned = capsys.readouterr().out
    assert "4 identities, 16 tracklets" in planned
    assert "at 0.1 TFLOP/s" in planned
