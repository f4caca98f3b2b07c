"""The state of the registry for a person: aliases, history, and the champion's numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mambatalk.metrics.catalogue import CATALOGUE, GROUND_TRUTH, KID, METRICS, metric_value
from tasks.registry.aliases import (
    Aliases,
    Change,
    is_interrupted,
    read_aliases,
    read_history,
)
from tasks.registry.registration import EVIDENCE, evaluation_with_intervals
from tasks.registry.store import NAME, open_registry, registry_errors
from tasks.tracking.store import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

STAGES = ("pipeline", "register", "gate")
"""Tag `stage` of the MLflow runs that are listed."""
_MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class VersionState:
    """One registered version."""

    version: str
    created: str
    tags: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class MetricState:
    """One metric of the champion as it was evaluated when it was built, printed."""

    heading: str
    better: str
    value: str
    interval: str
    truth: str


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One MLflow run."""

    when: str
    name: str
    status: str
    note: str


@dataclass(frozen=True, kw_only=True)
class RegistryState:
    """Aliases, versions, history and recent runs of the registry."""

    aliases: Aliases
    history: list[Change]
    """The oldest change first."""
    versions: list[VersionState]
    """The newest version first."""
    interrupted: bool
    metrics: list[MetricState]
    clips: int
    """Clips behind the metrics; 0 without metrics."""
    runs: list[RunState]

    def version(self, number: str | None) -> VersionState | None:
        """Return the version of a number; None if there is none."""
        return next((one for one in self.versions if one.version == number), None)

    @property
    def champion_since(self) -> str | None:
        """Time of the change that made the champion."""
        for change in reversed(self.history):
            if change.to_version == self.aliases.champion:
                return change.when
        return None


def read_registry() -> RegistryState:
    """Read the registry.

    Raises:
        RegistryError: MLflow does not answer.

    """
    client = open_registry()
    with registry_errors():
        aliases = read_aliases(client)
        history = read_history(client)
        found = client.search_model_versions(f"name = '{NAME}'")
        versions = [
            VersionState(
                version=str(one.version),
                created=_time(one.creation_timestamp),
                tags=dict(one.tags),
            )
            for one in sorted(found, key=lambda one: -int(one.version))
        ]
        champion = next((one for one in versions if one.version == aliases.champion), None)
        evaluation = _evaluation(client, champion.tags.get("run_id")) if champion else None
        return RegistryState(
            aliases=aliases,
            history=history,
            versions=versions,
            interrupted=is_interrupted(aliases, history),
            metrics=_metrics(evaluation) if evaluation else [],
            clips=evaluation["clips"] if evaluation else 0,
            runs=_runs(client),
        )


def needs_of_registry(state: RegistryState) -> list[str]:
    """Return what a person has to do about the registry."""
    needs = []
    if state.interrupted:
        last = state.history[-1]
        needs.append(
            f"The change to version {last.to_version} ({last.action}) was interrupted: run "
            f"`python -m flows.{last.action}` again."
        )
    if state.aliases.champion is None:
        needs.append(
            "There is no champion, so that `models:/mambatalk@champion` does not load: promote a "
            "version with `python -m flows.promote`."
        )
    challenger = state.version(state.aliases.challenger)
    if challenger:
        verdict = challenger.tags.get("gate_verdict")
        if verdict is None:
            needs.append(
                f"Version {challenger.version} waits for the gate: `python -m flows.promote`."
            )
        elif verdict == "inconclusive":
            needs.append(
                f"Version {challenger.version} is neither shown to be better nor worse: read the "
                "decision, and add test clips or data."
            )
        elif verdict == "promote":
            needs.append(
                f"Version {challenger.version} passed the gate and is not promoted: approve the "
                "paused flow run, or run `python -m flows.promote`."
            )
    return needs


def _evaluation(client: "MlflowClient", run: str | None) -> dict[str, Any] | None:
    if run is None:
        return None
    kept = {entry.path for entry in client.list_artifacts(run, EVIDENCE)}
    with TemporaryDirectory() as folder:
        paths = [
            Path(client.download_artifacts(run, name, folder))
            for name in (f"{EVIDENCE}/metrics.json", f"{EVIDENCE}/per_clip.csv")
            if name in kept
        ]
        return evaluation_with_intervals(*paths) if paths else None


def _metrics(evaluation: dict[str, Any]) -> list[MetricState]:
    intervals = evaluation.get("intervals", {}).get(_MODEL, {})
    states = []
    for key in (*METRICS, KID.key):
        metric = CATALOGUE[key]
        bounds = intervals.get(key, {}).get("corrected")
        interval = ""
        if bounds:
            interval = f"{metric.format(bounds[0])} to {metric.format(bounds[1])}"
        states.append(
            MetricState(
                heading=metric.heading,
                better=metric.better,
                value=metric.format(metric_value(evaluation, _MODEL, key)),
                interval=interval,
                truth=metric.format(metric_value(evaluation, GROUND_TRUTH, key)),
            )
        )
    return states


def _runs(client: "MlflowClient") -> list[RunState]:
    """Return the last builds, registrations and decisions, the newest first."""
    _, experiment = connect()
    found: list[Any] = []
    for stage in STAGES:
        found += client.search_runs(
            [experiment],
            f"tags.stage = '{stage}'",
            max_results=5,
            order_by=["attributes.start_time DESC"],
        )
    newest = sorted(found, key=lambda run: -(run.info.end_time or run.info.start_time))[:8]
    return [
        RunState(
            when=_time(run.info.end_time or run.info.start_time),
            name=run.info.run_name,
            status=run.info.status.lower(),
            note=run.data.tags.get("verdict", ""),
        )
        for run in newest
    ]


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def rows_of_history(history: Sequence[Change]) -> list[tuple[str, ...]]:
    """Return when, what, from, to, who and why of every change, the newest first."""
    return [
        (
            change.when,
            change.action,
            change.from_version or "none",
            change.to_version,
            change.who,
            change.why,
        )
        for change in reversed(history)
    ]
