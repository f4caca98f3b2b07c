"""One set of servers for all tests of this folder that run in one process, and a page of a run."""

import os
import re
import resource
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.operations.servers import Servers, running_servers

OPTION = "--last-run"
STARTED = pytest.StashKey[tuple[float, str]]()
"""Time and commit."""
RESULTS = ("passed", "failed", "error", "skipped")
MAX_CAUSE = 300
"""Characters of an error message."""


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder: Path = tmp_path_factory.mktemp("servers")
    with running_servers(folder) as running:
        yield running


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, metavar="PAGE", help="Write a table of the results to this page.")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(OPTION) is not None:
        config.stash[STARTED] = time.monotonic(), _commit()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    page = config.getoption(OPTION)
    if page is not None:
        started, commit = config.stash[STARTED]
        minutes = (time.monotonic() - started) / 60
        text = "\n".join(_page(terminalreporter.stats, minutes, commit))
        (config.rootpath / page).write_text(text + "\n", encoding="utf-8")


def _page(stats: dict[str, list[pytest.TestReport]], minutes: float, commit: str) -> Iterator[str]:
    found = {
        report.nodeid: (result, report) for result in RESULTS for report in stats.get(result, [])
    }
    results = [result for result, _ in found.values()]
    counts = [f"{results.count(result)} {result}" for result in RESULTS if result in results]
    yield "# The last run of `make test-operations`"
    yield ""
    yield "Written by the command; [operations.md](operations.md#recovery) explains the cases."
    yield ""
    yield f"- {datetime.now(UTC):%Y-%m-%d}, commit {commit}"
    yield f"- {_processor()}; load average {os.getloadavg()[2]:.1f} over the last 15 minutes"
    yield (
        f"- {', '.join(counts)} in {minutes:.1f} minutes, with at least "
        f"{_processor_minutes():.1f} minutes of processor time"
    )
    yield ""
    yield "| case | result | seconds |"
    yield "|---|---|---|"
    for test, (result, report) in sorted(found.items()):
        # Cases that run at the same time measure themselves.
        seconds = dict(report.user_properties).get("seconds", report.duration)
        yield f"| {_name(test)} | {result} | {seconds:.0f} |"
    failed = {test: report for test, (result, report) in found.items() if result in RESULTS[1:3]}
    if failed:
        yield ""
        yield "What failed:"
        yield ""
    for test, report in sorted(failed.items()):
        yield f"- {_name(test)}: `{_cause(report)}`"


def _name(test: str) -> str:
    """Return `recovery: worker killed` for the test's id."""
    path, _, test = test.split("@")[0].partition("::test_")
    of_many = re.search(r"\[(.+)\]", test)
    words = of_many[1] if of_many else test
    return f"{Path(path).stem.removeprefix('test_')}: {re.sub('[_-]', ' ', words)}"


def _cause(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash else str(report.longrepr)
    return message.splitlines()[0][:MAX_CAUSE].replace("`", "'")


def _commit() -> str:
    describe = ["git", "describe", "--always", "--dirty=, with changes"]
    return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*: (.+)", text, re.MULTILINE)
    extension = " with AVX-512" if " avx512f" in text else ""
    return f"{os.cpu_count()} processors, {model[1] if model else 'unknown'}{extension}"


def _processor_minutes() -> float:
    """Return the time of this process and of those that ended and were waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) / 60
