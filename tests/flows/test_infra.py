"""The files of infra/ fit together: deployments and their flows, pools and their templates."""

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import prefect
import pytest
from prefect.client.schemas.schedules import construct_schedule
from prefect.flows import load_flow_from_entrypoint
from ruamel.yaml import YAML

from infra.automations import load_automations
from infra.bootstrap import QUEUE, Workers, job_template, pool_entries

ROOT = Path(__file__).parents[2]
FILE = YAML(typ="safe").load(ROOT / "infra/prefect.yaml")
DEPLOYMENTS = {one["name"]: one for one in FILE["deployments"]}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_starts_its_flow_in_an_existing_pool(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    flow = load_flow_from_entrypoint(str(ROOT / deployment["entrypoint"]))
    assert flow.name == name
    required = {"reason": "a test"} if name == "rollback" else {}
    flow.validate_parameters({**deployment["parameters"], **required})
    for schedule in deployment["schedules"]:
        construct_schedule(cron=schedule["cron"], timezone=schedule["timezone"])
    assert deployment["work_pool"]["name"] in pool_entries("process")
    assert deployment["work_pool"].get("work_queue_name", QUEUE) == QUEUE


def test_the_file_is_for_the_installed_prefect() -> None:
    assert FILE["prefect-version"] == prefect.__version__


def default_template(workers: str) -> dict[str, Any]:
    """The template that a server hands out."""
    views = Path(prefect.__file__).parent / "server/api/collections_data/views"
    collections = json.loads((views / "aggregate-worker-metadata.json").read_text())
    found = next(one[workers] for one in collections.values() if workers in one)
    return dict(found["default_base_job_configuration"])


@pytest.mark.parametrize("workers", get_args(Workers))
def test_a_template_names_variables_that_it_has(workers: str) -> None:
    default = default_template(workers)
    before = json.dumps(default)
    for entry in pool_entries(workers).values():  # type: ignore[arg-type]
        template = job_template(default, entry)
        named = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
        variables = template["variables"]["properties"]
        assert named <= set(variables)
        assert {key: variables[key]["default"] for key in entry.get("variables", {})} == entry.get(
            "variables", {}
        )
    assert json.dumps(default) == before


def test_runs_of_the_gpu_pool_get_one_gpu_and_shared_memory() -> None:
    docker = job_template(default_template("docker"), pool_entries("docker")["gpu"])
    options = docker["variables"]["properties"]["container_create_kwargs"]["default"]
    request = {"driver": "nvidia", "count": 1, "capabilities": [["gpu"]]}
    assert options["device_requests"] == [request]
    assert options["shm_size"] == "8g"

    job = job_template(default_template("kubernetes"), pool_entries("kubernetes")["gpu"])
    pod = job["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {
        "cpu": "{{ cpu_limit }}",
        "memory": "{{ memory_limit }}",
        "nvidia.com/gpu": 1,
    }
    assert container["image"] == "{{ image }}"
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}


def test_flows_start_without_pytorch() -> None:
    """A run starts three processes that import its flow."""
    code = "import sys, flows.retrain, flows.promote; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == "False\n"


def test_a_device_replaces_that_of_the_gpu_pool() -> None:
    assert pool_entries("process", "cpu")["gpu"]["variables"]["env"]["MAMBATALK_DEVICE"] == "cpu"


def test_a_silent_run_is_marked_and_a_crashed_retraining_starts_again() -> None:
    names = {one.name for one in load_automations(None)}
    assert {"mark-silent-runs-crashed", "reschedule-crashed-retrain"} <= names


def test_a_worker_that_ends_is_started_again_and_its_run_goes_on() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.read(ROOT / "infra/systemd/mambatalk-worker@.service")
    service = unit["Service"]
    assert (service["Restart"], service["KillMode"]) == ("always", "process")
    services = YAML(typ="safe").load(ROOT / "infra/compose/compose.yaml")["services"]
    assert {services[f"worker-{pool}"]["restart"] for pool in pool_entries("process")} == {"always"}
