"""Show what a search found: a table for the screen, and search.html, search.csv and search.json."""

import csv
import functools
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets.clips.thumbnails import THUMBNAIL_HW, read_thumbnail
from utils.files import write_text
from utils.html_page import render_page
from utils.tables import format_table
from utils.unknown import UNKNOWN

from .find import Answer, Answers

TEMPLATE = Path(__file__).parent / "page_template/search.html"
NO_MATCH = "no match"
MAX_IN_TABLE, MAX_ON_PAGE = 20, 200  # queries


def write_answers(answers: Answers, folder: Path) -> list[Path]:
    """Write all three files into a folder; returns them, the page last."""
    contents = {
        folder / "search.json": f"{json.dumps(answers_as_dict(answers), indent=2)}\n",
        folder / "search.csv": _as_csv(answers),
        folder / "search.html": render_answers(answers),
    }
    for path, content in contents.items():
        write_text(content, path)
    return list(contents)


def format_answers(answers: Answers) -> str:
    """Lay out the answers to the first queries."""
    rows = [row for answer in answers.answers[:MAX_IN_TABLE] for row in _rows_of_table(answer)]
    text = format_table(["query", "rank", "tracklet", "camera", "view", "time", answers.measure, ""], rows, "<><><<><")
    left_out = len(answers.answers) - MAX_IN_TABLE
    return f"{text}\n({left_out} more queries: --output writes all of them)" if left_out > 0 else text


def _rows_of_table(answer: Answer) -> Iterator[list[object]]:
    if answer.num_accepted == 0:
        yield [answer.query.key, "", NO_MATCH, "", "", "", "", ""]
    for rank, hit in enumerate(answer.hits, start=1):
        found = hit.tracklet
        camera = "" if found.camera == UNKNOWN else found.camera
        beyond = "beyond the threshold" if answer.num_accepted is not None and rank > answer.num_accepted else ""
        query = answer.query.key if rank == 1 and answer.num_accepted != 0 else ""
        yield [query, rank, found.key, camera, found.view, found.time, f"{hit.value:.4f}", beyond]


def answers_as_dict(answers: Answers) -> dict[str, Any]:
    """Return the answers as plain data; 'accepted' and 'match' are null where nothing is judged."""
    return {
        "measure": answers.measure,
        "tracklets_searched": answers.num_searched,
        "threshold": answers.threshold and asdict(answers.threshold),
        "queries": [
            {
                **asdict(answer.query),
                "match": None if answer.num_accepted is None else answer.num_accepted > 0,
                "found": [
                    {
                        "rank": rank,
                        **asdict(hit.tracklet),
                        answers.measure: hit.value,
                        "accepted": None if answer.num_accepted is None else rank <= answer.num_accepted,
                    }
                    for rank, hit in enumerate(answer.hits, start=1)
                ],
            }
            for answer in answers.answers
        ],
    }


def _as_csv(answers: Answers) -> str:
    """Return a row for each tracklet that was found; cells of what is not judged are empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = ("rank", "key", "camera", "view", "time", answers.measure, "accepted")
    writer.writerow(["query", "match", *columns])
    for query in answers_as_dict(answers)["queries"]:
        writer.writerows([query["key"], query["match"], *(hit[name] for name in columns)] for hit in query["found"])
    return file.getvalue()


def render_answers(answers: Answers) -> str:
    """Return a page that needs no network: every query with what was found; every string of the data is escaped."""
    height, width = THUMBNAIL_HW
    return render_page(
        TEMPLATE,
        title="Search results",
        found=answers,
        shown=answers.answers[:MAX_ON_PAGE],
        read_picture=functools.cache(read_thumbnail),
        height=height,
        width=width,
    )
