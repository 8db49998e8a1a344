"""What a search writes: the table, JSON, CSV and the page."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from search import page, results
from search.find import find_texts, find_tracklets
from search.index import TrackletIndex
from search.results import format_answers, write_results
from search.threshold import Threshold

HOSTILE = "<script>document.title='taken'</script>&\"'"


@pytest.fixture
def search(describe):
    """``search(threshold=None)``: two queries, of which the second has no match within 0.5."""

    def run(threshold=None, **options):
        index = TrackletIndex(describe(a=0, b=60, c=180, **options))
        return find_tracklets(index, describe(q=5, r=275), "q.npz", 3, threshold and Threshold(threshold, "test"))

    return run


def test_the_table_says_what_is_no_match(search):
    lines = [re.split(r"  +", line.strip()) for line in format_answers(search(0.5)).splitlines()[2:]]
    assert lines == [
        ["q", "1", "a", "0.0076"],
        ["2", "b", "0", "0.8528", "beyond the threshold"],
        ["3", "c", "1", "3.9924", "beyond the threshold"],
        ["r", "no match"],
        ["1", "a", "1.8257", "beyond the threshold"],
        ["2", "c", "1", "2.1743", "beyond the threshold"],
        ["3", "b", "0", "3.6383", "beyond the threshold"],
    ]
    assert "threshold" not in format_answers(search())


def test_a_long_table_is_cut(search, monkeypatch):
    monkeypatch.setattr(results, "MAX_SHOWN", 1)
    assert format_answers(search()).endswith("(1 more queries: --output writes all of them)")


def test_files_hold_every_query(search, tmp_path):
    paths = write_results(search(0.5), tmp_path / "new")
    assert [path.name for path in paths] == ["search.json", "search.csv", "search.html"]
    content = json.loads(paths[0].read_text())
    assert content["threshold"] == {"distance": 0.5, "reason": "test", "false_positive_rate": None}
    assert [query["match"] for query in content["queries"]] == [True, False]
    assert content["queries"][0]["found"][1] == {
        "rank": 2,
        "key": "b",
        "camera": 0,
        "picture": "b.jpg",
        "distance": pytest.approx(0.85275, abs=1e-4),
        "accepted": False,
    }
    rows = list(csv.reader(paths[1].read_text().splitlines()))
    assert rows[0] == ["query", "match", "rank", "key", "camera", "distance", "accepted"]
    assert [row[:4] + row[6:] for row in rows[1:3]] == [
        ["q", "True", "1", "a", "True"],
        ["q", "True", "2", "b", "False"],
    ]
    assert len(rows) == 7
    write_results(search(), tmp_path)
    assert {query["match"] for query in json.loads((tmp_path / "search.json").read_text())["queries"]} == {None}


def test_the_page_shows_where_no_match_begins(search):
    text = page.render_page(search(0.5))
    first, second = text.split('<li class="query">')[1:]
    accepted, beyond = first.split("beyond the threshold of 0.5")
    assert [re.findall(r"<div>(\w)</div>", part) for part in (accepted, beyond)] == [["a"], ["b", "c"]]
    assert "1 accepted" in first
    assert "No match" in second
    assert "1 of the queries have no match" in text
    assert 'start="2"' in beyond
    unjudged = page.render_page(search())
    assert "nothing is judged" in unjudged
    assert not re.search(r"No match|accepted|beyond the", unjudged)


def test_the_page_of_texts_speaks_of_no_threshold_that_was_not_given(describe):
    index = TrackletIndex(describe(a=0, words=np.eye(1, 2, dtype=np.float32), origin={"text tower": "t1"}))
    text = page.render_page(find_texts(index, ["man"], np.eye(1, 2, dtype=np.float32), "t1", 3))
    assert "similarity to the words, for which there is no threshold" in text
    assert "was given" not in text


def test_the_page_says_how_many_strangers_a_rate_accepts(search):
    answers = replace(search(0.5), threshold=Threshold(0.5, "test", 0.01))
    assert "if all 3 tracklets are of other people, 0.03 are expected" in page.render_page(answers)
    assert "expected" not in page.render_page(search(0.5))


def test_a_key_that_is_no_utf_8_is_escaped(search, describe, tmp_path):
    tracklets = describe(a=0, b=60)
    tracklets = replace(tracklets, keys=["p\udcff", "b"])
    paths = write_results(find_tracklets(TrackletIndex(tracklets), tracklets, "q.npz", 3), tmp_path)
    assert json.loads(paths[0].read_text())["queries"][0]["key"] == "p\udcff"
    for path in paths[1:]:
        assert "p\\udcff" in path.read_text(encoding="utf-8")


def test_the_page_is_one_file_and_escapes_what_the_data_name(search, describe, tmp_path):
    Image.new("RGB", (60, 120), "red").save(tmp_path / "red.png")
    tracklets = describe(a=0, b=60, pictures=[str(tmp_path / "red.png"), HOSTILE])
    tracklets = type(tracklets)([HOSTILE, "b"], tracklets.features, tracklets.cameras, tracklets.pictures)
    answers = find_tracklets(TrackletIndex(tracklets), tracklets, HOSTILE, 3, Threshold(0.5, HOSTILE))
    text = page.render_page(answers)
    assert "<script" not in text
    assert "&lt;script&gt;document.title" in text
    assert text.count('src="data:image/webp;base64,') == 2  # the query, and as a hit of the other
    assert text.count("no picture") == 2
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"|https?://', text)


def test_a_large_search_stays_a_small_page(search, monkeypatch):
    monkeypatch.setattr(page, "MAX_QUERIES", 1)
    text = page.render_page(search())
    assert text.count('<li class="query">') == 1
    assert "The first 1 queries are shown" in text
