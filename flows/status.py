"""Which model is champion and what the flows do: `python -m flows.status`, `--html FILE`.

Champion, since when, by which numbers with intervals, from which data and commit; the last runs;
what runs where; what is next; and what needs a person. The model registry is read at
`MLFLOW_TRACKING_URI` and the flows at `PREFECT_API_URL`.

Exit code 0; 2 if the registry does not answer.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from flows.errors import errors_in_one_line
from flows.prefect_state import FlowState, PrefectState, read_prefect
from mambatalk.files import atomic_file
from mambatalk.reporting.html import render
from mambatalk.reporting.text import count_of
from mambatalk.serving.signature import PUBLIC_KEY
from tasks.registry.state import (
    RegistryState,
    VersionState,
    needs_of_registry,
    read_registry,
    rows_of_history,
)
from tasks.registry.store import registry_address

TEMPLATE: Final = Path(__file__).with_name("status.html")
_VERSIONS: Final = 8
_CHANGES: Final = 8


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table, on the terminal and on the page."""

    title: str
    note: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Status:
    """Everything that the status shows."""

    headline: str
    facts: list[tuple[str, str]]
    needs: list[str]
    sections: list[Section]
    written: str


def read_status() -> Status:
    """Read the registry and the Prefect server.

    Raises:
        RegistryError: The registry does not answer.

    """
    registry = read_registry()
    prefect = read_prefect()
    champion = registry.version(registry.aliases.champion)
    headline = "There is no champion"
    if champion:
        headline = f"Version {champion.version} is the champion"
    return Status(
        headline=headline,
        facts=_facts(registry, prefect, champion),
        needs=[*needs_of_registry(registry), *_unsigned(champion), *prefect.needs],
        sections=list(_sections(registry, prefect)),
        written=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _facts(
    registry: RegistryState, prefect: PrefectState, champion: VersionState | None
) -> list[tuple[str, str]]:
    facts = [("Registry", registry_address()), ("Prefect", prefect.server)]
    aliases = registry.aliases
    others = [("Challenger", aliases.challenger), ("Previous", aliases.previous)]
    facts += [(name, f"version {version}" if version else "none") for name, version in others]
    if champion is None:
        return facts
    tags = champion.tags
    changed = ", with uncommitted changes" if tags.get("git_dirty") == "true" else ""
    return [
        ("Since", registry.champion_since or "unknown: its alias was moved by hand"),
        ("Data", f"snapshot {tags.get('snapshot_digest', 'unknown')[:12]}"),
        ("Data checks", tags.get("quality_verdict", "not run")),
        ("Code", f"commit {tags.get('git_commit', 'unknown')[:12]}{changed}"),
        ("Bundle", tags.get("bundle_digest", "unknown")[:12]),
        ("Signed", "yes" if tags.get("signed") == "true" else "no"),
        *facts,
    ]


def _unsigned(champion: VersionState | None) -> list[str]:
    if champion is None or not os.environ.get(PUBLIC_KEY):
        return []
    if champion.tags.get("signed") == "true":
        return []
    return [
        f"The champion is not signed, so that it does not load where {PUBLIC_KEY} is set: register "
        "a signed bundle."
    ]


def _sections(registry: RegistryState, prefect: PrefectState) -> Iterable[Section]:
    if registry.metrics:
        yield Section(
            title="Numbers of the champion",
            note=f"{count_of(registry.clips, 'held-out clip')}, one seed; 95 % intervals over "
            "clips, where a metric has values by clip and there are at least five.",
            headings=("metric", "champion", "interval", "ground truth", "better"),
            rows=[
                (one.heading, one.value, one.interval, one.truth, one.better)
                for one in registry.metrics
            ],
        )
    yield Section(
        title="Running now",
        note="" if prefect.answers else f"Unknown: {prefect.server}.",
        headings=("flow", "run", "state", "since", "where"),
        rows=[(one.flow, one.run, one.state, one.when, one.where) for one in prefect.running],
    )
    yield Section(
        title="Next",
        note="" if prefect.answers else f"Unknown: {prefect.server}.",
        headings=("flow", "run", "state", "at", "where"),
        rows=[(one.flow, one.run, one.state, one.when, one.where) for one in prefect.upcoming],
    )
    yield Section(
        title="Last flow runs",
        note="" if prefect.answers else f"Unknown: {prefect.server}.",
        headings=("flow", "run", "state", "started", "took", "message"),
        rows=[_finished(one) for one in prefect.last],
    )
    yield Section(
        title="Last builds and decisions",
        note="From MLflow, also those without Prefect.",
        headings=("ended", "run", "status", "verdict"),
        rows=[(run.when, run.name, run.status, run.note) for run in registry.runs],
    )
    yield Section(
        title="Versions",
        note="",
        headings=("version", "aliases", "registered", "commit", "data", "gate", "reason"),
        rows=[_version(registry, one) for one in registry.versions[:_VERSIONS]],
    )
    yield Section(
        title="Changes of the champion",
        note="",
        headings=("when", "what", "from", "to", "who", "why"),
        rows=rows_of_history(registry.history)[:_CHANGES],
    )


def _finished(one: FlowState) -> tuple[str, ...]:
    took = f"{one.seconds:.0f} s" if one.seconds < 120 else f"{one.seconds / 60:.0f} min"
    return one.flow, one.run, one.state, one.when, took, one.message


def _version(registry: RegistryState, one: VersionState) -> tuple[str, ...]:
    aliases = [
        name for name, version in registry.aliases._asdict().items() if version == one.version
    ]
    return (
        one.version,
        ", ".join(aliases),
        one.created,
        one.tags.get("git_commit", "")[:7],
        one.tags.get("snapshot_digest", "")[:7],
        one.tags.get("gate_verdict", "not run"),
        one.tags.get("gate_reason", ""),
    )


def print_status(status: Status, console: Console) -> None:
    """Print the status as tables."""
    console.print(f"\n[bold]{status.headline}[/bold]")
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in status.facts:
        facts.add_row(name, value, style=None)
    console.print(facts)
    console.print("\n[bold]Needs a person[/bold]")
    for need in status.needs or ["Nothing."]:
        console.print(f"  {need}", markup=False, highlight=False)
    for section in status.sections:
        console.print(f"\n[bold]{section.title}[/bold]")
        if section.note:
            console.print(section.note, style="dim", markup=False, highlight=False)
        if section.rows:
            console.print(_table(section.headings, section.rows))
        elif not section.note:
            console.print("None.")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.text import Text

    table = Table(*headings)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def write_status(status: Status, path: Path) -> None:
    """Write the status as one page that loads nothing.

    Raises:
        InputError: The file cannot be written.

    """
    page = render(TEMPLATE, {"status": status})
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def main(
    html: Annotated[
        Path | None, typer.Option(help="File to write the status to, as a page.")
    ] = None,
) -> None:
    """Show which model is champion, what runs, what is next, and what needs a person."""
    with errors_in_one_line("status"):
        status = read_status()
        if html is None:
            print_status(status, Console())
        else:
            write_status(status, html)


if __name__ == "__main__":
    typer.run(main)
