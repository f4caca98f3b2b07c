"""Great Expectations' Data Docs as one page that needs no network.

Great Expectations renders the sections. Its own page around them loads styles and scripts from
several sites, is blank without them, and contains the time of the run. The page here contains
nothing but the data and the rules, so that the same data and rules give the same bytes.
"""

import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mambatalk.files import atomic_file

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

_STYLE: Final = (Path(__file__).parent / "data_docs.css").read_text(encoding="utf-8")
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="lead">{lead}</p>
<nav>{navigation}</nav>
{sections}
</body>
</html>
"""


def write_page(
    path: Path, result: "ExpectationSuiteValidationResult", *, title: str, lead: str
) -> None:
    """Write a validation result as a page.

    Args:
        path: File to write.
        result: Result of a validation.
        title: Title of the page.
        lead: First sentence of the page.

    """
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaSectionView

    document = ValidationResultsPageRenderer().render(result)
    view = DefaultJinjaSectionView()
    sections = []
    links = []
    failed = {
        one.expectation_config.kwargs.get("column")
        for one in result.results
        if one.expectation_config and not one.success
    }
    for index, section in enumerate(document.sections, 1):
        # Collapsed blocks contain the time of the run and random identifiers.
        section.content_blocks = [
            block for block in section.content_blocks if block.content_block_type != "collapse"
        ]
        sections.append(
            view.render({"section": section.to_json_dict(), "section_loop": {"index": index}})
        )
        mark = ' class="failed"' if section.section_name in failed else ""
        links.append(f'<a href="#section-{index}"{mark}>{escape(section.section_name)}</a>')
    # Remove links to other pages of Great Expectations' site, which is not built.
    body = re.sub(r'<a href="\.\./[^"]*"\s*>([^<]*)</a>', r"\1", "\n".join(sections))
    page = _PAGE.format(
        title=escape(title),
        lead=escape(lead),
        style=_STYLE,
        navigation="\n".join(links),
        sections=body,
    )
    with atomic_file(path) as temporary:
        temporary.write_text(re.sub(r"[ \t]*\n(\s*\n)*", "\n", page), encoding="utf-8")
