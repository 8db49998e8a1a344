"""The page, search.html: one file without a network that shows every query with what was found for it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets.clips.thumbnails import THUMBNAIL_HW, read_thumbnail
from utils.files import write_text
from utils.html_page import render_page as render_html

from .find import Answer, Answers, Shown

ReadPicture = Callable[[str], str | None]
PAGE_NAME = "search.html"
TEMPLATE = Path(__file__).parent / "page_template/search.html"
MAX_QUERIES = 200  # on the page


def write_page(answers: Answers, folder: Path) -> Path:
    """Write the page into a folder; returns its file."""
    write_text(escape_surrogates(render_page(answers)), folder / PAGE_NAME)
    return folder / PAGE_NAME


def escape_surrogates(text: str) -> str:
    """Return a text that can be written as UTF-8: names of files may hold bytes that are none."""
    return text.encode(errors="backslashreplace").decode()


def render_page(answers: Answers) -> str:
    """Return the page as HTML; every string of the data is escaped."""
    shown = answers.answers[:MAX_QUERIES]
    read_picture = functools.cache(read_thumbnail)
    height, width = THUMBNAIL_HW
    return render_html(
        TEMPLATE,
        title="Search results",
        answers=[_draw(answer, read_picture) for answer in shown],
        num_queries=len(answers.answers),
        num_searched=answers.num_searched,
        num_unmatched=answers.num_unmatched,
        measure=answers.measure,
        threshold=answers.threshold,
        height=height,
        width=width,
    )


def _draw(answer: Answer, read_picture: ReadPicture) -> dict[str, Any]:
    hits = [
        {"rank": rank, "value": hit.value, **_picture(hit.tracklet, read_picture)}
        for rank, hit in enumerate(answer.hits, start=1)
    ]
    num_accepted = answer.num_accepted or 0
    return {
        "query": _picture(answer.query, read_picture),
        "accepted": hits[:num_accepted],
        "others": hits[num_accepted:],
    }


def _picture(tracklet: Shown, read_picture: ReadPicture) -> dict[str, Any]:
    """Return a tracklet with its picture in base64; None if there is none, or it cannot be read."""
    return {"tracklet": tracklet, "picture": read_picture(tracklet.picture) if tracklet.picture else None}
