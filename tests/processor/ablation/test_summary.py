"""The table and the page of an ablation, of results written by hand."""

import csv
import json

import pytest

from processor.ablation import summary
from processor.ablation.summary import summarize, write_summary
from processor.ablation.trials import Trial, Variant
from processor.report.tables import MEASURES, SCORES


@pytest.fixture(autouse=True)
def without_weights(monkeypatch):
    monkeypatch.setattr(summary, "read_checkpoint", lambda path: {"model": {}})


def write(trial, precision, num_people=20, **others):
    """Write the results of one direction with a query of each person, all of about this average precision.

    ``others`` are the precisions of other methods by name.
    """
    trial.results.mkdir(parents=True)
    precisions = {"visual only": precision, **others}
    known = {"direction": "a to b", "protocol": "all-cameras", **dict.fromkeys(MEASURES, 1.0)}
    rows = [
        {**known, "method": name, "mAP": own + 0.005, "uses_whole_query_set": name == "re-ranked"}
        for name, own in precisions.items()
    ]
    (trial.results / "results.json").write_text(json.dumps({"results": rows}))
    with (trial.results / "queries.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "direction", "key", "pid", *SCORES])
        for name, own in precisions.items():
            for pid in range(num_people):
                writer.writerow([name, "a to b", f"{pid}/0", pid, own + 0.01 * (pid % 2), 1, own])
    header, values = "epoch,seconds_data,seconds_step,total,accuracy,peak_gib", "1,0.1,0.4,7.0,0.5,2.0"
    (trial.folder / "history.csv").write_text(f"{header}\n{values}\n")
    (trial.folder / "checkpoint_last.pth").touch()


def test_a_variant_is_compared_by_the_seeds_that_are_done(tmp_path):
    variants = [Variant("base", "configs/demo.yml", {}, {})]
    variants += [Variant(name, "configs/demo.yml", {}, {"MODEL.POOLING": "mean"}) for name in ("<better>", "absent")]
    for seed in range(2):
        write(Trial(variants[0], seed, tmp_path), 0.5)
    write(trial := Trial(variants[1], 1, tmp_path), 0.6)
    (trial.folder / "checkpoint_last.pth").unlink()  # to save space
    base, better, absent = write_summary(variants, 2, tmp_path, "list.yml").splitlines()[2:]
    assert base.split()[:5] == ["base", "visual", "only", "2", "of"]
    assert base.split()[-3:] == ["0.5", "2", "0"]  # seconds, GiB, parameters
    assert better.split()[:8] == ["<better>", "visual", "only", "1", "of", "2", "100.00", "+0.00"]
    assert better.split()[11:16] == ["60.50", "+10.00", "(+10.00", "to", "+10.00)"]
    assert absent.split()[:5] == ["absent", "-", "0", "of", "2"]
    _, found, _ = json.loads((tmp_path / "ablation.json").read_text())
    assert found["differences"]["mAP"]["difference"] == pytest.approx(0.1)
    assert list(found["costs"]) == ["s a step", "peak GiB"]
    page = (tmp_path / "ablation.html").read_text()
    assert "&lt;better&gt;" in page
    assert "no run is done" in page
    assert page.count("<svg") == 2


def test_the_row_that_a_variant_adds_is_compared_with_the_visual_one_of_the_base(tmp_path):
    variants = [Variant("base", "configs/demo.yml", {}, {}), Variant("re-ranking", "", {}, {"TEST.RE_RANKING": True})]
    base, other = ([Trial(variant, 0, tmp_path)] for variant in variants)
    write(base[0], 0.5, masked=0.9)
    write(other[0], 0.5, **{"re-ranked": 0.6, "masked": 0.9, "re-ranked, masked": 0.9})
    found = summarize(base, other)
    assert (found.row, found.scores["mAP"]) == ("re-ranked (uses the whole query set)", pytest.approx(0.605))
    assert found.differences["mAP"].difference == pytest.approx(0.1)
    assert summarize(base, base).row == "visual only"


def test_a_variant_that_leaves_the_visual_row_is_compared_by_the_first_that_it_changes(tmp_path):
    variants = [Variant(name, "", {}, {"TEST.RE_RANKING_K1": 9}) for name in ("base", "other", "same")]
    base, other, same = ([Trial(variant, 0, tmp_path)] for variant in variants)
    write(base[0], 0.5, **{"re-ranked": 0.6, "masked": 0.8})
    write(other[0], 0.5, **{"re-ranked": 0.55, "masked": 0.9})
    write(same[0], 0.5, **{"re-ranked": 0.6, "masked": 0.8})
    found = summarize(base, other)
    assert found.row.startswith("re-ranked")
    assert found.differences["mAP"].difference == pytest.approx(-0.05)
    assert summarize(base, same).row == "visual only"


def test_intervals_without_ends_are_written_as_null(tmp_path):
    variants = [Variant(name, "", {}, {"TEST.FLIP": False}) for name in ("base", "other")]
    for variant, precision in zip(variants, (0.5, 0.6), strict=True):
        write(Trial(variant, 0, tmp_path), precision, num_people=2)
    write_summary(variants, 1, tmp_path, "list.yml")
    _, other = json.loads((tmp_path / "ablation.json").read_text(), parse_constant=pytest.fail)
    assert (other["differences"]["mAP"]["low"], other["differences"]["mAP"]["high"]) == (None, None)
