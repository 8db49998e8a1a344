"""The page: its numbers, its escaping, its choice of queries, and what a browser makes of it."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from processor.evaluation.results import VISUAL, Evaluation
from processor.report import direction as directions_module
from processor.report import report_page
from processor.report.breakdown import format_interval
from processor.report.direction import Place, RankedQuery
from processor.report.maps import QueryMaps
from processor.report.report_page import render_page
from processor.report.tables import MEASURES, collect_results, score_methods

HOSTILE = "</script><script>document.title='taken'</script><b>&amp;'\"\u2028"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package chromium)")
NOTHING = {"results": [], "remarks": [], "protocols": {}, "verification": [], "breakdown": []}


@pytest.fixture
def render(collect):
    """``render(evaluation, origin={}, figures=(), maps={})``: the page of an evaluation, maps of the first case."""

    def build(evaluation, origin=None, figures=(), maps=None):
        results = collect_results(evaluation, {}, score_methods(evaluation))
        own_maps = {evaluation.cases[0].case.name: maps or {}}
        return render_page(collect(evaluation), own_maps, results, origin or {}, figures)

    return build


def embedded(text):
    """The JSON that a page holds."""
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def browse(path, fragment="", script=""):
    """The page as a browser builds it for a fragment of the address, after a script that runs behind the page's own."""
    if script:
        text = path.read_text(encoding="utf-8").replace("</body>", f"<script>{script}</script></body>")
        path = path.with_name("with_script.html")
        path.write_text(text, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
    profile = f"--user-data-dir={path.parent / 'profile'}"
    url = f"{path.resolve().as_uri()}#{fragment}"
    done = subprocess.run(
        [*command, profile, "--window-size=1280,900", "--dump-dom", url],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def shown_keys(dom):
    return [html.unescape(key) for key in re.findall(r'<li class="query" data-key="([^"$]*)"', dom)]


@pytest.mark.slow
def test_the_numbers_are_those_of_results_json(run, report, tmp_path):
    text = report(run(), tmp_path)[-1].read_text(encoding="utf-8")
    results = json.loads((tmp_path / "results.json").read_text())
    values = [float(value) for value in re.findall(r'<data value="([^"]*)">', text)]
    groups = [row for row in results["breakdown"] if row["method"] in embedded(text)["methods"]]
    expected = [(row, measure) for row in results["results"] for measure in MEASURES]
    expected += [(row, measure) for row in groups for measure in ("R1", "mAP")]
    assert values == [row[measure] for row, measure in expected]
    shown = re.findall(r'class="interval">(.*?)</span>', text)
    assert shown == [format_interval(row, measure).replace("-", " to ") for row, measure in expected]
    # Masked and attributes alone, in two directions and overall.
    assert text.count("reads the test set's annotations</span>") == 2 * 3
    data = embedded(text)
    assert [float(value) for value in re.findall(r'<meter value="([^"]*)">', text)] == [row["mAP"] for row in groups]
    expected = {(row["method"], row["direction"]): (row["mAP"], row["R1"]) for row in results["results"]}
    for direction in data["directions"]:
        for number, method in enumerate(data["methods"]):
            rows = direction["rankings"][str(number)]
            means = np.mean([(row["precision"], row["rank"] == 1) for row in rows], axis=0)
            assert means == pytest.approx(expected[method, direction["title"]], abs=5e-5)
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"|https?://(?!www\.w3\.org)', text)  # no network


@pytest.mark.parametrize("num_nearest", [10, 1])
def test_places_are_the_nearest_that_count_and_the_first_match(num_nearest, run, collect, monkeypatch):
    monkeypatch.setattr(directions_module, "NUM_NEAREST", num_nearest)
    (result,) = run(("case1",)).cases
    camid, pids = result.case.query[0].camid, result.ids[1][::-1].tolist()
    gallery = [replace(tracklet, pid=pid) for tracklet, pid in zip(result.case.gallery, pids, strict=True)]
    gallery[::2] = [replace(tracklet, camid=camid) for tracklet in gallery[::2]]  # of a match it does not count
    result = replace(result, case=replace(result.case, gallery=tuple(gallery)))
    direction = collect(Evaluation([result]))[0]
    late = 0
    for ranked in direction.queries:
        query, distances = result.case.query[ranked.index], result.distances[VISUAL].matrix()[ranked.index].tolist()
        kept = [i for i, other in enumerate(gallery) if (other.pid, other.camid) != (query.pid, query.camid)]
        kept.sort(key=lambda index, distances=distances: (distances[index], index))
        shown = list(enumerate(kept[:num_nearest], start=1))
        if not any(gallery[index].pid == query.pid for _, index in shown):
            late += 1
            shown.append((ranked.first_rank, next(index for index in kept if gallery[index].pid == query.pid)))
        assert list(ranked.places) == [(rank, index, distances[index]) for rank, index in shown]
    assert (late > 0) == (num_nearest == 1)
    assert direction.num_true.sum() == len(result.case.query)  # one match of each query is of its camera
    assert direction.num_true.sum() + direction.num_false.sum() == len(result.case.query) * (len(gallery) - 1)


def test_names_cannot_leave_their_place(run, render, rename):
    evaluation = rename(run(("case1",), tracklets=1), HOSTILE)
    text = render(evaluation, {"checkpoint": HOSTILE}, figures=[(HOSTILE, HOSTILE, "<svg></svg>")])
    parser = HTMLParser()
    scripts = []
    parser.handle_starttag = lambda tag, attributes: scripts.append(tag) if tag in ("script", "b") else None
    parser.feed(text)
    assert scripts == ["script", "script"]  # the data and the page's own
    names = {tracklet["key"].partition("/")[2] for tracklet in embedded(text)["tracklets"]}
    assert names == {f"{HOSTILE}{number}" for number in range(3)}


def test_a_picture_is_embedded_once_in_both_directions(run, render):
    """Queries of one direction are the gallery of the other; an unreadable tracklet has no picture."""
    first, second = run(num_frames=4).cases
    bad = replace(first.case.query[0], frame_paths=("nowhere.jpg",))
    first = replace(first, case=replace(first.case, query=(bad, *first.case.query[1:])))
    second = replace(second, case=replace(second.case, query=first.case.gallery, gallery=first.case.query))
    shown = embedded(render(Evaluation([first, second])))
    tracklets, pictures = shown["tracklets"], shown["pictures"]
    assert len(tracklets) == 12
    assert [tracklet["key"] for tracklet in tracklets if pictures[tracklet["picture"]] is None] == [bad.key]
    used = {index for one in tracklets for index in (one["picture"], *one.get("frames", ()))}
    assert used == set(range(len(pictures)))
    assert len(set(pictures)) == len(pictures) == 11 * 4 + 1
    with Image.open(io.BytesIO(base64.b64decode(next(filter(None, pictures))))) as image:
        assert (image.format, image.size[::-1]) == ("WEBP", tuple(shown["size"]))


def test_of_many_queries_the_worst_and_some_others_are_shown_by_every_method(run, collect, make_tracklet, monkeypatch):
    for name, number in (("NUM_WORST", 30), ("NUM_OTHERS", 10), ("NUM_WITH_FRAMES", 5)):
        monkeypatch.setattr(report_page, name, number)
    monkeypatch.setattr(report_page, "read_thumbnail", lambda path: path)
    visual, other, _ = collect(run(("case1",)))
    case = replace(visual.case, query=tuple(make_tracklet(pid, 0, f"{pid}C0T0") for pid in range(130)))
    queries = [RankedQuery(pid, 1 / (1 + pid), 1 + pid, (Place(1 + pid, 0, 0.5),)) for pid in range(130)]
    pixels = np.zeros((8, 4, 3), np.uint8)
    maps = {case.name: {0: QueryMaps([1.0], [pixels], pixels)}}  # of the best query
    text = render_page([replace(each, case=case, queries=queries) for each in (visual, other)], maps, NOTHING, {}, [])
    shown = embedded(text)
    (direction,) = shown["directions"]
    for rows in direction["rankings"].values():
        people = [shown["tracklets"][row["query"]]["person"] for row in rows]
        assert people == [0, *range(4, 100, 10), *range(100, 130)]
    framed = [tracklet["person"] for tracklet in shown["tracklets"] if "frames" in tracklet]
    assert framed == [129, 128, 127, 126, 125]
    note = re.search(r'<p class="note">(Of the.*?)</p>', text, re.DOTALL)[1]
    assert re.findall(r"\d+", note) == ["130", "41", "30"]


USE = """
const found = {};
const list = (selector) => [...document.querySelectorAll(selector)].map((query) => query.dataset.key);
const opened = () => list(".query:has(details[open])");
const wait = () => new Promise((resolve) => setTimeout(resolve, 50));
const choose = (name, value) => {
  const field = document.querySelector(`[name=${name}]`);
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
};
(async () => {
  found.first = list(".query");
  choose("sort", "person");
  choose("order", "down");
  document.querySelector(".query summary").click();
  await wait();
  found.address = location.hash;
  choose("method", "1");
  found.other = [list(".query"), opened()];
  document.getElementById("clear").click();
  found.cleared = [opened(), location.hash];
  choose("method", "");
  found.last = list(".query");
  document.body.dataset.found = JSON.stringify(found);
})();
"""


@needs_browser
@pytest.mark.slow
def test_a_browser_sorts_filters_and_opens(run, render, rename, collect, tmp_path):
    evaluation = rename(run(("case1",), num_frames=8), HOSTILE)
    direction, *_ = collect(evaluation)
    queries, case = direction.queries, direction.case
    frame = np.zeros((64, 32, 3), np.uint8)
    maps = {queries[0].index: QueryMaps([0.25, 0.75], [frame, frame], frame)}
    path = tmp_path / "report.html"
    path.write_text(render(evaluation, maps=maps), encoding="utf-8")

    keys, pids = [tracklet.key for tracklet in case.query], [tracklet.pid for tracklet in case.query]
    ordered = [keys[query.index] for query in sorted(queries, key=lambda query: query.average_precision)]
    dom = browse(path, f"sort=person&order=down&person={pids[0]}&open={quote(keys[0])}")
    own = [key for key, pid in zip(keys, pids, strict=True) if pid == pids[0]]
    assert shown_keys(dom) == own
    assert f"{len(own)} of {len(queries)} queries" in dom
    assert "<title>Evaluation results</title>" in dom  # no name ran as a script
    is_right = [case.gallery[place.gallery].pid == pids[0] for query in queries[: len(own)] for place in query.places]
    assert dom.count('<li class="right">') == len(re.findall(r"\d\. ✓ right</span>", dom)) == sum(is_right)
    assert dom.count('<li class="wrong">') == len(is_right) - sum(is_right)
    assert dom.count('<details open="">') == 1
    assert dom.count('alt="a frame of the query"') == 6
    assert re.findall(r"(frame \d: [\d.]+)\s*<meter", dom) == ["frame 1: 25.0", "frame 2: 75.0"]
    assert shown_keys(browse(path, "after=10")) == []

    found = json.loads(html.unescape(re.search('data-found="([^"]*)"', browse(path, script=USE))[1]))
    backwards = sorted(keys, key=lambda key: -pids[keys.index(key)])
    assert found["first"] == ordered
    assert found["address"].startswith("#sort=person&order=down&open=")
    assert found["other"] == [backwards, backwards[:1]]
    assert found["cleared"] == [[], "#method=1"]
    assert found["last"] == ordered
