import json
import logging

import pytest

from tools.average_results import MEASURES, average, main


def write(path, protocol="cross-camera", **values):
    row = {"method": "visual only", "direction": "camera 1 to 2", "protocol": protocol}
    path.write_text(json.dumps({"results": [{**row, **dict.fromkeys(MEASURES, 0.5), **values}]}))
    return path


def test_mean_and_standard_deviation(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    paths = [write(tmp_path / f"{value}.json", R1=value) for value in (0.2, 0.4, 0.6)]
    main([*map(str, paths), "--output", str(tmp_path / "out/mean.json")])
    (row,) = json.loads((tmp_path / "out/mean.json").read_text())
    assert (row["num_runs"], row["protocol"]) == (3, "cross-camera")
    assert (row["R1"], row["R1_std"]) == (pytest.approx(0.4), pytest.approx(0.2))
    assert (row["mAP"], row["mAP_std"]) == (0.5, 0)
    assert "40.00 (20.00)" in caplog.text


def test_one_run_has_no_deviation(tmp_path):
    (row,) = average([write(tmp_path / "a.json")])
    assert (row["R1"], row["R1_std"]) == (0.5, 0)


def test_results_by_other_protocols_are_not_averaged(tmp_path):
    paths = [write(tmp_path / "a.json"), write(tmp_path / "b.json", protocol="mars-official")]
    with pytest.raises(ValueError, match=r"b\.json and .*a\.json hold different rows"):
        average(paths)


def test_files_of_another_kind(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json is not a file"):
        average([tmp_path / "nowhere.json"])
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ValueError, match=r"a\.json is not a results\.json"):
        average([tmp_path / "a.json"])
