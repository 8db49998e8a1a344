"""What a search writes: the table, JSON, CSV and the page."""

import csv
import json
import re
from datetime import date
from pathlib import Path

import pytest
from PIL import Image

from search.answer_files import explain_judgement, format_answers, render_answers, write_answers
from search.feature_file import read_feature_files, write_features
from search.find import MemoryGallery, find_tracklets
from search.threshold import Threshold

ORIGIN = {"weights": "a1", "transform": "288x144"}  # of ``describe``
HOSTILE = "<script>document.title='taken'</script>&\"'"


@pytest.fixture
def search(describe):
    """``search(threshold=None, data="")``: two queries, of which the second has no match within 0.5."""

    def run(threshold=None, data=""):
        views, times = ["", "aerial", "ground"], ["NaT", "2023-10-17", "NaT"]
        gallery = MemoryGallery(describe(a=0, b=60, c=180, views=views, times=times), "people.npz")
        return find_tracklets(gallery, describe(q=5, r=275), 3, threshold and Threshold(threshold, "test", data=data))

    return run


def test_the_table_says_what_is_no_match(search):
    lines = [re.split(r"  +", line.strip()) for line in format_answers(search(0.5)).splitlines()[2:]]
    b = ["b", "0", "aerial", "2023-10-17T00:00:00"]
    assert lines == [
        ["q", "1", "a", "0.0076", "1 accepted"],
        ["2", *b, "0.8528", "beyond the threshold"],
        ["3", "c", "1", "ground", "3.9924", "beyond the threshold"],
        ["r", "no match"],
        ["1", "a", "1.8257", "beyond the threshold"],
        ["2", "c", "1", "ground", "2.1743", "beyond the threshold"],
        ["3", *b, "3.6383", "beyond the threshold"],
    ]
    assert "threshold" not in format_answers(search())


def test_files_hold_every_query(search, tmp_path):
    paths = write_answers(search(0.5), tmp_path / "new")
    assert [path.name for path in paths] == ["search.json", "search.csv", "search.html"]
    content = json.loads(paths[0].read_text())
    threshold = {"distance": 0.5, "reason": "test", "false_positive_rate": None, "data": "", "checkpoint": ""}
    threshold |= {"of_other_data": False, "of_other_model": False}
    assert content["threshold"] == threshold
    assert [(query["match"], query["num_accepted"]) for query in content["queries"]] == [(True, 1), (False, 0)]
    place = {"camera": 0, "view": "aerial", "time": "2023-10-17T00:00:00", "picture": "b.jpg"}
    distance = {"distance": pytest.approx(0.85275, abs=1e-4), "accepted": False}
    assert content["queries"][0]["found"][1] == {"rank": 2, "key": "b", **place, **distance}
    rows = list(csv.reader(paths[1].read_text().splitlines()))
    assert ",".join(rows[0]) == "query,match,num_accepted,rank,key,camera,view,time,distance,accepted"
    assert rows[2][:8] + rows[2][9:] == ["q", "True", "1", "2", "b", "0", "aerial", "2023-10-17T00:00:00", "False"]
    assert len(rows) == 7
    write_answers(search(), tmp_path)
    assert {query["match"] for query in json.loads((tmp_path / "search.json").read_text())["queries"]} == {None}


def test_the_page_shows_matches_apart(search):
    page = render_answers(search(0.5))
    assert [page.count(words) for words in ("No match", "1 accepted", "beyond the threshold of 0.5")] == [1, 1, 2]
    assert "1 of 2 queries have no match" in page
    assert not re.search(r"No match|accepted|beyond the", render_answers(search()))
    assert f"<title>unknown, people.npz, {date.today().isoformat()}: Search results</title>" in page


def test_a_threshold_of_other_data_is_said_beside_every_verdict(search, tmp_path):
    answers = search(0.5, f"demo in {tmp_path}")
    assert answers["threshold"]["of_other_data"] is True
    for text in (format_answers(answers), render_answers(answers)):
        assert re.findall("(1 accepted|[Nn]o match), by a threshold of other data", text)[0] == "1 accepted"
        assert len(re.findall("by a threshold of other data", text)) == 2
    assert f"measured on other data, demo in {tmp_path}" in explain_judgement(answers)
    assert search(0.5, f"demo in {Path.cwd()}")["threshold"]["of_other_data"] is False


def test_a_threshold_of_another_model_is_said_beside_every_verdict(search):
    answers = search(0.5)
    answers["threshold"]["of_other_model"] = True
    assert "1 accepted, by a threshold of another model" in format_answers(answers)
    assert "measured with another model than" in explain_judgement(answers)


def test_the_page_is_one_file_and_escapes_what_the_data_name(describe, tmp_path):
    Image.new("RGB", (60, 120), "red").save(tmp_path / "red.png")
    tracklets = describe(**{HOSTILE: 0}, b=60, pictures=[str(tmp_path / "red.png"), HOSTILE])
    page = render_answers(find_tracklets(MemoryGallery(tracklets, HOSTILE), tracklets, 3, Threshold(0.5, HOSTILE)))
    assert "<script" not in page
    assert "&lt;script&gt;document.title" in page
    assert page.count('src="data:image/webp;base64,') == 2  # the query, and as a hit of the other
    assert page.count("no picture") == 2
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"|https?://', page)


def test_what_could_not_be_read_is_said_of_every_file(describe, tmp_path):
    for name, unread in (("a", "/data/a: 2 frames"), ("b", ""), ("c", "/data/c: 1 tracklets")):
        write_features(
            describe(**{name: 5}, origin=ORIGIN | ({"unread": unread} if unread else {})), tmp_path / f"{name}.npz"
        )
    gallery = MemoryGallery(read_feature_files([tmp_path / f"{name}.npz" for name in "abc"]), "people")
    answers = find_tracklets(gallery, describe(q=0, origin=ORIGIN | {"unread": "/data/q: 3 frames"}), 1)
    assert answers["unread"] == ["/data/a: 2 frames; /data/c: 1 tracklets", "/data/q: 3 frames"]
    assert "/data/q: 3 frames." in render_answers(answers)
