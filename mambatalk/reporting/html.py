"""Templates to pages that hold all they show: styles and pictures inside, no script, nothing loaded
from anywhere.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def render(template: Path, values: Mapping[str, Any]) -> str:
    """Fill a Jinja template, which may `include "style.css"`; every value is escaped, and a missing
    one is an error.
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
    return environment.get_template(template.name).render(values)
