"""The synthetic data set: layout, determinism, agreement of attributes and pictures, perspective."""

import csv
from pathlib import Path

import numpy as np
import pytest

from datasets.attributes import CODES, COLUMNS, UNKNOWN_CODES
from datasets.build import open_dataset
from demo.body import walking_body
from demo.cameras import CAMERAS
from demo.dataset import CASE1, CASE2, identity, render_dataset
from demo.people import Person
from demo.rendering import render_tracklet
from demo.shapes import Canvas, Light, View, ellipsoid

TINY = {"num_train": 2, "num_test": 3, "tracklets_per_view": 2, "frames_per_tracklet": 2}
GROUND, AERIAL = CAMERAS[0], CAMERAS[5]


def _bytes_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "data"
    render_dataset(path, seed=3, num_workers=1, **TINY)
    return path


def test_same_seed_gives_the_same_bytes_with_any_number_of_workers(root: Path, tmp_path: Path) -> None:
    render_dataset(tmp_path / "again", seed=3, num_workers=2, **TINY)
    assert _bytes_of(tmp_path / "again") == _bytes_of(root)


def test_cases_mirror_each_other_and_case2_has_distractors(tmp_path: Path) -> None:
    render_dataset(tmp_path, num_train=1, num_test=7, tracklets_per_view=1, frames_per_tracklet=1, num_workers=1)
    assert _bytes_of(tmp_path / CASE2 / "query") == _bytes_of(tmp_path / CASE1 / "gallery")
    searched, gallery = _bytes_of(tmp_path / CASE1 / "query"), _bytes_of(tmp_path / CASE2 / "gallery")
    assert searched.items() < gallery.items()
    dataset = open_dataset("agvpreid", tmp_path)
    train = {tracklet.pid for tracklet in dataset.train}
    test = {tracklet.pid for case in dataset.cases.values() for tracklet in case.query + case.gallery}
    assert not train & test


def test_tables_are_complete_and_say_what_is_drawn(root: Path) -> None:
    for split in ("train", f"{CASE1}/query", f"{CASE1}/gallery", f"{CASE2}/query", f"{CASE2}/gallery"):
        with (root / "attributes" / f"{split}.csv").open(newline="") as file:
            rows = [{column: int(value) for column, value in row.items()} for row in csv.DictReader(file)]
        assert {row["id"] for row in rows} == {int(path.name) for path in (root / split).iterdir()}
        for row in rows:
            assert list(row) == ["id", *COLUMNS]
            truth = identity(3, 0 if split == "train" else 1, row["id"]).attributes
            assert all(
                row[column] in (truth[column], UNKNOWN_CODES[column]) or row["id"] >= 5  # people of other seeds
                for column in COLUMNS
            )


def test_people_vary_and_their_codes_are_known_names() -> None:
    people = [Person(np.random.default_rng(seed)) for seed in range(200)]
    assert len({person.caption() for person in people}) > 190
    for person in people:
        for column, code in person.attributes.items():
            name = getattr(person, column)
            assert code == (UNKNOWN_CODES[column] if name is None else CODES[column].index(name))
        for part in walking_body(person, 1.0):
            assert np.isfinite(part.center).all()
            assert (part.radii > 0).all()


def test_aerial_crops_are_foreshortened_and_shrink_with_altitude() -> None:
    person = Person(np.random.default_rng(0))
    person.accessories = "nothing"
    sizes = {}
    for altitude in (None, 15, 120):
        camera = GROUND if altitude is None else AERIAL
        frames = [render_tracklet(person, camera, 1, np.random.default_rng(seed), altitude)[0] for seed in range(12)]
        sizes[altitude] = np.mean([frame.shape[:2] for frame in frames], axis=0)
    squat = {altitude: width / height for altitude, (height, width) in sizes.items()}
    assert squat[15] > 1.2 * squat[None]
    assert sizes[15][0] > 2.5 * sizes[120][0]
    assert sizes[120][0] >= 14


def test_ray_caster_draws_a_sphere_of_the_right_size() -> None:
    view = View(np.array([0.0, -10.0, 1.0]), np.array([0.0, 0.0, 1.0]), 50.0, 0.0)
    canvas = Canvas(view, (-40.0, -40.0, 80, 80), 2)
    light = Light(np.array([0.0, 0.0, 1.0]), np.ones(3, np.float32), np.ones(3, np.float32))
    canvas.draw([ellipsoid((0.0, 0.0, 1.0), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))], light)
    # A sphere of radius r at distance d spans the angle asin(r / d), here 0.5 / 10 with a focal length of 500.
    radius = 500.0 * np.tan(np.arcsin(0.05))
    assert canvas.average(canvas.cover).sum() == pytest.approx(np.pi * radius**2, rel=0.01)
    assert canvas.color[60, 80].mean() > canvas.color[100, 80].mean()
