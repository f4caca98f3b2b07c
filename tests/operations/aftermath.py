"""What must hold after every failure."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tasks.registry.aliases import Change
from tests.operations.workers import ROOT, Case, wait_until

MAX_POINTS = 10_000


def check_after(case: Case) -> None:
    """Verify that nothing is left of the runs, no metric is lost, and the registry is valid."""
    case.check_nothing_left()
    check_metrics(case)
    # Another case may be between two calls of a promotion; an invalid registry stays so.
    wait_until(
        lambda: not [*registry_faults(*read_registry(case))],
        "a valid registry",
        60,
        every=2,
        log=lambda: "\n".join(registry_faults(*read_registry(case))),
    )


def check_metrics(case: Case) -> None:
    """Verify that MLflow has every step that a training recorded, each once."""
    recorded = case.project.recorded()
    if not recorded:
        return
    # Records of a training that was killed and not continued; the next run would send them, too.
    send = [sys.executable, "-m", "tasks.tools.send_records"]
    subprocess.run(send, cwd=ROOT, env=case.environment, check=True, stdout=subprocess.DEVNULL)
    steps = sorted(step for run in runs_in_mlflow(case) for step in recorded_steps(case, run))
    # A kill may come between a record and the note of it.
    assert steps in (list(range(1, last + 1)) for last in (recorded, recorded + 1)), steps


def runs_in_mlflow(case: Case) -> list[str]:
    """Return the ids of the MLflow runs of a case."""
    found = case.ask_mlflow("GET", "experiments/get-by-name", experiment_name=case.name)
    wanted = [found["experiment"]["experiment_id"]]
    runs = case.ask_mlflow("POST", "runs/search", experiment_ids=wanted, max_results=1000)
    return [run["info"]["run_id"] for run in runs.get("runs", [])]


def recorded_steps(case: Case, run: str) -> list[int]:
    values = {"run_id": run, "metric_key": "done", "max_results": MAX_POINTS}
    history = case.ask_mlflow("GET", "metrics/get-history", **values)
    return [int(point["step"]) for point in history.get("metrics", [])]


def read_registry(case: Case) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what MLflow says about the registered model and about its versions."""
    wanted = "name = 'mambatalk'"
    models = case.ask_mlflow("GET", "registered-models/search", filter=wanted)
    versions = case.ask_mlflow("GET", "model-versions/search", filter=wanted)
    (model,) = models.get("registered_models", [{}])
    return model, versions.get("model_versions", [])


def registry_faults(model: dict[str, Any], versions: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with the registered model: its aliases, versions and history.

    Args:
        model: As MLflow's API describes it; empty if nothing was registered.
        versions: All its versions, likewise.

    """
    ready = {version["version"] for version in versions if version["status"] == "READY"}
    digests = [
        tag["value"]
        for version in versions
        for tag in version.get("tags", [])
        if tag["key"] == "bundle_digest"
    ]
    if len(digests) != len(versions) or len({*digests}) != len(versions):
        yield f"{len(versions)} versions have the bundles {digests}"
    aliases = {alias["alias"]: alias["version"] for alias in model.get("aliases", [])}
    for alias, version in aliases.items():
        if version not in ready:
            yield f"{alias} is version {version}, found only {sorted(ready)}"
    if len({*aliases.values()}) != len(aliases):
        yield f"two aliases of one version: {aliases}"

    tags = {tag["key"]: tag["value"] for tag in model.get("tags", [])}
    keys = sorted(key for key in tags if key.startswith("history."))
    if keys != [f"history.{number:04d}" for number in range(1, len(keys) + 1)]:
        yield f"a change is missing in the history: {keys}"
    champion = None
    for change in (Change(**json.loads(tags[key])) for key in keys):
        if change.from_version != champion:
            yield f"the champion was {champion}, and then {change}"
        champion = change.to_version
        if champion not in ready:
            yield f"{change}, found only versions {sorted(ready)}"
    if aliases.get("champion") != champion:
        yield f"the last change made {champion} the champion, found {aliases}"
