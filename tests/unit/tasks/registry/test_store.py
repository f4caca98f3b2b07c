"""A server of another version is refused in one line, before anything is changed."""

import json

import mlflow
import pytest
from mlflow import MlflowClient
from packaging.version import Version

from tasks.registry.store import RegistryError, open_registry
from tasks.tracking.store import EXPERIMENT_TAGS, connect
from tests.helpers.answering import answering

OWN = Version(mlflow.__version__)
EXPERIMENT = {
    "experiment_id": "1",
    "name": "mambatalk",
    "tags": [{"key": key, "value": value} for key, value in EXPERIMENT_TAGS.items()],
}


@pytest.mark.parametrize(
    "version", ["2.22.0", f"{OWN.major}.{OWN.minor - 1}.9", f"{OWN.major + 1}.0.0"]
)
def test_a_server_that_is_older_or_of_another_major_version_is_refused(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    found = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=mambatalk"
    answers = {"/version": version, found: json.dumps({"experiment": EXPERIMENT})}
    with answering(answers) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        connect.cache_clear()
        # Any request that changes something would get another error.
        with pytest.raises(RegistryError, match=f"found {version}") as caught:
            open_registry()
    assert "\n" not in str(caught.value)
