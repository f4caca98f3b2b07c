"""Docker Compose, Kubernetes and images: pinned, probed, closed to the network, without secrets.

These read the files. Whether the servers work with these settings is tested in `tests/operations`.
"""

import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

INFRA = Path(__file__).parents[3] / "infra"
SAFE = YAML(typ="safe")
COMPOSE: dict[str, Any] = SAFE.load(INFRA / "compose/compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]
SERVERS = ("postgres", "store", "mlflow", "prefect")
IMAGES = sorted((INFRA / "images").glob("*.Dockerfile"))
SECRETS = [
    line.partition("=")[0]
    for line in (INFRA / "compose/.env.example").read_text().splitlines()
    if "=" in line
]


def manifests() -> list[dict[str, Any]]:
    paths = sorted((INFRA / "k8s").rglob("*.yaml"))
    documents = [one for path in paths for one in SAFE.load_all(path)]
    return [one for one in documents if one["kind"] != "Kustomization"]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the pod's description of every workload."""
    for document in manifests():
        specification = document.get("spec", {})
        specification = specification.get("jobTemplate", {}).get("spec", specification)
        if "template" in specification:
            yield document["metadata"]["name"], specification["template"]["spec"]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods():
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            yield name, container


def kustomized_tags() -> dict[str, str]:
    files = sorted((INFRA / "k8s").rglob("kustomization.yaml"))
    images = [one for path in files for one in SAFE.load(path).get("images", ())]
    return {one["name"]: one["newTag"] for one in images}


@pytest.mark.parametrize(
    "document", manifests(), ids=lambda one: f"{one['kind']}/{one['metadata']['name']}"
)
def test_manifests_follow_the_schemas_of_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, "1.32", strict=True)


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_images_pass_hadolint(path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_images_are_built_from_digests_and_run_without_root(path: Path) -> None:
    text = path.read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2, "a stage that builds and one that is kept"
    assert all(re.search(r":[\d.]+\S*@sha256:[0-9a-f]{64}$", base) for base in bases)
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["10001"]
    assert "-c /tmp/constraints.txt" in text or "-c constraints.txt" in text


def test_every_image_has_a_version() -> None:
    tags = kustomized_tags()
    found = [container["image"] for _, container in containers()]
    found = [f"{image}:{tags[image]}" if image in tags else image for image in found]
    found += [service["image"] for service in SERVICES.values()]
    for image in found:
        assert re.search(r":v?\d+\.\d+", image), image
        ours = image.startswith("mambatalk/")
        assert ours or "@sha256:" in image, image


def test_compose_and_kubernetes_run_the_same_images() -> None:
    tags = kustomized_tags()
    kubernetes = {container["image"] for _, container in containers()}
    kubernetes = {f"{image}:{tags[image]}" if image in tags else image for image in kubernetes}
    assert kubernetes == {service["image"] for service in SERVICES.values()}


def test_ports_are_published_on_the_loopback_address_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(published) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)
    assert not any(service.get("network_mode") == "host" for service in SERVICES.values())


def test_kubernetes_opens_nothing_outside_the_namespace() -> None:
    documents = manifests()
    services = [one for one in documents if one["kind"] == "Service"]
    assert {one["spec"].get("type", "ClusterIP") for one in services} == {"ClusterIP"}
    assert not [one for one in documents if one["kind"] == "Ingress"]
    [policy] = [one["spec"] for one in documents if one["kind"] == "NetworkPolicy"]
    assert policy["podSelector"] == {}
    assert policy["ingress"] == [{"from": [{"podSelector": {}}]}]


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "always"
    [pod] = [pod for other, pod in pods() if other == name]
    [container] = pod["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


@pytest.mark.parametrize("name", ["mlflow", "prefect"])
def test_readiness_is_an_api_call_with_the_password(name: str) -> None:
    [pod] = [pod for other, pod in pods() if other == name]
    command = pod["containers"][0]["readinessProbe"]["exec"]["command"]
    assert command == ["python", "/opt/settings/probe.py", name]
    assert SERVICES[name]["healthcheck"]["test"] == ["CMD", *command]


def test_containers_have_no_privileges_of_root() -> None:
    for name, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False, name
    for name, container in containers():
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_secrets_come_from_the_environment_alone() -> None:
    """A variable that holds a secret has no value in any file, and is one of .env.example."""
    text = (INFRA / "compose/compose.yaml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required == set(SECRETS)

    keys = set()
    for name, container in containers():
        for variable in container.get("env", ()):
            if "valueFrom" in variable:
                keys.add(variable["valueFrom"]["secretKeyRef"]["key"])
            elif re.search("PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY", variable["name"]):
                assert variable["value"] == "admin:$(PREFECT_ADMIN_PASSWORD)", name
    assert keys == set(SECRETS)

    for path in sorted((INFRA / "settings").glob("*.env")):
        names = re.findall(r"^(\w+)=", path.read_text(), re.MULTILINE)
        assert not [name for name in names if re.search("PASSWORD|SECRET|AUTH_STRING", name)], path


def test_measured_pitfalls_are_settings_of_both() -> None:
    """See `docs/operations.md`; each of these was seen to break a run."""
    for name in ("mlflow", "prefect"):
        assert SERVICES[name]["env_file"] == [f"../settings/{name}.env"]
        [pod] = [pod for other, pod in pods() if other == name]
        assert pod["containers"][0]["envFrom"] == [{"configMapRef": {"name": name}}]
    prefect = (INFRA / "settings/prefect.env").read_text()
    assert "LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem" in prefect
    mlflow = (INFRA / "settings/mlflow.env").read_text()
    assert "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false" in mlflow
    assert "MLFLOW_SERVER_ALLOWED_HOSTS=mlflow," in mlflow
    # Leases need a volume.
    assert SERVICES["prefect"]["volumes"] == ["prefect:/var/lib/prefect"]


def test_gpu_workers_ask_for_a_gpu_and_for_shared_memory() -> None:
    reserved = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert reserved[0]["capabilities"] == ["gpu"]
    assert SERVICES["worker-gpu"]["shm_size"] == "8gb"
    [pod] = [pod for name, pod in pods() if name == "worker-gpu"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    [memory] = [one["emptyDir"] for one in pod["volumes"] if one["name"] == "shared-memory"]
    assert memory == {"medium": "Memory", "sizeLimit": "8Gi"}


def test_new_secrets_are_random_and_private(tmp_path: Path) -> None:
    for name in (".env.example", "make-env.sh"):
        (tmp_path / name).write_bytes((INFRA / "compose" / name).read_bytes())
    script = ["sh", str(tmp_path / "make-env.sh")]
    subprocess.run(script, check=True)
    lines = (tmp_path / ".env").read_text().splitlines()
    values = [line.partition("=")[2] for line in lines]
    assert [line.partition("=")[0] for line in lines] == SECRETS
    assert len(set(values)) == len(SECRETS)
    assert min(map(len, values)) == 48
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    # Servers keep the first passwords, so a second run changes nothing.
    assert subprocess.run(script, capture_output=True, check=False).returncode == 2
    assert (tmp_path / ".env").read_text().splitlines() == lines


@pytest.mark.parametrize("path", sorted(INFRA.rglob("*.sh")), ids=lambda path: path.name)
def test_scripts_parse_and_can_be_run(path: Path) -> None:
    subprocess.run(["sh", "-n", str(path)], check=True)
    assert path.stat().st_mode & 0o100


def test_workers_that_start_at_once_do_not_clone_into_each_other(tmp_path: Path) -> None:
    """A worker waits while another one clones into the volume that both have."""
    for name in ("origin", "checkout", "state"):
        (tmp_path / name).mkdir()
    subprocess.run(["git", "init", "--quiet", tmp_path / "origin"], check=True)
    environment = os.environ | {
        "HOME": str(tmp_path),
        "MAMBATALK_HOME": str(tmp_path / "state"),
        "GIT_REPOSITORY": str(tmp_path / "origin"),
    }
    command = ["sh", INFRA / "images/worker.sh", "echo", "started"]
    with (tmp_path / "state/clone.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        worker = subprocess.Popen(
            command, cwd=tmp_path / "checkout", env=environment, stdout=subprocess.PIPE, text=True
        )
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(1)
        assert not (tmp_path / "checkout/.git").exists()
        fcntl.flock(lock, fcntl.LOCK_UN)
        output, _ = worker.communicate(timeout=30)
    assert (worker.returncode, output) == (0, "started\n")
    assert (tmp_path / "checkout/.git").exists()
