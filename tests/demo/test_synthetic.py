"""The synthetic data set: layout, determinism, agreement of attributes and pictures, perspective."""

import csv
import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.attributes import CODES, COLUMNS, UNKNOWN_CODES
from datasets.build import open_dataset
from demo.body import walking_body
from demo.cameras import CAMERAS, smear
from demo.dataset import CASE1, CASE2, PRESETS, Preset, identity, render_dataset
from demo.people import OUTFIT, Person
from demo.rendering import render_tracklet
from demo.shapes import Canvas, Light, View, ellipsoid

TINY = Preset(train_people=2, test_people=3, tracklets_per_view=2, frames=2)
ONE_EACH = Preset(train_people=1, test_people=7, tracklets_per_view=1, frames=1)
GROUND, AERIAL = CAMERAS[0], CAMERAS[5]


def _bytes_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "data"
    render_dataset(path, TINY, seed=3, num_workers=1)
    return path


def test_same_seed_gives_the_same_bytes_with_any_number_of_workers(root: Path, tmp_path: Path) -> None:
    render_dataset(tmp_path / "again", TINY, seed=3, num_workers=2)
    assert _bytes_of(tmp_path / "again") == _bytes_of(root)


def test_demo_is_drawn_as_in_earlier_versions(root: Path) -> None:
    """Compare what no processor rounds by a hash: names, which hold most draws, tables and sizes of frames."""
    digest, colors = hashlib.sha256(), []
    for path in sorted(path for path in root.rglob("*") if path.suffix in (".csv", ".jpg")):
        digest.update(str(path.relative_to(root)).encode())
        if path.suffix == ".csv":
            digest.update(path.read_bytes())
            continue
        with Image.open(path) as image:
            digest.update(str(image.size).encode())
            colors.append(np.asarray(image).mean(axis=(0, 1)))
    assert digest.hexdigest() == "852701d2e81cf6a3a7890ccba420235cd488398f2c310a4f9eefa99bdc04e05d"
    assert np.mean(colors, axis=0) == pytest.approx((108.72, 101.53, 97.16), abs=0.05)


def test_hard_preset_draws_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def paint(person: Person, camera: object, num_frames: int, *_: object) -> list[np.ndarray]:
        return [np.full((16, 16, 3), np.multiply(person.upper.color, 255), np.uint8)] * num_frames

    monkeypatch.setattr("demo.dataset.render_tracklet", paint)
    sharp = tuple(replace(camera, jpeg_quality=95) for camera in PRESETS["hard"].cameras)
    few = replace(PRESETS["hard"], train_people=60, test_people=60, frames=1, test_frames=2, cameras=sharp)
    render_dataset(tmp_path, few, num_workers=1)
    dataset = open_dataset("agvpreid", tmp_path)
    case1, case2 = dataset.cases.values()
    groups = dataset.train, case1.query, case1.gallery, case2.query, case2.gallery
    assert [len({tracklet.pid for tracklet in group}) for group in groups] == [60, 60, 60, 60, 100]
    assert [len(group) for group in groups] == [360, 180, 180, 180, 300]
    assert [{len(tracklet.frame_paths) for tracklet in group} for group in groups] == [{1}, {2}, {2}, {2}, {2}]
    filmed = [*dataset.train, *case1.gallery, *case2.gallery]
    altitudes = Counter(tracklet.altitude for tracklet in filmed if tracklet.view == "aerial")
    assert (altitudes[80] + altitudes[120]) / altitudes.total() == pytest.approx(0.6, abs=0.08)
    outfits: dict[int, dict[int, list[np.ndarray]]] = {}
    for tracklet in filmed:
        with Image.open(tracklet.frame_paths[0]) as image:
            color = np.asarray(image).mean(axis=(0, 1))
        assert tracklet.day is not None
        outfits.setdefault(tracklet.pid, {}).setdefault(tracklet.day // 100, []).append(color)
    for months in outfits.values():
        assert set(months) <= {2310, 2311}
        assert all(np.ptp(colors, axis=0).max() < 3 for colors in months.values())
    changes = [np.ptp([colors[0] for colors in months.values()], axis=0).max() > 3 for months in outfits.values()]
    assert np.mean(changes) == pytest.approx(1 / 3, abs=0.1)


def test_another_outfit_leaves_the_body() -> None:
    rng = np.random.default_rng(0)
    person = Person(rng)
    other = person.redressed(rng)
    changed = {name for name, value in vars(person).items() if getattr(other, name) is not value}
    assert {"upper", "lower", "shoes", "bag"} <= changed <= set(OUTFIT)


def test_smear_spreads_a_point_along_its_way() -> None:
    image = np.zeros((9, 9, 3), np.float32)
    image[4, 4] = 1.0
    assert (smear(image, 0.0, 1.0) == image).all()
    for angle, axis in ((0.0, 1), (np.pi / 2, 0)):
        rows = smear(image, 4.0, angle).sum(axis=(1 - axis, 2))
        assert rows[2:7] == pytest.approx(np.full(5, 0.6))
        assert rows.sum() == pytest.approx(3.0)


def test_cases_mirror_each_other_and_case2_has_distractors(tmp_path: Path) -> None:
    render_dataset(tmp_path, ONE_EACH, num_workers=1)
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
