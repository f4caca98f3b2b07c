"""The rehearsal of faults: what is asked of a build after a fault, and the page."""

import sys
from pathlib import Path

import pytest

from tasks.tools.chaos.__main__ import page
from tasks.tools.chaos.build import Build, Ended, Row


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A checkout whose `tasks.tools.repro` writes the same `dvc.lock` every time."""
    build = Build(tmp_path)
    tools = build.root / "tasks/tools"
    tools.mkdir(parents=True)
    (tools / "repro.py").write_text("from pathlib import Path; Path('dvc.lock').write_text('a')")
    return build


def judge(build: Build, output: str, *, code: int = 1, reference: str = "a") -> tuple[str, ...]:
    row = build.judge(
        "fault", Ended(code, output, 1.0), reference=reference, says="full disk", fails=True
    )
    return row.problems


def test_a_fault_needs_a_line_an_exit_code_and_the_same_results_afterwards(build: Build) -> None:
    assert judge(build, "data/x: expected space, found a full disk\n") == ()
    assert judge(build, "full disk\n", code=0) == ("it should have failed",)
    assert judge(build, "full disk\nTraceback\n") == ("it printed a traceback",)
    assert judge(build, "ERROR: 28\n") == ("it said nothing about the fault",)
    assert judge(build, "full disk", reference="b") == ("the next build has other results",)


def test_the_fault_comes_at_the_first_line_that_matches(build: Build) -> None:
    seen = []
    ended = build.run(
        [sys.executable, "-c", "print('one'); print('two'); print('two')"],
        at="two",
        then=lambda: seen.append("fault"),
    )
    assert (ended.code, ended.output.split(), seen) == (0, ["one", "two", "two"], ["fault"])


def test_the_page_has_one_row_for_each_fault() -> None:
    rows = [Row("disk full", "exit 2", ()), Row("kills", "3 signals", ("other results",))]
    lines = page(rows, 1.0).splitlines()
    assert "| disk full | exit 2 | the same bytes |" in lines
    assert "| kills | 3 signals | other results |" in lines
