"""What a search found: a table for the screen, and files of JSON and CSV."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from utils.files import write_text
from utils.tables import format_table
from utils.unknown import UNKNOWN

from .find import Answer, Answers
from .page import escape_surrogates, write_page

NO_MATCH = "no match"
MAX_SHOWN = 20  # queries in the table for the screen


def write_results(answers: Answers, folder: Path) -> list[Path]:
    """Write search.json, search.csv and the page into a folder; returns the files, the page last."""
    paths = [folder / "search.json", folder / "search.csv"]
    write_text(f"{json.dumps(as_dict(answers), indent=2)}\n", paths[0])
    write_text(escape_surrogates(_as_csv(answers)), paths[1])
    return [*paths, write_page(answers, folder)]


def format_answers(answers: Answers) -> str:
    """Lay out the answers to the first queries."""
    rows = [row for answer in answers.answers[:MAX_SHOWN] for row in _rows_of_table(answer)]
    header = ["query", "rank", "tracklet", "camera", answers.measure, ""]
    text = format_table(header, rows, "<><>><")
    left_out = len(answers.answers) - MAX_SHOWN
    return f"{text}\n({left_out} more queries: --output writes all of them)" if left_out > 0 else text


def _rows_of_table(answer: Answer) -> Iterator[list[object]]:
    if answer.num_accepted == 0:
        yield [answer.query.key, "", NO_MATCH, "", "", ""]
    for rank, hit in enumerate(answer.hits, start=1):
        camera = "" if hit.tracklet.camera == UNKNOWN else hit.tracklet.camera
        beyond = "beyond the threshold" if answer.num_accepted is not None and rank > answer.num_accepted else ""
        query = answer.query.key if rank == 1 and answer.num_accepted != 0 else ""
        yield [query, rank, hit.tracklet.key, camera, f"{hit.value:.4f}", beyond]


def as_dict(answers: Answers) -> dict[str, Any]:
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
    """Return a row for each tracklet that was found; cells of what is not known are empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = ("rank", "key", "camera", answers.measure, "accepted")
    writer.writerow(["query", "match", *columns])
    for query in as_dict(answers)["queries"]:
        writer.writerows([query["key"], query["match"], *(hit[name] for name in columns)] for hit in query["found"])
    return file.getvalue()
