"""Great Expectations' Data Docs as one page that needs no network.

The sections are rendered by Great Expectations itself; its page around them loads styles and
scripts from several sites, is blank without them, and bears the time of day. Here they stand in a
page of our own, which is the same for the same data.
"""

import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mambatalk.files import atomic_file

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

_STYLE: Final = """
:root { --ink: #1d2733; --soft: #5b6b7c; --line: #dde3ea; --ground: #f5f7fa; --good: #16794c; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf1; --soft: #9aa8b8; --line: #313c49; --ground: #171d24; --good: #4cc38a; --bad: #ff8a80; }
  body { background: #0f1419; }
}
body { margin: 0 auto; max-width: 75rem; padding: 2rem 1.5rem; color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } .lead { color: var(--soft); margin: .25rem 0 1.5rem; }
h5 { font-size: 1.05rem; margin: 0; } h6, .h6 { font-size: .9rem; margin: 0; font-weight: 600; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin-bottom: 1.5rem; }
nav a, .badge { background: var(--ground); border: 1px solid var(--line); border-radius: .4rem; padding: .05rem .5rem; }
nav a { color: inherit; text-decoration: none; } nav a.failed { border-color: var(--bad); color: var(--bad); }
.ge-section { margin-bottom: 1.75rem; } .alert { border-bottom: 2px solid var(--line); padding-bottom: .3rem; }
table { border-collapse: collapse; width: 100%; margin-top: .5rem; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .6rem; text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; }
td table { width: auto; margin: .6rem 0 0; background: var(--ground); font-size: .85rem; }
.text-success { color: var(--good); } .text-danger { color: var(--bad); } .text-warning { color: #a86400; }
.fa-check-circle::before { content: "\\2714"; } .fa-times::before { content: "\\2718"; }
.fa-exclamation-triangle::before { content: "\\26A0"; } i { font-style: normal; }
[hidden], .d-none { display: none; } .show-scrollbars { overflow-x: auto; }
"""
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
    """Write one validation result as a page that opens offline; bytes depend on data and rules
    alone.
    """
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaSectionView

    document = ValidationResultsPageRenderer().render(result)
    view, sections, links = DefaultJinjaSectionView(), [], []
    failed = {
        one.expectation_config.kwargs.get("column")
        for one in result.results
        if one.expectation_config and not one.success
    }
    for index, section in enumerate(document.sections, 1):
        # Collapsed blocks hold the time of the run and identifiers drawn at random.
        section.content_blocks = [
            block for block in section.content_blocks if block.content_block_type != "collapse"
        ]
        sections.append(
            view.render({"section": section.to_json_dict(), "section_loop": {"index": index}})
        )
        mark = ' class="failed"' if section.section_name in failed else ""
        links.append(f'<a href="#section-{index}"{mark}>{escape(section.section_name)}</a>')
    # Links to pages of the site that is not built.
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
