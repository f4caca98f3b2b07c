"""Real DVC and real Prefect, with all their state in temporary folders."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.workspace import Workspace
from tests.flows.servers import prefect_server
from tests.flows.toy import make_toy

HOMES = (
    "MAMBATALK_HOME",
    "PREFECT_HOME",
    "DVC_GLOBAL_CONFIG_DIR",
    "DVC_SYSTEM_CONFIG_DIR",
    "DVC_SITE_CACHE_DIR",
)


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in HOMES:
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        patch.setenv("MAMBATALK_GRACE_SECONDS", "5")
        for name in ("MAMBATALK_RUNS", "MAMBATALK_SLOTS", "PREFECT_API_URL"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def prefect(homes: None) -> Iterator[None]:
    """Prefect's temporary server, shared by all flows that run in this process."""
    # Here, because every process collects these tests, and it imports a server.
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def server(homes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own process, as a team runs one."""
    with prefect_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="session")
def toy_template(homes: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("template") / "toy")


@pytest.fixture
def toy(toy_template: Path, tmp_path: Path) -> Workspace:
    """A copy of the toy project in which nothing has run."""
    return Workspace.open(shutil.copytree(toy_template, tmp_path / "toy"))
