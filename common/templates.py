"""Templates by jinja2: a name that they are not given is an error."""

from functools import cache
from pathlib import Path

import jinja2

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


@cache
def templates(kind: str, autoescape: bool = True, **options: bool) -> jinja2.Environment:
    """Return the templates of the folder `kind`; `options` are jinja2's."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES / kind),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=autoescape,
        **options,
    )
