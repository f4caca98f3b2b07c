"""Real DVC and real Prefect, with every home in a temporary folder."""

import pytest
from toy import make_toy


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    for name in ("PREFECT_HOME", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "DVC_SITE_CACHE_DIR"):
        patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
    patch.setenv("MAMBATALK_GRACE_SECONDS", "5")
    patch.delenv("MAMBATALK_SLOTS", raising=False)
    patch.delenv("PREFECT_API_URL", raising=False)
    yield
    patch.undo()


@pytest.fixture
def toy(tmp_path):
    return make_toy(tmp_path / "toy")
