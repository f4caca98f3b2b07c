"""A Prefect server on loopback, and what its API returns."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

Found = TypeVar("Found", bound=Sized)


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """Run a server for the length of the block; yields the address of its API."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "PREFECT_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for line in process.stdout or ():
            if "Check out the dashboard" in line:
                break
        assert process.poll() is None, "the server did not start"
        url = f"http://127.0.0.1:{port}/api"
        with httpx.Client(transport=httpx.HTTPTransport(retries=20)) as client:
            client.get(f"{url}/health", timeout=60).raise_for_status()
        assert port in _listening_ports(process.pid), "another process answers on this port"
        yield url
    finally:
        process.terminate()
        # The server waits for clients that are still connected.
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _listening_ports(pid: int) -> list[int]:
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    connections = [one for member in family for one in member.net_connections()]
    return [one.laddr.port for one in connections if one.status == "LISTEN"]


def query(server: str, what: str, flow: str | None = None) -> list[dict[str, Any]]:
    """Return runs of a flow or of its tasks; if flow is None, of all flows."""
    wanted = {"flows": {"name": {"any_": [flow]}}} if flow else {}
    return httpx.post(f"{server}/{what}/filter", json=wanted, timeout=60).json()


def wait_for(read: Callable[[], Found], count: int) -> Found:
    """Read until there are `count` results, for a minute at most."""
    deadline = time.monotonic() + 60
    while len(found := read()) < count and time.monotonic() < deadline:
        pass
    return found
