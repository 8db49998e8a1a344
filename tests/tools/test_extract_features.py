"""tools/extract_features.py writes a file of descriptors for any folder of tracklets."""

import numpy as np
import pytest
from PIL import Image

from search.feature_file import read_features
from tools.extract_features import main

QUERY = "case1_aerial_to_ground/query"


@pytest.fixture
def extract(trained_run, tmp_path):
    """``extract(folder, output, *words)``: describe a folder of the run's data; returns what was written."""

    def call(folder, output, *words):
        options = ["--output_dir", trained_run.output, "--tracklets", trained_run.root / folder]
        main([str(word) for word in (*options, "--output", tmp_path / output, *words)])
        return read_features(tmp_path / output)

    return call


def test_both_formats_hold_the_same_and_nothing_else_stays(extract, tmp_path):
    facts = ("--camera", 4, "--view", "aerial", "--time", "2023-10-17T10:00")
    npz, parquet = extract(QUERY, "a/people.npz", *facts), extract(QUERY, "a/people.parquet", *facts)
    assert (npz.list_entries(), npz.origin) == (parquet.list_entries(), parquet.origin)
    assert np.array_equal(npz.features, parquet.features)
    places = [(entry["camera"], entry["view"], entry["time"]) for entry in npz.list_entries()]
    assert places == 6 * [(4, "aerial", "2023-10-17T10:00:00")]
    names = ["people.npz", "people.npz.log", "people.parquet", "people.parquet.log"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names


def test_one_tracklet_and_one_image_have_a_row(extract, tmp_path):
    people = extract(QUERY, "people.npz")
    tracklet = extract(f"{QUERY}/21/c4n0", "tracklet.npz")
    assert tracklet.keys == ["c4n0"]
    np.testing.assert_allclose(tracklet.features[0], people.features[people.keys.index("21/c4n0")], atol=1e-5)
    Image.new("RGB", (20, 40), "red").save(tmp_path / "photo.png")
    image = extract(tmp_path / "photo.png", "photo.npz")
    (entry,) = image.list_entries()
    assert (entry["key"], entry["picture"]) == ("photo.png", str(tmp_path / "photo.png"))
    assert np.linalg.norm(image.features, axis=1) == pytest.approx(1, abs=1e-5)


def test_what_cannot_work_is_refused_and_leaves_nothing(extract, tmp_path):
    with pytest.raises(ValueError, match=r"people.csv: a feature file must end in .npz or .parquet"):
        extract(QUERY, "a/people.csv")
    assert not (tmp_path / "a").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty has no frames: expected a folder with frames"):
        extract(tmp_path / "empty", "a/people.npz")
    with pytest.raises(ValueError, match="--camera must be a training camera"):
        extract(QUERY, "a/people.npz", "--camera", 99)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["people.npz.log"]
