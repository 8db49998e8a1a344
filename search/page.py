"""The page, search.html: one file without a network that shows every query with what was found for it."""

from pathlib import Path
from typing import Any

from processor.report.templates import render_template
from processor.report.thumbnails import PictureTable, choose_form
from utils.files import write_text

from .find import Answer, Answers, Shown

PAGE_NAME = "search.html"
MAX_BYTES = 18_000_000  # of the pictures
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
    tracklets = [tracklet for answer in shown for tracklet in (answer.query, *(hit.tracklet for hit in answer.hits))]
    pictures = PictureTable(choose_form([one.picture for one in tracklets if one.picture], MAX_BYTES), MAX_BYTES)
    height, width = pictures.form.size_hw
    return render_template(
        "search",
        title="Search results",
        answers=[_draw(answer, pictures) for answer in shown],
        num_queries=len(answers.answers),
        num_searched=answers.num_searched,
        num_unmatched=answers.num_unmatched,
        measure=answers.measure,
        threshold=answers.threshold,
        height=height,
        width=width,
    )


def _draw(answer: Answer, pictures: PictureTable) -> dict[str, Any]:
    hits = [
        {"rank": rank, "value": hit.value, **_picture(hit.tracklet, pictures)}
        for rank, hit in enumerate(answer.hits, start=1)
    ]
    num_accepted = answer.num_accepted or 0
    return {"query": _picture(answer.query, pictures), "accepted": hits[:num_accepted], "others": hits[num_accepted:]}


def _picture(tracklet: Shown, pictures: PictureTable) -> dict[str, Any]:
    """Return a tracklet with its picture in base64; None if there is none, it cannot be read, or no room is left."""
    index = pictures.add_frame(tracklet.picture) if tracklet.picture else None
    return {"tracklet": tracklet, "picture": None if index is None else pictures.pictures[index]}
