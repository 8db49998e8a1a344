"""The page: its numbers, its escaping, its size, and what a browser makes of it."""

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

from processor.report import page, thumbnails, write, write_report
from processor.report.figures import PageFigure
from processor.report.page import render_page
from processor.report.page_data import QueryMaps, collect_page
from processor.report.tables import results_as_dict
from processor.results import VISUAL

ORIGIN = {"checkpoint": "logs/all/checkpoint_best.pth", "data": "data/AG-VPReID"}
HOSTILE = "</script><script>document.title='taken'</script><b>&amp;'\"\u2028"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package chromium)")


@pytest.fixture
def collect(run):
    """``collect(evaluation)``: what the page shows of an evaluation, by default of both directions."""

    def build(evaluation=None, origin=ORIGIN):
        evaluation = evaluation or run()
        results = {**results_as_dict(evaluation, origin), "verification": [], "breakdown": []}
        return collect_page(evaluation, results, origin)

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


def browse(path, fragment=""):
    """The page as a browser builds it for a fragment of the address."""
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


def test_rows_that_depend_on_other_queries_say_so(run, collect):
    data = collect(run(cases=("case1",), tracklets=1))
    rows = data.results["results"]
    assert "uses the whole query set" not in render_page(data, [])
    changed = {**data.results, "results": [{**rows[0], "uses_whole_query_set": True}, *rows[1:]]}
    assert render_page(replace(data, results=changed), []).count("uses the whole query set</span>") == 1


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
        query, distances = result.case.query[ranked.query], result.distances[VISUAL].matrix()[ranked.query]
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
    used = [row[-1] for row in shown["tracklets"]] + [index for frames in shown["frames"].values() for index in frames]
    assert sorted(used) == list(range(len(shown["pictures"])))
    with Image.open(io.BytesIO(base64.b64decode(shown["pictures"][0]))) as image:
        assert (image.format, image.size) == ("WEBP", (shown["width"], shown["height"]))
    (direction,) = data.directions
    assert thumbnails.spread_frames(direction.case.query[0], 6) == list(direction.case.query[0].frame_paths)
    assert thumbnails.spread_frames(direction.case.query[0], 2) == [
        direction.case.query[0].frame_paths[i] for i in (1, 3)
    ]


def test_a_small_page_has_pictures_as_far_as_there_is_room(run, collect, monkeypatch):
    data = collect(run(cases=("case1",)))
    largest = page.MAX_BYTES
    whole = embedded(render_page(data, []))
    for room in (2000, 500, 0):
        monkeypatch.setattr(page, "MAX_BYTES", len(page._as_json({**whole, "pictures": []})) + room)
        small = embedded(render_page(data, []))
        assert len(page._as_json(small)) < page.MAX_BYTES + max(map(len, whole["pictures"])) < largest
        assert 0 < len(small["pictures"]) < len(whole["pictures"])
    monkeypatch.setattr(page, "MAX_BYTES", 0)
    none = embedded(render_page(data, []))
    assert none["pictures"] == []
    assert none["frames"] == {}
    assert {row[-1] for row in none["tracklets"]} == {None}


def test_the_sharpest_form_that_fits_is_chosen(run):
    (result,) = run(cases=("case1",), tracklets=1).cases
    frames = [thumbnails.middle_frame(one) for one in result.case.query]
    sizes = [sum(len(thumbnails._encode_frame(path, form)) for path in frames) for form in thumbnails.FORMS]
    for max_bytes in (sizes[0], sizes[1], sizes[-1], 1):
        fitting = [form for form, size in zip(thumbnails.FORMS, sizes, strict=True) if size <= max_bytes]
        assert thumbnails.choose_form(frames, max_bytes) == [*fitting, thumbnails.FORMS[-1]][0]


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
    data = collect(rename(run(cases=("case1",)), HOSTILE))
    (direction,) = data.directions
    queries = direction.rankings[VISUAL]
    maps = {
        queries[0].query: QueryMaps(
            attention=(0.25, 0.75),
            frames=(np.zeros((64, 32, 3), np.uint8),),
            match=np.zeros((64, 32, 3), np.uint8),
        )
    }
    data = replace(data, directions=[replace(direction, maps=maps)])
    path = tmp_path / "report.html"
    path.write_text(render_page(data, []), encoding="utf-8")

    keys = {query.query: direction.case.query[query.query].key for query in queries}
    by_precision = sorted(queries, key=lambda query: query.average_precision)
    dom = browse(path)
    assert shown_keys(dom) == [keys[query.query] for query in by_precision]
    assert f"{len(queries)} of {len(queries)} queries" in dom
    assert "<title>Evaluation results</title>" in dom  # no name ran as a script
    verdicts = sum(
        direction.case.gallery[index].pid == direction.case.query[query.query].pid
        for query in queries
        for index in query.nearest
    )
    assert dom.count('<li class="right">') == len(re.findall(r"\d\. ✓ right</span>", dom)) == verdicts
    wrong = sum(len(query.nearest) for query in queries) - verdicts
    assert dom.count('<li class="wrong">') == len(re.findall(r"\d\. ✗ wrong</span>", dom)) == wrong

    pid = direction.case.query[queries[0].query].pid
    dom = browse(path, f"sort=person&order=down&person={pid}")
    own = [query for query in queries if direction.case.query[query.query].pid == pid]
    assert shown_keys(dom) == [keys[query.query] for query in own]
    assert f"{len(own)} of {len(queries)} queries" in dom
    assert shown_keys(browse(path, "camera=4")) == [keys[query.query] for query in by_precision]
    assert shown_keys(browse(path, "match=10.5-&person=999")) == []

    dom = browse(path, f"open={quote(keys[queries[0].query])}")
    assert dom.count('aria-expanded="true"') == 1
    assert dom.count("of 6</li>") == 6  # its frames
    assert "Attention over the frames" in dom
    assert "relevance, ranked first" in dom
