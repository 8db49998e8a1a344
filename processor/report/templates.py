"""What the HTML pages share: one template environment, which escapes every string of the data, and one style."""

from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).parent / "page_template"


def render_template(name: str, **values: Any) -> str:
    """Return a page as HTML, made from its template ``name``.html and, beside the shared style, from ``name``.css."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    styles = "".join((TEMPLATES / f"{style}.css").read_text(encoding="utf-8") for style in ("shared", name))
    return environment.get_template(f"{name}.html").render(styles=styles, **values)
