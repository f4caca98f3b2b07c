"""Settings of all tests."""

import signal

import pytest
from hypothesis import settings

# Examples have no time limit: a slow or busy machine would fail a test that holds.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# A shell that starts the tests in the background ignores SIGINT in them and, by inheritance, in
# every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


FIRST = ("built", "real")
"""Groups that build the whole pipeline, which takes longest."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process run all tests of a file, so that what its fixtures make is made once.

    The quick tests of flows share a Prefect server.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            folder = item.path.parent.name
            shared = folder == "flows" and item.get_closest_marker("slow") is None
            group = folder if shared else f"{folder}/{item.path.stem}"
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group").args[0] not in FIRST)
