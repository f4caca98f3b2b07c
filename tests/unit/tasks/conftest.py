"""A real MLflow registry on SQLite; its schema is made once, because that takes seconds."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.registry.store import open_registry
from tasks.tracking.store import connect


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        use_home(patch, home)
        open_registry()
    return home


def use_home(patch: pytest.MonkeyPatch, home: Path) -> None:
    patch.setenv("MAMBATALK_HOME", str(home))
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_EXPERIMENT_NAME",
        "MAMBATALK_SIGNING_KEY",
        "MAMBATALK_PUBLIC_KEY",
    ):
        patch.delenv(name, raising=False)
    connect.cache_clear()


@pytest.fixture
def client(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MlflowClient]:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(empty_store / "mlflow.db", home)
    use_home(monkeypatch, home)
    yield open_registry()
    connect.cache_clear()
