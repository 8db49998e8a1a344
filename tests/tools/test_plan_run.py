"""tools/plan_run.py plans a named data set or numbers of people and tracklets."""

import pytest

from tools.plan_run import main


def test_plans_numbers_or_a_data_set(make_tree, tiny_opts, capsys):
    main(["--identities", "6", "--tracklets", "30", "--cameras", "2", *tiny_opts])
    assert "6 identities, 30 tracklets" in capsys.readouterr().out
    main(["--tflops", "0.1", *tiny_opts, "DATASETS.ROOT_DIR", str(make_tree())])
    planned = capsys.readouterr().out
    assert "4 identities, 16 tracklets" in planned
    assert "at 0.1 TFLOP/s" in planned


@pytest.mark.parametrize("argv", [["--identities", "6"], ["--tflops", "0"], ["--tracklets", "1"]])
def test_refuses_half_a_data_set_and_impossible_rates(argv, capsys):
    with pytest.raises(SystemExit):
        main(argv)
    assert argv[0] in capsys.readouterr().err
