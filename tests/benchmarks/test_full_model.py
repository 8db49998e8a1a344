"""benchmarks/full_model.py runs and reports its figures (on a small model; tests measure no time)."""

import pytest

from benchmarks.full_model import main


@pytest.mark.slow
@pytest.mark.parametrize("networks", [("ours",), ("ours", "plain")])
def test_reports_both_steps_of_each_network(networks, tiny_opts):
    words = ["--train_batch", "4", "--test_batch", "2", "--repeats", "1", *tiny_opts]
    figures = main(["--vs_plain", *words] if "plain" in networks else words)
    assert set(figures) == {f"{step}, {network}" for step in ("extraction", "training") for network in networks}
    for step in figures.values():
        assert min(step.values()) > 0
        assert ("times as fast as plain" in step) == ("plain" in networks)


def test_a_network_that_the_plain_one_cannot_match_is_refused():
    with pytest.raises(ValueError, match=r"--vs_plain needs MODEL\.POOLING attention"):
        main(["--vs_plain", "--config_file", "configs/tfclip_vit_b16_256x128.yml"])
