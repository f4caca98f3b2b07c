"""A registered version is the whole bundle, loads by its alias, and is registered once."""

import shutil
import socket
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from flows.worktrees import git
from mambatalk.config import load_config
from mambatalk.errors import InputError
from mambatalk.files import write_json
from tasks.registry.aliases import promote_version, read_aliases, roll_back
from tasks.registry.registration import CARD, EVIDENCE, SPLIT, register
from tasks.registry.store import NAME, RegistryError, open_registry
from tasks.tracking.store import connect
from tests.helpers.built_checkout import (
    SPLITS,
    bundle_of_seed,
    write_bundle,
    write_checkout,
    write_lock,
)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkout(tmp_path_factory.mktemp("built") / "checkout")


@pytest.fixture
def checkout(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "checkout"))


def commit_snapshot(checkout: Path, digest: str) -> str:
    """Commit a snapshot of a digest, as ingestion reads it; return the commit."""
    snapshot = checkout / load_config(checkout / "params.yaml").ingest.snapshot
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    write_json(snapshot, {"digest": digest})
    git(checkout, "init", "--quiet")
    git(checkout, "add", str(snapshot))
    author = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    git(checkout, *author, "commit", "--quiet", "--message", "Add a snapshot")
    return git(checkout, "rev-parse", "HEAD").strip()


def test_a_version_is_complete_and_registered_once(client: MlflowClient, checkout: Path) -> None:
    commit = commit_snapshot(checkout, "digest of the files")
    first = register(checkout)
    assert (first.version, first.created, first.is_challenger) == ("1", True, True)
    again = register(checkout)
    assert (again.version, again.created) == ("1", False)
    assert read_aliases(client).challenger == "1"

    # Nothing refers to the checkout.
    shutil.rmtree(checkout)
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@challenger")
    assert sorted(model.metadata.signature.inputs.input_names()) == ["speaker_id", "waveform"]
    motion = model.predict(
        {"waveform": np.zeros(16_000, np.float32), "speaker_id": np.array([2], np.int64)}
    )
    assert {name: array.shape for name, array in motion.items()} == {
        "poses": (30, 165),
        "expressions": (30, 100),
        "trans": (30, 3),
    }

    version = client.get_model_version(NAME, "1")
    assert version.tags["bundle_digest"] == first.bundle_digest
    assert version.tags["git_commit"] == commit
    assert version.tags["snapshot_digest"] == "digest of the files"
    assert version.tags["quality_verdict"] == "passed"
    assert version.tags["signed"] == "false"
    for name in ("dvc_lock_digest", "evaluator_version"):
        assert version.tags[name]
    files = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/1"))
    assert [path.name for path in (files / "code").iterdir()] == ["mambatalk"]
    card = (files / f"data/{NAME}/{CARD}").read_text(encoding="utf-8")
    for heading in ("## Training data", "## Metrics", "## Limits", "## Licence"):
        assert heading in card
    kept = {entry.path for entry in client.list_artifacts(version.tags["run_id"], EVIDENCE)}
    assert f"{EVIDENCE}/manifest.parquet" in kept
    split = mlflow.artifacts.load_text(f"runs:/{version.tags['run_id']}/{EVIDENCE}/{SPLIT}")
    header, *clips = split.splitlines()
    assert header == "clip_id,split"
    assert len(clips) == len(SPLITS)
    assert [line.split(",")[1] for line in clips] == sorted(SPLITS)


def test_a_version_that_was_rolled_back_from_is_not_proposed_again(
    client: MlflowClient, checkout: Path
) -> None:
    for seed in (0, 1):
        write_bundle(checkout, bundle_of_seed(seed))
        promote_version(client, register(checkout).version, why="better")
    assert not register(checkout).is_challenger, "it is the champion"
    roll_back(client, reason="hands shake")
    again = register(checkout)
    assert (again.version, again.created, again.is_challenger) == ("2", False, False)
    assert "rolled back" in again.message
    assert read_aliases(client).challenger is None


def test_auto_encoders_of_another_training_are_refused(
    client: MlflowClient, checkout: Path
) -> None:
    write_lock(checkout, read="others")
    with pytest.raises(InputError, match="the generator was trained with, found another"):
        register(checkout)
    assert client.search_model_versions(f"name = '{NAME}'") == []


def test_a_changed_bundle_is_refused(client: MlflowClient, checkout: Path) -> None:
    (checkout / "bundle/vocabulary.json").write_text("{}")
    with pytest.raises(InputError, match=r"vocabulary\.json: expected sha256"):
        register(checkout)
    assert client.search_model_versions(f"name = '{NAME}'") == []


def test_a_checkout_without_a_bundle_is_refused(client: MlflowClient, checkout: Path) -> None:
    shutil.rmtree(checkout / "bundle")
    with pytest.raises(InputError, match=r"bundle\.json: expected a JSON file, found no such file"):
        register(checkout)


def test_a_registry_that_is_down_is_reported_in_one_line(
    client: MlflowClient, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        connect.cache_clear()
        with pytest.raises(RegistryError, match="the champion is unchanged") as caught:
            open_registry()
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
