import json
import logging

import pytest

from processor.report.averages import MEASURES, average
from tools.average_results import main


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


def test_one_run_has_no_deviation(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (row,) = average([write(tmp_path / "a.json")])
    assert (row["R1"], row["R1_std"]) == (0.5, None)
    main([str(tmp_path / "a.json")])
    assert "50.00 (-)" in caplog.text


def test_values_that_are_no_numbers_and_files_without_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.json: R1 of visual only \| camera 1 to 2 \| cross-camera is nan"):
        average([write(tmp_path / "a.json", R1=float("nan"))])
    (tmp_path / "b.json").write_text('{"results": []}')
    with pytest.raises(ValueError, match=r"b\.json holds no row"):
        average([tmp_path / "b.json"])


def test_an_output_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SystemExit):
        main([str(write(tmp_path / "a.json")), "--output", str(tmp_path / "taken/mean.json")])
    assert "taken" in capsys.readouterr().err.splitlines()[-1]


def test_results_made_otherwise_are_named(tmp_path, caplog):
    paths = [write(tmp_path / "a.json"), write(tmp_path / "b.json")]
    for path, settings in zip(
        paths, ("those of the recipe", "those of the recipe but for TEST.FLIP False"), strict=True
    ):
        path.write_text(json.dumps({**json.loads(path.read_text()), "settings": settings}))
    main(list(map(str, paths)))
    assert "b.json: settings are 'those of the recipe but for TEST.FLIP False', but in" in caplog.text


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
