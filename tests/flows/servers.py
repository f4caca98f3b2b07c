"""A real Prefect server on loopback, and what its API says."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import httpx
import psutil


@contextmanager
def prefect_server(home):
    """Its API's address, for the length of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PREFECT_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for line in process.stdout:
            if "Check out the dashboard" in line:
                break
        assert process.poll() is None, "the server did not start"
        url = f"http://127.0.0.1:{port}/api"
        with httpx.Client(transport=httpx.HTTPTransport(retries=20)) as client:
            client.get(f"{url}/health", timeout=60).raise_for_status()
        assert port in listening(process.pid), "somebody else answers there"
        yield url
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):  # It waits for whoever still listens to it.
            process.wait(10)
        process.kill()
        process.wait()


def listening(pid):
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    return [
        one.laddr.port
        for member in family
        for one in member.net_connections()
        if one.status == "LISTEN"
    ]


def ask(server, what, flow=None):
    """Runs of a flow, or of its tasks; everything where no flow is named."""
    wanted = {"flows": {"name": {"any_": [flow]}}} if flow else {}
    return httpx.post(f"{server}/{what}/filter", json=wanted, timeout=60).json()


def wait_for(read, count):
    deadline = time.monotonic() + 60
    while len(found := read()) < count and time.monotonic() < deadline:
        pass
    return found
