"""Show what a search found: a table for the screen, and search.html, search.csv and search.json."""

import functools
import json
from pathlib import Path
from typing import Any

from datasets.clips.decoding import THUMBNAIL_HW, read_thumbnail
from utils.files import write_text
from utils.html_page import render_page
from utils.text import format_csv, format_table
from utils.unknown import UNKNOWN

from .find import SIMILARITY

TEMPLATE = Path(__file__).parent / "page_template/search.html"
OTHERS = {"other data": "of_other_data", "another model": "of_other_model"}  # that a threshold may be of
MAX_IN_TABLE, MAX_ON_PAGE = 20, 200  # queries


def write_answers(answers: dict[str, Any], folder: Path) -> list[Path]:
    """Write all three files into a folder; returns them, the page last."""
    columns = ("rank", "key", "camera", "view", "time", answers["measure"], "accepted")
    of_query = ("key", "match", "num_accepted")
    rows = [["query", *of_query[1:], *columns]]
    for query in answers["queries"]:  # cells of what is not judged are empty
        own = [query[name] for name in of_query]
        rows += [[*own, *(hit[name] for name in columns)] for hit in query["found"]]
    contents = {
        folder / "search.json": f"{json.dumps(answers, indent=2)}\n",
        folder / "search.csv": format_csv(rows),
        folder / "search.html": render_answers(answers),
    }
    for path, content in contents.items():
        write_text(content, path)
    return list(contents)


def format_answers(answers: dict[str, Any]) -> str:
    """Lay out the answers to the first queries."""
    rows = []
    for query in answers["queries"][:MAX_IN_TABLE]:
        verdict = judge(query, answers["threshold"])
        if query["match"] is False:
            rows.append([query["key"], "", verdict.lower(), "", "", "", "", ""])
        for hit in query["found"]:
            camera = "" if hit["camera"] == UNKNOWN else hit["camera"]
            is_first = hit["rank"] == 1 and query["match"] is not False
            place = [hit["key"], camera, hit["view"], hit["time"], f"{hit[answers['measure']]:.4f}"]
            note = "beyond the threshold" if hit["accepted"] is False else verdict if is_first else ""
            rows.append([query["key"] if is_first else "", hit["rank"], *place, note])
    headers = ["query", "rank", "tracklet", "camera", "view", "time", answers["measure"], ""]
    text = format_table(headers, rows, "<><><<><")
    left_out = len(answers["queries"]) - MAX_IN_TABLE
    return f"{text}\n({left_out} more queries: --output writes all of them)" if left_out > 0 else text


def judge(query: dict[str, Any], threshold: dict[str, Any] | None) -> str:
    """Say how many tracklets were accepted for a query, and whether the threshold is of other data; '' if none was."""
    if threshold is None:
        return ""
    text = f"{query['num_accepted']:,} accepted" if query["match"] else "No match"
    others = [name for name, key in OTHERS.items() if threshold[key]]
    return f"{text}, by a threshold of {' and '.join(others)}" if others else text


def explain_judgement(answers: dict[str, Any]) -> str:
    """Say by what tracklets were accepted, how many strangers that lets through, and how many queries have no match."""
    if answers["measure"] == SIMILARITY:
        return "Tracklets are ranked by similarity to the words, without a threshold: the first need not fit them."
    threshold = answers["threshold"]
    if threshold is None:
        return "Everything is ranked and nothing is judged: --max_distance or --results says what is no match."
    distance, reason, rate, data = (threshold[key] for key in ("distance", "reason", "false_positive_rate", "data"))
    counts = f"{sum(not query['match'] for query in answers['queries'])} of {len(answers['queries'])}"
    text = f"Accepted up to a distance of {distance:.4g} ({reason}): {counts} queries have no match."
    if threshold["of_other_model"]:
        text += f" The threshold was measured with another model than {answers['checkpoint']}: it may not fit at all."
    if threshold["of_other_data"]:
        text += f" The threshold was measured on other data, {data}: it may accept more or fewer here."
    if rate is None:
        return text
    count = answers["tracklets_searched"]
    expected = f"{rate * count:,.0f}" if rate * count >= 10 else f"{rate * count:.2g}"
    return f"{text} If all {count:,} tracklets are of other people, {expected} are expected to be accepted for a query."


def render_answers(answers: dict[str, Any]) -> str:
    """Return a page that needs no network: every query with what was found; every string of the data is escaped."""
    height, width = THUMBNAIL_HW
    return render_page(
        TEMPLATE,
        answers,
        title="Search results",
        found=answers,
        judge=judge,
        judgement=explain_judgement(answers),
        shown=answers["queries"][:MAX_ON_PAGE],
        read_picture=functools.cache(read_thumbnail),
        height=height,
        width=width,
    )
