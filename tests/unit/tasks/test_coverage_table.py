"""The coverage table adds up files by package."""

from pathlib import Path
from typing import Any

import pytest

from mambatalk.files import write_json
from tasks.tools.coverage import FOLDER, command, table


def summary(statements: int, covered: int, branches: int, taken: int) -> dict[str, Any]:
    return {
        "summary": {
            "num_statements": statements,
            "covered_lines": covered,
            "num_branches": branches,
            "covered_branches": taken,
        }
    }


def test_files_are_added_up_by_package() -> None:
    files = {
        "mambatalk/metrics/srgr.py": summary(10, 5, 4, 1),
        "mambatalk/metrics/face.py": summary(30, 30, 0, 0),
        "flows/build.py": summary(60, 45, 0, 0),
        "/tmp/copy/tasks/speaker_hours.py": summary(9, 0, 0, 0),
    }
    rows = table({"files": files}).splitlines()[2:]
    assert rows == [
        "| `flows` | 60 | 75.0 % | 0 | – |",
        "| `mambatalk/metrics` | 40 | 87.5 % | 4 | 25.0 % |",
        "| **all** | 100 | 80.0 % | 4 | 25.0 % |",
    ]


def test_the_table_is_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(FOLDER / "report.json", {"files": {"tasks/ingest.py": summary(4, 3, 0, 0)}})
    command()
    out = capsys.readouterr().out
    assert "| **all** | 4 | 75.0 % | 0 | – |" in out
    assert (FOLDER / "table.md").read_text(encoding="utf-8") == out
