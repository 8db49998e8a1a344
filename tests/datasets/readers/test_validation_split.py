"""Validation splits of AG-VPReID: who is drawn, what is written, and that the loader reads it."""

import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest

from datasets.attributes import read_attributes
from datasets.build import open_dataset
from datasets.readers.validation_split import (
    FILE_LIST,
    PEOPLE_FILE,
    UNMASKED_PREFIX,
    SplitSettings,
    choose_people,
    draw_stratified,
    make_validation_split,
)
from datasets.tracklet import Tracklet

CASE1, CASE2 = "case1_aerial_to_ground", "case2_ground_to_aerial"
PIDS = tuple(range(1, 11))


def crowd(num_people, altitudes=(15, 30, 80, 120)):
    """People seen from the ground and from one altitude each, in turn."""
    for pid in range(num_people):
        yield Tracklet("g", ("g.jpg",), pid, 0, "ground", None)
        yield Tracklet("a", ("a.jpg",), pid, 4, "aerial", altitudes[pid % len(altitudes)])


def pids_of(tracklets):
    return {tracklet.pid for tracklet in tracklets}


def test_each_stratum_contributes_its_share():
    items = range(100)
    for seed in range(20):
        drawn = draw_stratified(items, lambda item: (item % 7,), 30, np.random.default_rng(seed))
        assert len(drawn) == 30
        counts = Counter(item % 7 for item in drawn)
        for group in range(7):
            share = 30 * len(range(group, 100, 7)) / 100
            assert abs(counts[group] - share) < 1 + 1e-9


def test_people_are_disjoint_even_over_altitudes_and_seeded():
    people = choose_people(crowd(40), SplitSettings(0.2, 0.1, seed=0))
    assert (len(people.test), len(people.distractors), len(people.train)) == (8, 4, 28)
    assert sorted([*people.train, *people.test, *people.distractors]) == list(range(40))
    assert Counter(pid % 4 for pid in people.test) == dict.fromkeys(range(4), 2)
    assert Counter(pid % 4 for pid in people.distractors) == dict.fromkeys(range(4), 1)
    assert people == choose_people(crowd(40), SplitSettings(0.2, 0.1, seed=0))
    assert people != choose_people(crowd(40), SplitSettings(0.2, 0.1, seed=1))


def test_altitudes_are_as_frequent_in_the_test_set_as_in_all():
    rng = np.random.default_rng(0)
    tracklets = []
    for pid in range(60):
        tracklets.append(Tracklet("g", ("g.jpg",), pid, 0, "ground", None))
        heights = rng.choice([15, 30, 80, 120], size=3, p=[0.4, 0.3, 0.2, 0.1])
        tracklets += [Tracklet(str(n), ("a.jpg",), pid, 4, "aerial", int(m)) for n, m in enumerate(heights)]

    def altitude_shares(pids):
        counts = Counter(t.altitude for t in tracklets if t.pid in pids and t.view == "aerial")
        return {metres: number / counts.total() for metres, number in counts.items()}

    everybody = altitude_shares(range(60))
    for seed in range(5):
        drawn = altitude_shares(choose_people(tracklets, SplitSettings(0.2, 0.1, seed)).test)
        assert all(abs(drawn.get(metres, 0) - share) < 0.05 for metres, share in everybody.items())


def test_only_people_with_both_views_are_tested_and_distractors_are_seen_from_the_air():
    tracklets = [t for t in crowd(40) if not (t.pid < 10 and t.view == "ground" or t.pid >= 30 and t.view == "aerial")]
    for seed in range(10):
        people = choose_people(tracklets, SplitSettings(0.5, 0.3, seed))
        assert all(10 <= pid < 30 for pid in people.test)
        assert len(people.test) == 10
        assert len(people.distractors) == 9
        assert all(pid < 30 for pid in people.distractors)


def test_too_few_people():
    with pytest.raises(ValueError, match="makes 1 test people of the 4"):
        choose_people(crowd(4), SplitSettings(0.2, 0.1))
    with pytest.raises(ValueError, match="Nobody is left"):
        choose_people(crowd(4), SplitSettings(0.9, 0.9))


@pytest.mark.parametrize("link", ["symlink", "hard", "copy"])
def test_the_new_copy(make_tree, tmp_path, link):
    source = make_tree(train=PIDS)
    output = tmp_path / "validation"
    dataset = make_validation_split(source, output, SplitSettings(0.3, 0.2), link=link)
    people = json.loads((output / PEOPLE_FILE).read_text())
    assert (len(people["test"]), len(people["distractors"]), len(people["train"])) == (3, 2, 5)

    test, distractors = set(people["test"]), set(people["distractors"])
    assert pids_of(dataset.train) == set(people["train"])
    case1, case2 = dataset.cases["case1"], dataset.cases["case2"]
    assert pids_of(case1.query) == pids_of(case1.gallery) == pids_of(case2.query) == test
    assert pids_of(case2.gallery) == test | distractors
    assert {t.view for t in (*case1.query, *case2.gallery)} == {"aerial"}
    assert {t.view for t in (*case1.gallery, *case2.query)} == {"ground"}
    assert [t.key for t in case1.gallery] == [t.key for t in case2.query]
    assert read_attributes(output / f"attributes/{CASE2}/gallery.csv").keys() == test | distractors
    assert read_attributes(output / "attributes/train.csv").keys() == set(people["train"])
    assert all(t.attributes is not None for t in (*dataset.train, *case1.query, *case1.gallery, *case2.gallery))

    (frame, original) = (
        (root / f"{split}/{people['test'][0]}/c4n1").iterdir()
        for root, split in ((output, f"{CASE1}/query"), (source, "train"))
    )
    frame, original = sorted(frame)[0], sorted(original)[0]
    assert frame.read_bytes() == original.read_bytes()
    assert frame.samefile(original) == (link != "copy")
    assert (output / f"{CASE1}/query/{people['test'][0]}/c4n1").is_symlink() == (link == "symlink")


def test_without_tables_cases_or_distractors(make_tree, tmp_path):
    source = make_tree(train=PIDS)
    for name in ("attributes", CASE1, CASE2):
        shutil.rmtree(source / name)
    dataset = make_validation_split(source, tmp_path / "validation", SplitSettings(0.3, 0.0))
    assert {t.attributes for t in (*dataset.train, *dataset.cases["case1"].query)} == {None}
    assert pids_of(dataset.cases["case2"].gallery) == pids_of(dataset.cases["case2"].query)


def test_odd_codes_are_kept(make_tree, tmp_path):
    source = make_tree(train=PIDS)
    path = source / "attributes/train.csv"
    path.write_text("\ufeff" + path.read_text().replace(",1,1\n", ",1,77\n"), encoding="utf-8")
    make_validation_split(source, tmp_path / "validation", SplitSettings(0.3))
    rows = (tmp_path / f"validation/attributes/{CASE1}/query.csv").read_text().splitlines()
    assert len(rows) == 4
    assert all(row.endswith(",77") for row in rows[1:])


def test_training_tracklets_named_as_masked_ones_are_renamed(make_tree, tmp_path):
    source = make_tree(train=PIDS)
    for pid in PIDS:
        for number in range(2):
            folder = source / f"train/{pid}"
            (folder / f"c4n{number}").rename(folder / f"tracklet_{10 * pid + number}")
            (folder / f"c0n{number}").rename(folder / f"abc{number}dE")
    dataset = make_validation_split(source, tmp_path / "validation", SplitSettings(0.3, 0.2))
    assert not any(case.identities_masked for case in dataset.cases.values())
    assert all(t.name.startswith(UNMASKED_PREFIX) for t in dataset.cases["case1"].query)
    assert not any(t.name.startswith(UNMASKED_PREFIX) for t in dataset.train)


def test_what_is_there_is_kept_unless_forced(make_tree, tmp_path):
    source = make_tree(train=PIDS)
    output = tmp_path / "validation"
    make_validation_split(source, output, SplitSettings(0.3))
    with pytest.raises(ValueError, match="not empty"):
        make_validation_split(source, output, SplitSettings(0.3, seed=1))
    dataset = make_validation_split(source, output, SplitSettings(0.3, seed=1), force=True)
    assert pids_of(dataset.cases["case1"].query) == set(json.loads((output / PEOPLE_FILE).read_text())["test"])
    assert len(open_dataset("agvpreid", source).train) == 4 * len(PIDS)
    assert all((source / "train/1").iterdir())

    other = tmp_path / "other"
    (other / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match="not a split to replace"):
        make_validation_split(source, other, SplitSettings(0.3), force=True)
    assert (other / "train").is_dir()


def entries(root):
    """Files and links below a folder, relative to it."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_symlink() or path.is_file())


@pytest.mark.parametrize("link", ["symlink", "hard", "copy"])
def test_the_list_names_exactly_what_is_written(make_tree, tmp_path, link):
    source, output = make_tree(train=PIDS), tmp_path / "validation"
    make_validation_split(source, output, SplitSettings(0.3, 0.2), link=link)
    listed = (output / FILE_LIST).read_text().splitlines()
    assert sorted([*listed, FILE_LIST, PEOPLE_FILE]) == entries(output)
    make_validation_split(source, output, SplitSettings(0.3, 0.2, seed=1), link="symlink", force=True)
    listed = (output / FILE_LIST).read_text().splitlines()
    assert sorted([*listed, FILE_LIST, PEOPLE_FILE]) == entries(output)


@pytest.mark.parametrize("link", ["symlink", "copy"])
@pytest.mark.parametrize("place", ["train/notes.txt", "attributes/mine.csv", f"{CASE1}/query/999/a/1.jpg"])
def test_files_of_others_are_never_deleted(make_tree, tmp_path, link, place):
    source, output = make_tree(train=PIDS), tmp_path / "validation"
    make_validation_split(source, output, SplitSettings(0.3), link=link)
    foreign = output / place
    foreign.parent.mkdir(parents=True, exist_ok=True)
    foreign.write_text("mine")
    before = entries(output)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(foreign))} is not listed in .*{FILE_LIST}"):
        make_validation_split(source, output, SplitSettings(0.3, seed=1), force=True)
    assert entries(output) == before
    foreign.unlink()
    (output / "notes.txt").write_text("beside the split, where nothing is deleted")
    make_validation_split(source, output, SplitSettings(0.3, seed=1), force=True)
    assert (output / "notes.txt").exists()


def test_a_folder_in_place_of_a_link_is_not_deleted(make_tree, tmp_path):
    source, output = make_tree(train=PIDS), tmp_path / "validation"
    dataset = make_validation_split(source, output, SplitSettings(0.3))
    folder = output / "train" / str(dataset.train[0].pid) / dataset.train[0].name
    target = folder.resolve()
    folder.unlink()
    shutil.copytree(target, folder)
    with pytest.raises(ValueError, match=rf"{folder.name}/.*\.jpg is not listed"):
        make_validation_split(source, output, SplitSettings(0.3), force=True)
    assert len(entries(folder)) == len(entries(target))


@pytest.mark.parametrize("inside", [".", "validation", ".."])
def test_the_source_is_never_written_to(make_tree, inside):
    source = make_tree(train=PIDS)
    with pytest.raises(ValueError, match="must not lie in one another"):
        make_validation_split(source, source / inside, SplitSettings(0.3), force=True)


def test_the_real_sample(shared, tmp_path):
    dataset = make_validation_split(shared / "data/pets09", tmp_path / "validation", SplitSettings(0.67, 0))
    assert len(pids_of(dataset.cases["case1"].query)) == 2
    assert len(pids_of(dataset.train)) == 3


@pytest.mark.parametrize("fraction", [-0.1, 1, float("nan")])
def test_fractions_out_of_range(fraction):
    with pytest.raises(ValueError, match="^fraction must be at least 0 and below 1"):
        SplitSettings(fraction)
    with pytest.raises(ValueError, match="^distractor_fraction must be at least 0 and below 1"):
        SplitSettings(0.2, fraction)
