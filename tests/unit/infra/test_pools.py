"""The container pools give their runs what a worker of Docker Compose or Kubernetes has.

No container is started here: these resolve the templates as a worker of Prefect does.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.utilities.templating import apply_values, resolve_block_document_references
from ruamel.yaml import YAML

from infra.bootstrap import Workers, pool_entries

ROOT = Path(__file__).parents[3]
SAFE = YAML(typ="safe")
CONTAINER_POOLS: list[tuple[Workers, str]] = [
    (workers, pool) for workers in ("docker", "kubernetes") for pool in ("cpu", "gpu")
]
SETTINGS = dict(
    re.findall(r"^(\w+)=(.*)", (ROOT / "infra/settings/worker.env").read_text(), re.MULTILINE)
)


def plain(workers: Workers, pool: str) -> dict[str, str]:
    return dict(pool_entries(workers)[pool]["variables"]["env"])


def pod_container(pool: str) -> dict[str, Any]:
    manifest = pool_entries("kubernetes")[pool]["job_configuration"]["job_manifest"]
    return dict(manifest["spec"]["template"]["spec"]["containers"][0])


def worker_container(pool: str) -> dict[str, Any]:
    path = "base/worker.yaml" if pool == "cpu" else "gpu/worker-gpu.yaml"
    documents = list(SAFE.load_all(ROOT / "infra/k8s" / path))
    [deployment] = [one for one in documents if one["kind"] == "Deployment"]
    return dict(deployment["spec"]["template"]["spec"]["containers"][0])


@pytest.mark.parametrize("pool", ["cpu", "gpu"])
def test_a_job_has_every_variable_of_a_kubernetes_worker(pool: str) -> None:
    """Without MLFLOW_TRACKING_URI a retraining would promote in a registry of its own."""
    wanted = {one["name"]: one for one in worker_container(pool)["env"]}
    del wanted["WORK_POOL"]  # What a worker polls; a run needs no pool.
    job = {
        name: {"name": name, "value": value} for name, value in plain("kubernetes", pool).items()
    }
    job |= {one["name"]: one for one in pod_container(pool)["env"]}
    assert {name: job.get(name) for name in wanted} == wanted
    assert {name: plain("kubernetes", pool).get(name) for name in SETTINGS} == SETTINGS
    git = [one for one in worker_container(pool)["envFrom"] if "secretRef" in one]
    assert pod_container(pool)["envFrom"] == git


@pytest.mark.parametrize("pool", ["cpu", "gpu"])
def test_a_container_has_every_variable_of_a_compose_worker(pool: str) -> None:
    """Secrets come from blocks that have the names of the variables in .env."""
    services = SAFE.load(ROOT / "infra/compose/compose.yaml")["services"]
    wanted = dict(services[f"worker-{pool}"]["environment"])
    del wanted["WORK_POOL"]

    def block(match: re.Match[str]) -> str:
        name = match[1].lower().replace("_", "-")
        return f"{{{{ prefect.blocks.secret.{name} }}}}"

    wanted = {name: re.sub(r"\$\{(\w+):[^}]*\}", block, value) for name, value in wanted.items()}
    wanted |= SETTINGS
    found = plain("docker", pool)
    assert {name: found.get(name) for name in wanted} == wanted
    kubernetes = {one["name"] for one in worker_container(pool)["env"]}
    # The password is a part of PREFECT_API_AUTH_STRING here.
    assert kubernetes - found.keys() == {"WORK_POOL", "PREFECT_ADMIN_PASSWORD"}


@pytest.mark.parametrize("pool", ["cpu", "gpu"])
def test_prefect_replaces_the_blocks_in_the_variables_of_a_container(pool: str) -> None:
    """The blocks that docs/operations.md makes are those that the pool names."""
    text = (ROOT / "docs/operations.md").read_text()
    [names] = re.findall(r'^for name in """(.*?)"""\.split\(\):', text, re.MULTILINE | re.DOTALL)
    blocks = {name.lower().replace("_", "-"): f"value of {name}" for name in names.split()}
    blocks["git-password"] = ""
    used = set(re.findall(r"prefect\.blocks\.secret\.([\w-]+)", json.dumps(plain("docker", pool))))
    assert used == blocks.keys()

    class Client:
        async def read_block_document_by_name(
            self, name: str, block_type_slug: str
        ) -> SimpleNamespace:
            assert block_type_slug == "secret"
            return SimpleNamespace(data={"value": blocks[name]})

    env = apply_values({"env": "{{ env }}"}, {"env": plain("docker", pool)})
    resolved = asyncio.run(resolve_block_document_references(env, client=Client()))["env"]  # type: ignore[arg-type]
    assert resolved["AWS_ACCESS_KEY_ID"] == "value of S3_ACCESS_KEY"
    assert resolved["PREFECT_API_AUTH_STRING"] == "admin:value of PREFECT_ADMIN_PASSWORD"
    assert resolved["GIT_PASSWORD"] == ""
    assert "{{" not in json.dumps(resolved)


@pytest.mark.parametrize(("workers", "pool"), CONTAINER_POOLS)
def test_no_run_gets_the_passwords_of_the_databases(workers: Workers, pool: str) -> None:
    """A job that takes a whole secret has the servers' own passwords too."""
    text = json.dumps(pool_entries(workers)[pool])
    assert not re.search("POSTGRES_PASSWORD|DB_PASSWORD|postgres-password|db-password", text)
    if workers == "kubernetes":
        sources = pod_container(pool)["envFrom"]
        assert "mambatalk" not in [one.get("secretRef", {}).get("name") for one in sources]


@pytest.mark.parametrize("pool", ["cpu", "gpu"])
def test_a_job_uses_only_what_the_manifests_have(pool: str) -> None:
    """Kustomize adds a hash to a ConfigMap's name; a pod that names another never starts."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl on this machine")
    command = [kubectl, "kustomize", str(ROOT / "infra/k8s/gpu")]
    documents = list(
        SAFE.load_all(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    )
    present = {
        kind: {one["metadata"]["name"] for one in documents if one["kind"] == kind}
        for kind in ("ConfigMap", "PersistentVolumeClaim")
    }
    # Secrets are made by hand, for the workers.
    secrets = secret_names([one for one in documents if one["kind"] == "Deployment"])
    entry = pool_entries("kubernetes")[pool]["job_configuration"]
    assert secret_names(entry) <= secrets
    text = json.dumps(entry)
    maps = re.findall(r'"configMap(?:Ref|KeyRef)?": {[^}]*"name": "([^"]+)"', text)
    assert set(maps) <= present["ConfigMap"]
    claims = re.findall(r'"claimName": "([^"]+)"', text)
    assert set(claims) <= present["PersistentVolumeClaim"]
    assert claims


def secret_names(content: Any) -> set[str]:
    return set(re.findall(r'"secret(?:Key)?Ref": {[^}]*"name": "([^"]+)"', json.dumps(content)))


def test_docker_compose_accepts_the_file() -> None:
    docker = shutil.which("docker")
    version = [str(docker), "compose", "version"]
    if docker is None or subprocess.run(version, capture_output=True, check=False).returncode:
        pytest.skip("there is no docker with the compose plugin on this machine")
    example = ROOT / "infra/compose/.env.example"
    values = {
        line.partition("=")[0]: "x" for line in example.read_text().splitlines() if "=" in line
    }
    command = [docker, "compose", "--file", str(ROOT / "infra/compose/compose.yaml")]
    command += ["--profile", "*", "config", "--quiet"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | values
    )
    assert done.returncode == 0, done.stderr
