"""Pages from templates. Styles and pictures are embedded, so that pages need no network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mambatalk.reporting.text import count_of


def render(template: Path, values: Mapping[str, Any]) -> str:
    """Fill a Jinja template.

    Args:
        template: File of the template, which may `include "style.css"`.
        values: Variables of the template. All of them are escaped; a missing one raises.
            The filter `count_of` writes a number with its noun, `grouped` one alone.

    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count_of"] = count_of
    environment.filters["grouped"] = "{:,}".format
    return environment.get_template(template.name).render(values)
