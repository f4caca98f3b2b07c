"""Prepare a Prefect server for the pipeline: `python -m infra.bootstrap`.

Creates or corrects the work pools of `infra/pools`, their queues, and the automations of
`infra/automations.yaml`, corrects the limits of the deployments of `infra/prefect.yaml` that are on
the server, and frees slots of deployments that no live run holds. It can be repeated at any time.
`--check` changes nothing, prints what differs, and exits with 1 if anything does.

Exit code 0: everything is as the files say. 1: something differs. 2: bad input, or no server.
"""

import copy
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    DeploymentUpdate,
    GlobalConcurrencyLimitUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import ConcurrencyOptions, WorkPool
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from ruamel.yaml import YAML

from flows.server import check_version, server_errors
from infra.automations import ALERT_BLOCK, ALERT_URL, alert_block, load_automations
from mambatalk.errors import InputError
from tasks.runtime.command import run_command

Workers = Literal["process", "docker", "kubernetes"]
POOLS: Final = Path(__file__).parent / "pools"
DEPLOYMENTS: Final = Path(__file__).with_name("prefect.yaml")
QUEUE: Final = "now"
"""Queue of every pool whose runs start before all others: promotions and rollbacks."""
_FIRST: Final = 1
_LIMIT_OF_DEPLOYMENT: Final = "deployment:"
_LIVE: Final = ("PENDING", "RUNNING", "CANCELLING", "PAUSED")


def bootstrap(workers: Workers, *, check: bool = False, device: str | None = None) -> list[str]:
    """Make the server match the files.

    Args:
        workers: Type of the workers of both pools.
        check: Change nothing.
        device: Replaces the value of `MAMBATALK_DEVICE` in the pool `gpu`.

    Returns:
        One line for each thing that differed, and was corrected unless `check` is set.

    Raises:
        InputError: There is no server, it has another version of Prefect, or a pool has another
            type, which cannot be changed.

    """
    if not get_current_settings().api.url:
        raise InputError(
            "PREFECT_API_URL",
            "expected the address of a Prefect server, found none",
            "set it, for example to http://127.0.0.1:4200/api",
        )
    with server_errors(), get_client(sync_client=True) as client:
        check_version(client)
        return [
            *_pools(client, workers, check, device),
            *_automations(client, check),
            *_limits(client, check),
            *_slots(client, check),
        ]


def _pools(
    client: SyncPrefectClient, workers: Workers, check: bool, device: str | None
) -> Iterator[str]:
    for name, entry in pool_entries(workers, device).items():
        template = job_template(_default_template(client, workers), entry)
        try:
            pool = client.read_work_pool(name)
        except ObjectNotFound:
            yield f"work pool {name}: missing"
            if not check:
                create = WorkPoolCreate(
                    name=name,
                    type=workers,
                    description=entry["description"],
                    base_job_template=template,
                )
                client.create_work_pool(create)
                yield from _queue(client, name, check)
            continue
        yield from _pool(client, pool, workers, entry["description"], template, check)
        yield from _queue(client, name, check)


def _pool(
    client: SyncPrefectClient,
    pool: WorkPool,
    workers: Workers,
    description: str,
    template: dict[str, Any],
    check: bool,
) -> Iterator[str]:
    if pool.type != workers:
        raise InputError(
            f"work pool {pool.name}",
            f"expected type {workers}, found {pool.type}, which cannot be changed",
            f"use --workers {pool.type}, or delete it: `prefect work-pool delete {pool.name}`",
        )
    if pool.base_job_template != template or pool.description != description:
        yield f"work pool {pool.name}: differs from infra/pools/{workers}.yaml"
        if not check:
            update = WorkPoolUpdate(description=description, base_job_template=template)
            client.update_work_pool(pool.name, update)


def _queue(client: SyncPrefectClient, pool: str, check: bool) -> Iterator[str]:
    queues = {queue.name: queue for queue in client.read_work_queues(work_pool_name=pool)}
    if QUEUE not in queues:
        yield f"work queue {pool}/{QUEUE}: missing"
        if not check:
            client.create_work_queue(name=QUEUE, work_pool_name=pool, priority=_FIRST)
    elif queues[QUEUE].priority != _FIRST:
        yield f"work queue {pool}/{QUEUE}: priority {queues[QUEUE].priority}, expected {_FIRST}"
        if not check:
            client.update_work_queue(queues[QUEUE].id, priority=_FIRST)


def pool_entries(workers: Workers, device: str | None = None) -> dict[str, dict[str, Any]]:
    """Read the pools of a type of workers from `infra/pools`."""
    entries = YAML(typ="safe").load(POOLS / f"{workers}.yaml")
    if device is not None:
        entries["gpu"]["variables"]["env"]["MAMBATALK_DEVICE"] = device
    return entries


def job_template(default: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Return a base job template: the default one with the values of a pool.

    Args:
        default: Template of the type of workers.
        entry: `variables` sets defaults of the template's variables, and adds those that it lacks;
            `job_configuration` is merged into the template's.

    """
    template = copy.deepcopy(default)
    properties = template["variables"]["properties"]
    for name, value in entry.get("variables", {}).items():
        properties.setdefault(name, {"title": name.replace("_", " ").capitalize()})
        properties[name]["default"] = value
    template["job_configuration"] = _merged(
        template["job_configuration"], entry.get("job_configuration", {})
    )
    return template


def _merged(base: Any, extra: Any) -> Any:
    """Merge mappings by key and lists by position; other values are replaced."""
    if isinstance(base, dict) and isinstance(extra, dict):
        return base | {key: _merged(base.get(key), value) for key, value in extra.items()}
    if isinstance(base, list) and isinstance(extra, list):
        pairs = [_merged(one, other) for one, other in zip(base, extra, strict=False)]
        return [*pairs, *base[len(extra) :], *extra[len(base) :]]
    return copy.deepcopy(extra)


def _default_template(client: SyncPrefectClient, workers: Workers) -> dict[str, Any]:
    response = client._client.get("collections/views/aggregate-worker-metadata")
    response.raise_for_status()
    for collection in response.json().values():
        if workers in collection:
            return collection[workers]["default_base_job_configuration"]
    raise InputError(
        f"Prefect server {client.api_url}",
        f"expected a template for workers of type {workers}, found none",
        "use --workers process",
    )


def _automations(client: SyncPrefectClient, check: bool) -> Iterator[str]:
    block = alert_block(save=not check)
    if block is None and os.environ.get(ALERT_URL):
        yield f"notification block {ALERT_BLOCK}: missing, and the automations that send alerts"
    for wanted in load_automations(block):
        found = client.read_automations_by_name(wanted.name)
        if not found:
            yield f"automation {wanted.name}: missing"
            if not check:
                client.create_automation(wanted)
            continue
        current, *duplicates = found
        # Compared as Python values: events are sets, whose order in JSON differs in every process.
        if any(getattr(current, field) != value for field, value in wanted):
            yield f"automation {wanted.name}: differs from infra/automations.yaml"
            if not check:
                client.update_automation(current.id, wanted)
        for duplicate in duplicates:
            yield f"automation {wanted.name}: there are two"
            if not check:
                client.delete_automation(duplicate.id)


def _limits(client: SyncPrefectClient, check: bool) -> Iterator[str]:
    """Correct how many runs of a deployment may run at once, and what happens to the others."""
    entries = YAML(typ="safe").load(DEPLOYMENTS)["deployments"]
    limited = [entry for entry in entries if "concurrency_limit" in entry]
    limits = {entry["name"]: entry["concurrency_limit"] for entry in limited}
    # Another project on the same server may have a deployment `build`.
    ours = {"name": {"any_": [*limits]}, "tags": {"all_": ["mambatalk"]}}
    deployment_filter = DeploymentFilter.model_validate(ours)
    for deployment in client.read_deployments(deployment_filter=deployment_filter):
        wanted = limits[deployment.name]
        limit = deployment.global_concurrency_limit
        options = deployment.concurrency_options
        number = limit.limit if limit else "none"
        strategy = options.collision_strategy.value if options else "none"
        if (number, strategy) == (wanted["limit"], wanted["collision_strategy"]):
            continue
        yield (
            f"deployment {deployment.name}: limit {number}, collision strategy {strategy}; "
            "differs from infra/prefect.yaml"
        )
        if not check:
            options = ConcurrencyOptions(collision_strategy=wanted["collision_strategy"])
            update = DeploymentUpdate.model_validate(
                {"concurrency_limit": wanted["limit"], "concurrency_options": options}
            )
            client.update_deployment(deployment.id, update)


def _slots(client: SyncPrefectClient, check: bool) -> Iterator[str]:
    """Free the slots of deployments' limits that no live run holds, as a crash may leave them."""
    for limit in client.read_global_concurrency_limits(limit=200):
        if not limit.name.startswith(_LIMIT_OF_DEPLOYMENT) or not limit.active_slots:
            continue
        deployment = limit.name.removeprefix(_LIMIT_OF_DEPLOYMENT)
        live = client.read_flow_runs(
            deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment]}}),
            flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": _LIVE}}}),
        )
        if limit.active_slots > len(live):
            freed = limit.active_slots - len(live)
            yield f"limit {limit.name}: {freed} of {limit.active_slots} slots held by no live run"
            if not check:
                client.update_global_concurrency_limit(
                    limit.name, GlobalConcurrencyLimitUpdate(active_slots=len(live))
                )


def _command(
    workers: Annotated[
        Workers, typer.Option(help="Type of the workers of both pools.")
    ] = "process",
    device: Annotated[
        str | None,
        typer.Option(help="MAMBATALK_DEVICE of the pool gpu; `cpu` to try it without a GPU."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only print what differs.")] = False,
) -> None:
    changes = bootstrap(workers, check=check, device=device)
    for line in changes:
        typer.echo(line if check else f"{line}; corrected")
    if not changes:
        typer.echo("all is as infra/ says")
    sys.exit(1 if check and changes else 0)


if __name__ == "__main__":
    run_command(_command, "infra.bootstrap", __doc__)
