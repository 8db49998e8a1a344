"""The page: its numbers, its escaping, its size, and what a browser makes of it."""

import base64
import html
import http.client
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

from datasets.tracklet import Case
from processor.evaluation.results import VISUAL, Mask, Method
from processor.report import figures, page, write
from processor.report import survey as surveys
from processor.report.figures import PageFigure
from processor.report.page import render_page
from processor.report.page_data import DirectionData, PageData, QueryMaps, collect_page
from processor.report.survey import PairHistogram, RankedQuery
from processor.report.tables import results_as_dict
from processor.report.write import write_report

ORIGIN = {"checkpoint": "logs/all/checkpoint_best.pth", "data": "data/AG-VPReID"}
HOSTILE = "</script><script>document.title='taken'</script><b>&amp;'\"\u2028"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package chromium)")
CHROMEDRIVER = shutil.which("chromedriver")
needs_driver = pytest.mark.skipif(CHROMEDRIVER is None, reason="needs ChromeDriver (Debian's package chromium-driver)")


@pytest.fixture
def collect(run, survey):
    """``collect(evaluation)``: what the page shows of an evaluation, by default of both directions."""

    def build(evaluation=None, origin=ORIGIN):
        evaluation = evaluation or run()
        results = {**results_as_dict(evaluation, origin), "verification": [], "breakdown": []}
        return collect_page(evaluation, survey(evaluation), results, origin)

    return build


def embedded(text):
    """The JSON that a page holds."""
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def rename(evaluation, name):
    """The evaluation with every tracklet's name, and the direction's title, replaced by a beginning."""
    (result,) = evaluation.cases
    sides = {
        side: tuple(
            replace(tracklet, name=f"{name}{number}") for number, tracklet in enumerate(getattr(result.case, side))
        )
        for side in ("query", "gallery")
    }
    return replace(evaluation, cases=[replace(result, case=replace(result.case, title=f"a{name}b", **sides))])


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


class Keyboard:
    """A browser that shows a page and takes real keys, which an event made by a script cannot replace."""

    ENTER, DOWN = "\ue007", "\ue015"  # as WebDriver numbers them

    def __init__(self, driver_port, profile):
        self._port = driver_port
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        options = {"goog:chromeOptions": {"binary": CHROMIUM, "args": arguments}}
        self._session = ""
        self._session = "/" + self._ask("", capabilities={"alwaysMatch": options})["sessionId"]

    def _ask(self, command, method="POST", **arguments):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request(method, f"/session{self._session}{command}", json.dumps(arguments))
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer["value"]

    def show(self, path):
        self._ask("/url", url=path.resolve().as_uri())

    def run(self, script):
        return self._ask("/execute/sync", script=script, args=[])

    def press(self, key):
        strokes = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._ask("/actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    def quit(self):
        self._ask("", "DELETE")


@pytest.fixture
def keyboard(tmp_path):
    driver = subprocess.Popen([CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        port = next(int(port) for line in driver.stdout for port in re.findall(r"successfully on port (\d+)", line))
        browser = Keyboard(port, tmp_path / "profile")
        yield browser
        browser.quit()
    finally:
        driver.terminate()
        driver.communicate()


def shown_keys(dom):
    return [html.unescape(key) for key in re.findall(r'<li class="query" data-key="([^"]*)"', dom)]


@pytest.mark.slow
def test_the_numbers_are_those_of_results_json(run, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "draw_best_and_worst", lambda result, folder: [])
    evaluation = run()
    written = write_report(evaluation, tmp_path, ranking_length=4, origin=ORIGIN)
    assert written[-1] == tmp_path / "report.html"
    text = written[-1].read_text(encoding="utf-8")
    results = json.loads((tmp_path / "results.json").read_text())
    values = [float(value) for value in re.findall(r'<data value="([^"]*)">', text)]
    measures = ("R1", "R5", "R10", "R20", "mAP", "mINP")
    assert values == [row[measure] for row in results["results"] for measure in measures]
    assert (
        text.count("reads the test set's annotations</span>") == 2 * 3
    )  # masked and attributes alone; two directions, overall
    data = embedded(text)
    assert data["breakdown"] == results["breakdown"]
    for direction, result in zip(data["directions"], evaluation.cases, strict=True):
        for number, method in enumerate(data["methods"]):
            rows = direction["rankings"][str(number)]
            (expected,) = [
                row for row in results["results"] if (row["method"], row["direction"]) == (method, result.case.title)
            ]
            assert np.mean([ap for _, ap, *_ in rows]) == pytest.approx(expected["mAP"], abs=1e-5)
            assert np.mean([rank == 1 for _, _, rank, *_ in rows]) == expected["R1"]
    for name in ("cmc", "roc", "distances"):
        for case in ("case1_aerial_to_ground", "case2_ground_to_aerial"):
            assert (tmp_path / f"figures/{name}_{case}.pdf").read_bytes().startswith(b"%PDF")
            with Image.open(tmp_path / f"figures/{name}_{case}.png") as image:
                assert min(image.size) > 600
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"|https?://(?!www\.w3\.org)', text)  # no network
    assert not re.search(r"<text[^>]*>[^<]*mathdefault", text)  # powers of ten are drawn, not spelled out


def test_rows_that_depend_on_other_queries_say_so(run, collect):
    data = collect(run(cases=("case1",), tracklets=1))
    rows = data.results["results"]
    assert "uses the whole query set" not in render_page(data, [])
    changed = {**data.results, "results": [{**rows[0], "uses_whole_query_set": True}, *rows[1:]]}
    assert render_page(replace(data, results=changed), []).count("uses the whole query set</span>") == 1


def test_rows_with_a_mask_are_explained(run, collect):
    data = collect(run(cases=("case1",), tracklets=1))
    rows = data.results["results"]
    unmasked = [row for row in rows if "mask" not in row["method"]]
    assert 0 < len(unmasked) < len(rows)
    explanation = "In a row with &quot;+ mask&quot;"
    assert explanation in render_page(data, [])
    assert explanation not in render_page(replace(data, results={**data.results, "results": unmasked}), [])


@pytest.mark.parametrize("num_methods", [1, 12])
def test_legends_cover_no_curve(num_methods):
    points = [{"false_positive_rate": 1e-3, "true_positive_rate": 0.5}]
    rows = [{"method": "visual only + mask", "roc": points, "equal_error_rate": 0.1}] * num_methods
    _, figure = figures._draw_roc(rows)
    figure.draw_without_rendering()
    (axes,), (legend,) = figure.axes, figure.legends
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
    assert axes.get_window_extent().height > 0.6 * figures.SIZE[1] * figure.dpi


def test_neighbours_are_the_nearest_that_the_protocol_keeps(run, collect):
    evaluation = run(cases=("case1",), tracklets=2)
    (result,) = evaluation.cases
    first = result.case.query[0]
    gallery = tuple(
        replace(tracklet, camid=first.camid) if index % 2 else tracklet
        for index, tracklet in enumerate(result.case.gallery)
    )
    changed = replace(result, case=replace(result.case, gallery=gallery))
    (direction,) = collect(replace(evaluation, cases=[changed])).directions
    for ranked in direction.rankings[VISUAL]:
        query, distances = result.case.query[ranked.index], result.distances[VISUAL].matrix()[ranked.index]
        kept = [
            index
            for index, tracklet in enumerate(gallery)
            if not (tracklet.pid == query.pid and tracklet.camid == query.camid)
        ]
        assert list(ranked.nearest) == sorted(kept, key=lambda index: (distances[index], index))
        assert list(ranked.distances) == [distances[index] for index in ranked.nearest]
    num_pairs = direction.histogram.num_true.sum() + direction.histogram.num_false.sum()
    assert num_pairs == len(result.case.query) * (len(gallery) - 1)  # one match of each query is of its camera
    assert direction.histogram.num_true.sum() == len(result.case.query)


def test_names_cannot_leave_their_place(run, collect):
    evaluation = rename(run(cases=("case1",), tracklets=1), HOSTILE)
    text = render_page(collect(evaluation, {"checkpoint": HOSTILE}), [PageFigure(HOSTILE, HOSTILE, "<svg></svg>")])
    parser = HTMLParser()
    scripts = []
    parser.handle_starttag = lambda tag, attributes: scripts.append(tag) if tag in ("script", "b") else None
    parser.feed(text)
    assert scripts == ["script", "script"]  # the data and the page's own
    names = {row[0] for row in embedded(text)["tracklets"]}
    assert names == {f"{HOSTILE}{number}" for number in range(3)}


def test_every_picture_is_embedded_once_and_frames_are_in_time_order(run, collect):
    data = collect(run(cases=("case1",), num_frames=4))
    shown = embedded(render_page(data, []))
    used = {row[-1] for row in shown["tracklets"]} | {index for frames in shown["frames"].values() for index in frames}
    assert used == set(range(len(shown["pictures"])))
    assert len(set(shown["pictures"])) == len(shown["pictures"])
    with Image.open(io.BytesIO(base64.b64decode(shown["pictures"][0]))) as image:
        assert (image.format, image.size) == ("WEBP", (shown["width"], shown["height"]))
    (direction,) = data.directions
    assert page.spread_frames(direction.case.query[0], 6) == list(direction.case.query[0].frame_paths)
    assert page.spread_frames(direction.case.query[0], 2) == [direction.case.query[0].frame_paths[i] for i in (1, 3)]


def test_a_small_page_has_pictures_as_far_as_there_is_room(run, collect, monkeypatch):
    data = collect(run(cases=("case1",)))
    figures = [PageFigure("title", "description", f"<svg>{'é' * 1000}</svg>")]
    text = render_page(data, figures)
    whole = embedded(text)["pictures"]
    without = len(text.encode()) - sum(map(len, whole))
    monkeypatch.setattr(page, "ROWS_SHARE", 1)
    for room in (2000, 500):
        monkeypatch.setattr(page, "MAX_BYTES", without + room)
        small = render_page(data, figures)
        assert len(small.encode()) < page.MAX_BYTES + max(map(len, whole))
        assert 0 < len(embedded(small)["pictures"]) < len(whole)
    monkeypatch.setattr(page, "MAX_BYTES", 0)
    none = embedded(render_page(data, []))
    assert none["pictures"] == []
    assert none["frames"] == {}
    assert {row[-1] for row in none["tracklets"]} == {None}


@pytest.fixture
def crowd(make_tracklet):
    """``crowd(num_queries, num_methods)``: a page's data by hand; each query's only match is the last gallery entry."""

    def build(num_queries, num_methods):
        people = range(num_queries)
        query = tuple(make_tracklet(pid, 0, f"{pid:04d}C0T{pid:05d}") for pid in people)
        others = tuple(make_tracklet(100_000 + index, 1, f"other{index}") for index in people)
        matches = tuple(make_tracklet(pid, 2, f"match{pid}") for pid in people)
        case = Case("case1_aerial_to_ground", "aerial to ground", query, others + matches)
        distances = tuple(0.123456 + place / 7 for place in range(10))
        ranked = [
            RankedQuery(
                pid,
                1 / (11 + pid),
                11 + pid,
                tuple((pid + 17 * place) % num_queries for place in range(10)),
                distances,
                (num_queries + pid, 9.87654),
            )
            for pid in people
        ]
        masks = [Mask(f"mask {number}", f"mask_{number}") for number in range(1, num_methods)]
        methods = [VISUAL, *(Method(mask=mask) for mask in masks)]
        histogram = PairHistogram(np.linspace(0, 1, 3), np.array([1, 2]), np.array([2, 1]))
        direction = DirectionData(case, dict.fromkeys(methods, ranked), {}, histogram)
        results = {"results": [], "protocols": {}, "verification": [], "breakdown": []}
        return PageData(results, ORIGIN, [direction])

    return build


@pytest.mark.slow
@pytest.mark.parametrize("num_methods", [8, 20])
def test_a_page_of_agvpreids_queries_stays_under_20_mb(num_methods, crowd, monkeypatch):
    monkeypatch.setattr(page, "read_thumbnail", lambda path: "A" * 2000)
    data = crowd(5774, num_methods)
    text = render_page(data, [PageFigure("title", "words", f"<svg>{'l 1 2 ' * 20_000}</svg>")] * 6)
    assert 19_000_000 < len(text.encode()) < 20_000_000
    shown = embedded(text)
    num_embedded = len(shown["directions"][0]["rankings"])
    assert num_embedded == 8 or (num_methods > 8 and 8 < num_embedded < 20)
    assert shown["left_out"] == list(range(num_embedded, num_methods))
    assert len(shown["methods"]) == num_methods
    notes = re.findall(r"To keep the page small, it lists no queries of (.*?)\. Their", text, re.DOTALL)
    assert notes == ([", ".join(shown["methods"][place] for place in shown["left_out"])] if shown["left_out"] else [])


def test_the_first_ranking_is_shown_however_large(crowd, monkeypatch):
    monkeypatch.setattr(page, "MAX_BYTES", 1000)
    shown = embedded(render_page(crowd(30, 3), []))
    assert list(shown["directions"][0]["rankings"]) == ["0"]
    assert shown["left_out"] == [1, 2]


def test_a_tracklet_in_both_directions_is_one_picture(run, collect, monkeypatch):
    """Queries of one direction are the gallery of the other."""
    evaluation = run()
    first, second = evaluation.cases
    swapped = replace(second, case=replace(second.case, query=first.case.gallery, gallery=first.case.query))
    monkeypatch.setattr(page, "read_thumbnail", lambda path: path)
    shown = embedded(render_page(collect(replace(evaluation, cases=[first, swapped])), []))
    assert len(set(shown["pictures"])) == len(shown["pictures"])
    pictures = [shown["pictures"][row[-1]] for row in shown["tracklets"]]
    tracklets = [*first.case.query, *first.case.gallery]
    assert sorted(pictures) == sorted(2 * [tracklet.middle_frame for tracklet in tracklets])


def test_a_match_after_the_nearest_is_shown_with_its_rank(run, collect, monkeypatch):
    monkeypatch.setattr(surveys, "NUM_NEAREST", 1)
    evaluation = run(cases=("case1",), tracklets=2)
    (result,) = evaluation.cases
    pids = result.ids[1][::-1].tolist()
    gallery = tuple(replace(tracklet, pid=pid) for tracklet, pid in zip(result.case.gallery, pids, strict=True))
    result = replace(result, case=replace(result.case, gallery=gallery))
    (direction,) = collect(replace(evaluation, cases=[result])).directions
    distmat = result.distances[VISUAL].matrix().numpy()
    late = 0
    for ranked in direction.rankings[VISUAL]:
        counted = result.matches(ranked.index) & result.kept(ranked.index)
        matches = [index for index in np.argsort(distmat[ranked.index], kind="stable").tolist() if counted[index]]
        if ranked.nearest[0] in matches:
            assert ranked.late_match is None
        else:
            late += 1
            assert ranked.late_match == (matches[0], distmat[ranked.index, matches[0]])
    assert 0 < late < len(direction.rankings[VISUAL])


def test_an_unreadable_tracklet_has_no_picture(run, collect):
    evaluation = run(cases=("case1",), tracklets=1, num_frames=1)
    with open(evaluation.cases[0].case.query[0].frame_paths[0], "wb") as file:
        file.write(b"not an image")
    shown = embedded(render_page(collect(evaluation), []))
    assert [row[-1] for row in shown["tracklets"]].count(None) == 1
    assert len(shown["frames"]) == len(evaluation.cases[0].case.query) - 1


@needs_browser
@pytest.mark.slow
def test_a_browser_sorts_filters_and_opens_as_the_address_says(run, collect, tmp_path):
    data = collect(rename(run(cases=("case1",), num_frames=8), HOSTILE))
    (direction,) = data.directions
    queries = direction.rankings[VISUAL]
    maps = {
        queries[0].index: QueryMaps(
            attention=(0.25, 0.75),
            frames=(np.zeros((64, 32, 3), np.uint8),),
            match=np.zeros((64, 32, 3), np.uint8),
        )
    }
    data = replace(data, directions=[replace(direction, maps=maps)])
    path = tmp_path / "report.html"
    path.write_text(render_page(data, []), encoding="utf-8")

    keys = {query.index: direction.case.query[query.index].key for query in queries}
    by_precision = sorted(queries, key=lambda query: query.average_precision)
    dom = browse(path)
    assert shown_keys(dom) == [keys[query.index] for query in by_precision]
    assert f"{len(queries)} of {len(queries)} queries" in dom
    assert "<title>Evaluation results</title>" in dom  # no name ran as a script
    verdicts = sum(
        direction.case.gallery[index].pid == direction.case.query[query.index].pid
        for query in queries
        for index in query.nearest
    )
    assert dom.count('<li class="right">') == len(re.findall(r"\d\. ✓ right</span>", dom)) == verdicts
    wrong = sum(len(query.nearest) for query in queries) - verdicts
    assert dom.count('<li class="wrong">') == len(re.findall(r"\d\. ✗ wrong</span>", dom)) == wrong

    pid = direction.case.query[queries[0].index].pid
    dom = browse(path, f"sort=person&order=down&person={pid}")
    own = [query for query in queries if direction.case.query[query.index].pid == pid]
    assert shown_keys(dom) == [keys[query.index] for query in own]
    assert f"{len(own)} of {len(queries)} queries" in dom
    assert shown_keys(browse(path, "camera=4")) == [keys[query.index] for query in by_precision]
    assert shown_keys(browse(path, "match=10.5-&person=999")) == []

    dom = browse(path, f"open={quote(keys[queries[0].index])}")
    assert dom.count('aria-expanded="true"') == 1
    assert dom.count('alt="a frame of the query"') == 6
    assert ": 6 of 8 frames, in time order" in dom
    assert "Weight of each frame of the clip, % (the 2 frames of the query" in dom
    assert re.findall(r"(frame \d[^<>]*)</li>", dom) == ["frame 1: 25", "frame 2: 75", "frame 1"]
    assert "relevance, ranked first" in dom


USE = """
const found = {};
const list = (selector) => [...document.querySelectorAll(selector)].map((query) => query.dataset.key);
const keys = () => list(".query");
const opened = () => list(".query:has([aria-expanded=true])");
const focused = () => document.activeElement.closest(".query").dataset.key;
const choose = (name, value) => {
  const field = document.querySelector(`#filters [name=${name}]`);
  field.value = value;
  for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
};
const press = (key) => {
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  return focused();
};
found.first = keys();
choose("sort", "person");
choose("order", "down");
found.sorted = keys();
document.querySelector(".query button").click();
found.opened = opened();
found.address = location.hash;
found.steps = [focused(), ...["ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowUp"].map(press)];
for (let step = 0; step < 40; step += 1) press("ArrowDown");
found.last = focused();
document.querySelector(".query button").click();
found.closed = opened();
choose("method", "1");
found.leftOut = [keys().length, document.getElementById("count").textContent];
choose("method", "0");
document.getElementById("clear").click();
found.cleared = [keys(), location.hash];
document.body.dataset.found = JSON.stringify(found);
"""


@needs_browser
@pytest.mark.slow
def test_a_browser_sorts_opens_and_moves_as_it_is_told(crowd, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MAX_BYTES", 1000)
    path = tmp_path / "report.html"
    path.write_text(render_page(crowd(40, 2), []), encoding="utf-8")
    dom = browse(path, script=USE)
    found = json.loads(html.unescape(re.search('data-found="([^"]*)"', dom)[1]))
    names = [f"{pid}/{pid:04d}C0T{pid:05d}" for pid in range(40)]
    by_person, by_precision = names[::-1], names[::-1]  # the later a query, the later its match
    drawn = len(found["first"])
    assert 0 < drawn < 40
    assert found["first"] == by_precision[:drawn]
    assert found["sorted"][:5] == by_person[:5]
    assert found["opened"] == [names[39]]
    assert found["address"] == "#sort=person&order=down&open=39%2F0039C0T00039"
    assert found["steps"] == [names[place] for place in (39, 38, 37, 38, 39, 39)]
    assert found["last"] == names[0]  # the list was drawn on, as it is when one scrolls
    assert found["closed"] == []
    assert found["leftOut"] == [
        0,
        "To keep the page small, the queries of this method are not listed; their scores are in queries.csv.",
    ]
    assert found["cleared"] == [by_precision[:drawn], ""]


@needs_browser
@pytest.mark.slow
def test_a_browser_shows_the_first_match_behind_ten_wrong_ones(crowd, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render_page(crowd(12, 1), []), encoding="utf-8")
    dom = browse(path, "open=3/0003C0T00003&person=3")
    assert re.findall(r"(\d+)\. (?:✓|✗) (\w+)</span>", dom) == [
        *((str(rank), "wrong") for rank in range(1, 11)),
        ("14", "right"),
    ]
    assert "first match at rank 14" in dom
    assert "distance 9.877" in dom
    assert "<td>14, right</td><td>3/match3</td>" in dom


@needs_browser
@needs_driver
@pytest.mark.slow
def test_enter_opens_and_closes_the_query_that_arrow_keys_reached(crowd, keyboard, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render_page(crowd(12, 1), []), encoding="utf-8")
    keyboard.show(path)
    keyboard.run("document.querySelector('.query button').focus()")
    opened = "return [...document.querySelectorAll('.query:has([aria-expanded=true])')].map((item) => item.dataset.key)"
    for key, expected in (
        (keyboard.ENTER, ["11/0011C0T00011"]),  # the first of the list: its match comes last
        (keyboard.ENTER, []),
        (keyboard.DOWN, []),
        (keyboard.ENTER, ["10/0010C0T00010"]),
        (keyboard.ENTER, []),
    ):
        keyboard.press(key)
        assert keyboard.run(opened) == expected
