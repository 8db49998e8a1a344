"""The table and the page of an ablation, of results written by hand."""

import csv
import json

import pytest

from processor.ablation import summary
from processor.ablation.summary import write_summary
from processor.ablation.trials import Trial, Variant
from processor.report.tables import MEASURES, SCORES


def write(trial, precision):
    """Write the results of one direction with a query of each of twenty people, all of this average precision."""
    trial.results.mkdir(parents=True)
    row = {"method": "visual only", "direction": "a to b", "protocol": "all-cameras", **dict.fromkeys(MEASURES, 1.0)}
    row["mAP"] = precision + 0.005
    (trial.results / "results.json").write_text(json.dumps({"results": [row]}))
    with (trial.results / "queries.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "direction", "key", "pid", *SCORES])
        for pid in range(20):
            writer.writerow(["visual only", "a to b", f"{pid}/0", pid, precision + 0.01 * (pid % 2), 1, precision])
    header, values = "epoch,seconds_data,seconds_step,total,accuracy,peak_gib", "1,0.1,0.4,7.0,0.5,2.0"
    (trial.folder / "history.csv").write_text(f"{header}\n{values}\n")
    (trial.folder / "checkpoint_last.pth").touch()


def test_a_variant_is_compared_by_the_seeds_that_are_done(tmp_path, monkeypatch):
    monkeypatch.setattr(summary, "read_checkpoint", lambda path: {"model": {}})
    variants = [Variant("base", "configs/demo.yml", {}, {})]
    variants += [Variant(name, "configs/demo.yml", {}, {"MODEL.POOLING": "mean"}) for name in ("<better>", "absent")]
    for seed in range(2):
        write(Trial(variants[0], seed, tmp_path), 0.5)
    write(Trial(variants[1], 1, tmp_path), 0.6)
    base, better, absent = write_summary(variants, 2, tmp_path, "list.yml").splitlines()[2:]
    assert base.split()[:3] == ["base", "2", "of"]
    assert base.split()[-3:] == ["0.5", "2", "0"]  # seconds, GiB, parameters
    assert better.split()[:6] == ["<better>", "1", "of", "2", "100.00", "+0.00"]
    assert better.split()[9:14] == ["60.50", "+10.00", "(+10.00", "to", "+10.00)"]
    assert absent.split()[:4] == ["absent", "0", "of", "2"]
    _, found, _ = json.loads((tmp_path / "ablation.json").read_text())
    assert found["differences"]["mAP"]["difference"] == pytest.approx(0.1)
    page = (tmp_path / "ablation.html").read_text()
    assert "&lt;better&gt;" in page
    assert "no run is done" in page
    assert page.count("<svg") == 2
