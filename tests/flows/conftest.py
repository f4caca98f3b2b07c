"""Real DVC and real Prefect, with every home in a temporary folder."""

import pytest
from prefect.testing.utilities import prefect_test_harness

from tests.flows.servers import prefect_server
from tests.flows.toy import make_toy


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    for name in (
        "PREFECT_HOME",
        "DVC_GLOBAL_CONFIG_DIR",
        "DVC_SYSTEM_CONFIG_DIR",
        "DVC_SITE_CACHE_DIR",
    ):
        patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
    patch.setenv("MAMBATALK_GRACE_SECONDS", "5")
    patch.delenv("MAMBATALK_SLOTS", raising=False)
    patch.delenv("PREFECT_API_URL", raising=False)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def prefect(homes):
    """Prefect's temporary server, shared by all flows that run in this process."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def server(homes, tmp_path_factory):
    """A server as a team has it."""
    with prefect_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def toy(tmp_path):
    return make_toy(tmp_path / "toy")
