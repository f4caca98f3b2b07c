"""The decision as HTML that loads nothing: a page of its own, and a section of the build report."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mambatalk.files import atomic_file
from mambatalk.metrics.catalogue import CATALOGUE
from mambatalk.reporting.html import render
from tasks.gate.evidence import pictures
from tasks.gate.rules import CHALLENGER, CHAMPION, Status
from tasks.runtime.paths import Paths

if TYPE_CHECKING:
    from tasks.gate.decision import Decision

TEMPLATE: Final = Path(__file__).with_name("page.html")
SECTION: Final = Path(__file__).with_name("report_section.html")
MARKS: Final[dict[Status, str]] = {
    "passed": "yes",
    "failed": "no",
    "unclear": "open",
    "not run": "open",
    "for information": "soft",
}
"""Class of a status in the style sheet."""
ROWS: Final = {
    CHALLENGER: "challenger",
    CHAMPION: "champion",
    "ground_truth": "ground truth",
    "noise_floor": "noise floor",
    "mean_pose": "mean pose",
    "random_clip": "random clip",
}
_MAX_PICTURES: Final = 2
_NAVIGATION: Final = '<nav aria-label="Sections"><ul>'
_MAIN: Final = "<main>"
_TITLES: Final = {
    "promote": "Promote version {version}",
    "reject": "Reject version {version}",
    "inconclusive": "Inconclusive: version {version} is not shown to be better",
}


def write_page(path: Path, decision: "Decision", paths: Paths) -> None:
    """Write the page of a decision.

    Args:
        path: File to write.
        decision: The decision.
        paths: Paths of the checkout, whose rendered pictures are embedded.

    """
    page = render(TEMPLATE, page_context(decision, paths))
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def write_report(path: Path, decision: "Decision", paths: Paths) -> None:
    """Write a copy of the build report whose first section is the decision.

    The report itself stays as it is: it is an output of DVC, with its digest in `dvc.lock`, and the
    build has ended when the gate decides.

    Args:
        path: File to write.
        decision: The decision.
        paths: Paths of the checkout. Nothing is written if it has no report.

    """
    if not paths.report.is_file():
        return
    report = paths.report.read_text(encoding="utf-8")
    section = render(SECTION, _rules_context(decision))
    link = '<li><a href="#promotion">Promotion</a></li>'
    for place, content in ((_NAVIGATION, link), (_MAIN, section)):
        report = report.replace(place, f"{place}\n{content}", 1)
    with atomic_file(path) as temporary:
        temporary.write_text(report, encoding="utf-8")


def _rules_context(decision: "Decision") -> dict[str, Any]:
    groups: dict[str, list[Any]] = {}
    for rule in decision.rules:
        groups.setdefault(rule.group, []).append(rule)
    return {
        "decision": decision,
        "title": _TITLES[decision.verdict].format(version=decision.version),
        "groups": groups,
        "marks": MARKS,
    }


def page_context(decision: "Decision", paths: Paths) -> dict[str, Any]:
    """Return the variables of the template."""
    rows = [row for row in ROWS if any(row in values for values in decision.values.values())]
    metrics = []
    for key, values in decision.values.items():
        metric = CATALOGUE[key]
        cells = [metric.format(values.get(row)) for row in rows]
        metrics.append((metric.heading, metric.better, cells))
    return {
        **_rules_context(decision),
        "rows": {row: ROWS[row] for row in rows},
        "metrics": metrics,
        "pictures": [
            (picture.stem, base64.b64encode(picture.read_bytes()).decode())
            for picture in pictures(paths)[:_MAX_PICTURES]
        ],
        "checkout": str(paths.root),
    }
