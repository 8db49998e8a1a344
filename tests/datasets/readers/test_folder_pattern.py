"""Patterns of folder names, and the guess at them."""

import itertools
import re

import pytest

from datasets.readers.folder_pattern import FolderPattern, guess_pattern

WORDS = ("Anna Müller", "bob", "carla", "dieter", "émile", "李")
NUMBERS = ("0001", "0002", "0010", "0023", "0100", "0101")


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("{person}/cam{camera}_{tracklet}", "anna b/cam1_2_x", {"person": "anna b", "camera": "1", "tracklet": "2_x"}),
        ("/{camera}/{person}_*/", "c.1/7_8", {"camera": "c.1", "person": "7"}),
        ("{person}/{person}C{camera}", "1/1C2", {"person": "1", "camera": "2"}),
        ("{person}/{person}C{camera}", "1/2C2", None),
        ("{person}/{view}{altitude}", "a/aerial80", {"person": "a", "view": "aerial", "altitude": "80"}),
        ("{person}/{view}", "a/drone", None),
        ("{split}/{person}", "train/a", {"split": "train", "person": "a"}),
        ("{person}/{day}", "a/2026-04-27", {"person": "a", "day": "2026-04-27"}),
        ("{person}", "a/b", None),
        ("{person}_f{frame}", "a_f12.jpg", {"person": "a", "frame": "12.jpg"}),
    ],
)
def test_a_pattern_reads_whole_paths(pattern, path, fields):
    match = FolderPattern(pattern).match(path)
    assert (match.groupdict() if match else None) == fields


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{persn}/{camera}", "there is no field {persn}. Did you mean {person}? The fields are {person}, {camera}"),
        ("{camera}/{tracklet}", "--pattern must say where the {person} stands"),
        ("{person}_{frame}/x", "--pattern must have {frame} in its last part"),
    ],
)
def test_a_bad_pattern_says_what_is_wrong(pattern, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        FolderPattern(pattern)


def paths_of(form, people, cameras, tracklets=("",), frames=("",)):
    return [
        form.format(person=person, camera=camera, tracklet=tracklet, frame=frame)
        for person, camera, tracklet, frame in itertools.product(people, cameras, tracklets, frames)
    ]


@pytest.mark.parametrize(
    ("form", "people", "cameras", "tracklets", "guess"),
    [
        ("{person}/{camera}/{tracklet}", WORDS, ("north", "south"), ("run", "walk"), None),
        ("{person}/{camera}/{tracklet}", NUMBERS, "12", "123", None),
        ("{person}/cam{camera}_{tracklet}", WORDS, ("1", "2"), ("1", "2"), None),
        ("{person}/cam{camera}_{tracklet}", ("anna_m", "bob_k", "carl_x"), ("1", "2"), ("1", "2"), None),
        ("{camera}/{person}_{tracklet}", NUMBERS, ("left", "right"), ("1", "2"), None),
        ("data/cam_{camera}/id-{person}-{tracklet}", NUMBERS, ("left", "right"), ("1", "2"), None),
        ("{person}C{camera}T{tracklet}", NUMBERS, ("1", "2"), ("0001", "0002"), None),
        ("{person}/{camera}", WORDS, ("x", "y"), ("",), None),
        ("{camera}/{person}", WORDS, ("x", "y"), ("",), None),
        ("train/{camera}/{person}", WORDS, ("ground", "aerial"), ("",), "train/{view}/{person}"),
    ],
)
def test_the_guess_finds_the_pattern(form, people, cameras, tracklets, guess):
    assert guess_pattern(paths_of(form, people, cameras, tracklets)) == (guess or form)


def test_serial_numbers_are_tracklets():
    paths = [f"{person}/{number:04d}" for number, person in enumerate(NUMBERS * 3)]
    assert guess_pattern(paths) == "{person}/{tracklet}"


def test_splits_are_recognised():
    paths = paths_of("train/{person}/c{camera}", NUMBERS[:3], "12") + paths_of("test/{person}/c{camera}", NUMBERS, "12")
    assert guess_pattern(paths) == "{split}/{person}/c{camera}"


@pytest.mark.parametrize(
    ("form", "guess"),
    [
        ("{person}_c{camera}_t{tracklet}_f{frame}.jpg", "{person}_c{camera}_t{tracklet}_f{frame}"),
        ("{person}/{camera}/{tracklet}_{frame}.png", "{person}/{camera}/{tracklet}_{frame}"),
    ],
)
def test_the_guess_at_names_of_frames(form, guess):
    paths = paths_of(form, NUMBERS, ("1", "2"), ("1", "2"), ("7", "8", "9"))
    assert guess_pattern(paths, names_frames=True) == guess


def test_a_few_odd_names_do_not_change_the_guess():
    paths = [*paths_of("{person}/cam{camera}_{tracklet}", NUMBERS, ("1", "2"), ("1", "2")), "junk/x", "old"]
    assert guess_pattern(paths) == "{person}/cam{camera}_{tracklet}"
