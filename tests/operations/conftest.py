"""One set of servers for all tests of this folder that run in one process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.servers import Servers, running_servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder: Path = tmp_path_factory.mktemp("servers")
    with running_servers(folder) as running:
        yield running
