"""Backups: what they cannot copy is refused before anything is written."""

import pytest

from infra.backup import artifact_place
from mambatalk.errors import InputError


def test_artifacts_in_a_folder_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", "/srv/mlflow")
    with pytest.raises(InputError, match="expected a place in S3, found /srv/mlflow"):
        artifact_place()
