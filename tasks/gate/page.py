"""The decision as one HTML page that loads nothing: verdict, rules, numbers, drift, pictures."""

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


def page_context(decision: "Decision", paths: Paths) -> dict[str, Any]:
    """Return the variables of the template."""
    groups: dict[str, list[Any]] = {}
    for rule in decision.rules:
        groups.setdefault(rule.group, []).append(rule)
    rows = [row for row in ROWS if any(row in values for values in decision.values.values())]
    return {
        "decision": decision,
        "title": _TITLES[decision.verdict].format(version=decision.version),
        "groups": groups,
        "marks": MARKS,
        "rows": {row: ROWS[row] for row in rows},
        "metrics": [
            (
                CATALOGUE[key].heading,
                CATALOGUE[key].better,
                [_cell(key, values, row) for row in rows],
            )
            for key, values in decision.values.items()
        ],
        "pictures": [
            (picture.stem, base64.b64encode(picture.read_bytes()).decode())
            for picture in pictures(paths)[:_MAX_PICTURES]
        ],
        "checkout": str(paths.root),
    }


def _cell(key: str, values: dict[str, float | None], row: str) -> str:
    return CATALOGUE[key].format(values.get(row))
