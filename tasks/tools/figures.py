"""Write the README's table of results from the last build: `python -m tasks.tools.figures`.

The table is that of the report: the same metrics, units and digits, with the checks, and with the
clips, seed, commit and processor behind them.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from tabulate import tabulate

from mambatalk.errors import InputError
from mambatalk.files import atomic_file, read_json
from mambatalk.metrics.catalogue import CATALOGUE, footnotes, mark, metric_value
from mambatalk.reporting.text import count_of
from tasks.report_page.numbers import ROWS, columns
from tasks.runtime.command import run_command
from tasks.runtime.origin import origin_of_build
from tasks.runtime.paths import Paths

README: Final = Path("README.md")
BEGIN: Final = "<!-- figures: written by `python -m tasks.tools.figures` from the last build -->"
END: Final = "<!-- end of figures -->"


def figures(evaluation: dict[str, Any], origin: dict[str, str]) -> str:
    """Return the corrected metrics of all rows, the checks, and their origin as Markdown.

    Args:
        evaluation: Content of `metrics/metrics.json`.
        origin: Result of `origin_of_build`.

    """
    metrics = [CATALOGUE[key] for key, variant in columns(evaluation) if variant == "corrected"]
    headings = ["", *(f"{metric.heading}{mark(metric, evaluation)}" for metric in metrics)]
    lines = []
    for row, name in ROWS.items():
        cells = [
            name,
            *(metric.format(metric_value(evaluation, row, metric.key)) for metric in metrics),
        ]
        lines.append([f"**{cell}**" for cell in cells] if row == "model" else cells)
    alignment = ["left", *["right"] * len(metrics)]
    table = tabulate(lines, headings, tablefmt="github", colalign=alignment, disable_numparse=True)

    notes = "\n".join(f"{sign} {text}.  " for sign, text in footnotes(evaluation).items())
    statuses = Counter(one["status"] for one in evaluation["checks"])
    answers = ", ".join(
        f"{statuses[status]} {status}" for status in ("passed", "failed", "not shown")
    )
    behind = (
        f"Corrected metrics on {count_of(evaluation['clips'], 'held-out clip')}; of"
        f" {count_of(len(evaluation['checks']), 'check')} in the report {answers}. One seed"
        f" ({origin['seed']}), commit {origin['commit']}, {origin['processor']}."
    )
    return "\n\n".join(filter(None, (table, notes.rstrip(), behind)))


def replaced(text: str, block: str) -> str:
    """Return a document with the text between the marks replaced.

    Raises:
        InputError: The marks are not there, once each and in order.

    """
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended or BEGIN in rest or END in after:
        raise InputError(
            README,
            f"expected one pair of lines {BEGIN} and {END}, found another number of them",
            "restore them from git",
        )
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def command() -> None:
    """Replace the table in README.md by that of the last build, and print it."""
    paths = Paths()
    if not paths.evaluation.is_file():
        raise InputError(paths.evaluation, "expected metrics, found no such file", "run make repro")
    block = figures(read_json(paths.evaluation), origin_of_build(paths.root))
    text = replaced(README.read_text(encoding="utf-8"), block)
    with atomic_file(README) as temporary:
        temporary.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{block}\n")


if __name__ == "__main__":
    run_command(command, "tasks.tools.figures", __doc__)
