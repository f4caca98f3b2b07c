"""Print the coverage of each package as a Markdown table: `python -m tasks.tools.coverage`.

`make coverage` ends with it. It reads `runs/coverage/report.json` and also writes the table to
`runs/coverage/table.md`.
"""

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tasks.runtime.command import run_command

FOLDER: Final = Path("runs/coverage")


@dataclass
class Count:
    """Statements and branches of some files, and how many of them the tests ran."""

    statements: int = 0
    covered_statements: int = 0
    branches: int = 0
    covered_branches: int = 0

    def add(self, summary: dict[str, Any]) -> None:
        """Add the summary of one file, as coverage.py writes it."""
        self.statements += summary["num_statements"]
        self.covered_statements += summary["covered_lines"]
        self.branches += summary["num_branches"]
        self.covered_branches += summary["covered_branches"]

    def row(self, name: str) -> str:
        """Return a row of the table."""
        statements = _percent(self.covered_statements, self.statements)
        branches = _percent(self.covered_branches, self.branches)
        return f"| {name} | {self.statements} | {statements} | {self.branches} | {branches} |"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def table(report: dict[str, Any]) -> str:
    """Return the table of a report of `coverage json`: one row per package, and the total.

    Files outside the checkout are left out: the examples of the guides, in copies that tests make.
    """
    packages: defaultdict[str, Count] = defaultdict(Count)
    total = Count()
    for file, values in sorted(report["files"].items()):
        if Path(file).is_absolute():
            continue
        folders = Path(file).parts[:-1]
        packages["/".join(folders[:2])].add(values["summary"])
        total.add(values["summary"])
    lines = ["| package | statements | covered | branches | covered |", "|---|---:|---:|---:|---:|"]
    lines += [count.row(f"`{package}`") for package, count in packages.items()]
    lines.append(total.row("**all**"))
    return "\n".join(lines)


def command() -> None:
    """Print the table of the last run, and write it."""
    text = table(json.loads((FOLDER / "report.json").read_text(encoding="utf-8")))
    (FOLDER / "table.md").write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    run_command(command, "tasks.tools.coverage", __doc__)
