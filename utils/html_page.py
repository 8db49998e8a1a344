"""Render HTML pages: one template environment, which escapes every string of the data, and one style for all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from .text import describe_origin

SHARED = Path(__file__).parent / "page_template"


def render_page(template: Path, origin: Mapping[str, str], **values: Any) -> str:
    """Return a page as one HTML file, with the shared style and that of the .css file beside the template.

    The template extends base.html, whose title names run, data and date; a value that it misses is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style_files = (SHARED / "shared.css", template.with_suffix(".css"))
    styles = "".join(path.read_text(encoding="utf-8") for path in style_files)
    return environment.get_template(template.name).render(
        styles=styles, origin=origin, about=describe_origin(origin), **values
    )
