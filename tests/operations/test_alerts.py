"""Alerts reach a webhook when a flow fails."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.operations.servers import Servers

pytestmark = [pytest.mark.operations, pytest.mark.quick, pytest.mark.xdist_group("servers")]

APPLY_AND_FAIL = """
from prefect import flow, get_client
from prefect.states import Failed
from infra.automations import alert_block, load_automations

block = alert_block()
assert block == alert_block()
with get_client(sync_client=True) as client:
    for automation in load_automations(block):
        if automation.name == "alert-on-failure":
            created = client._client.post("/automations/", json=automation.model_dump(mode="json"))
            created.raise_for_status()

@flow(name="data-quality")
def fails():
    # As the flow ends if the checks of the corpus fail.
    return Failed(name="Fail", message="the corpus is damaged")

fails(return_state=True)
"""


@pytest.fixture
def webhook() -> Iterator[tuple[str, "queue.Queue[str]"]]:
    """An address, and what was posted there."""
    posted: queue.Queue[str] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/secret-path", posted
        server.shutdown()


def test_a_failed_run_is_reported_to_the_webhook(
    servers: Servers, webhook: tuple[str, "queue.Queue[str]"]
) -> None:
    address, posted = webhook
    environment = {**os.environ, **servers.environment, "MAMBATALK_ALERT_URL": address}
    done = subprocess.run(
        [sys.executable, "-c", APPLY_AND_FAIL], env=environment, capture_output=True, text=True
    )
    assert "the corpus is damaged" in done.stderr
    text = json.loads(posted.get(timeout=120))["text"]
    assert text.startswith("data-quality Fail: ")
    assert "the corpus is damaged" in text
    assert "docs/operations.md" in text
    # The address is a password.
    assert "secret-path" not in servers.prefect.log
