"""tools/plan_run.py plans a named data set or numbers of people and tracklets."""

import pytest

from tools.plan_run import main


@pytest.fixture(autouse=True)
def _info(caplog):
    caplog.set_level("INFO")


def test_plans_numbers_without_a_data_set(tiny_opts, caplog):
    main(["--identities", "6", "--tracklets", "30", "--cameras", "2", *tiny_opts])
    assert "6 identities, 30 tracklets" in caplog.text


def test_plans_a_data_set(make_tree, tiny_opts, caplog):
    root = make_tree()
    main(["--tflops", "0.1", *tiny_opts, "DATASETS.ROOT_DIR", str(root)])
    assert "4 identities, 16 tracklets" in caplog.text
    assert "at 0.1 TFLOP/s" in caplog.text


@pytest.mark.parametrize("argv", [["--identities", "6"], ["--tflops", "0"], ["--tracklets", "1"]])
def test_refuses_half_a_data_set_and_impossible_rates(argv, capsys):
    with pytest.raises(SystemExit):
        main(argv)
    assert argv[0] in capsys.readouterr().err
