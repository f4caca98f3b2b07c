"""Alerts reach a webhook when a flow fails."""

import json
import os
import subprocess
import sys

import pytest

from tests.operations.servers import Servers
from tests.operations.webhook import running_webhook
from tests.operations.workers import ROOT, wait_until

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


def test_a_check_of_the_server_does_not_write_the_address_to_it(servers: Servers) -> None:
    environment = {**os.environ, **servers.environment}
    environment["MAMBATALK_ALERT_URL"] = "http://127.0.0.1:1/secret-path"
    done = subprocess.run(
        [sys.executable, "-m", "infra.bootstrap", "--check", "--device", "cpu"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "notification block alerts: missing" in done.stdout
    blocks = [sys.executable, "-m", "prefect", "block", "ls", "--output", "json"]
    listed = subprocess.run(blocks, env=environment, capture_output=True, text=True, check=True)
    assert [block["name"] for block in json.loads(listed.stdout)] == []


def test_a_failed_run_is_reported_to_the_webhook(servers: Servers) -> None:
    with running_webhook() as webhook:
        variables = {**servers.environment, "MAMBATALK_ALERT_URL": webhook.address}
        done = subprocess.run(
            [sys.executable, "-c", APPLY_AND_FAIL],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
        assert "the corpus is damaged" in done.stderr
        wait_until(lambda: webhook.posted, "an alert", 120)
    text = json.loads(webhook.posted[0])["text"]
    assert text.startswith("data-quality Fail: ")
    assert "the corpus is damaged" in text
    assert "docs/operations.md" in text
    # The address is a password.
    assert "secret-path" not in servers.prefect.log
