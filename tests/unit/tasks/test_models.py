"""Large weights are logged to MLflow as a reference to files, which must not have changed."""

from pathlib import Path

import pytest

from mambatalk.errors import InputError
from tasks.tracking import models
from tasks.tracking.pyfunc import resolve


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    (folder / "face").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "face" / "weights.bin").write_bytes(b"weights")
    return folder


def test_small_weights_are_copied_with_the_model(weights: Path, tmp_path: Path) -> None:
    assert models._copy_or_reference(weights, tmp_path) == weights
    assert resolve(weights) == weights


def test_large_weights_are_referred_to(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "COPY_LIMIT", 8)
    stored = models._copy_or_reference(weights, tmp_path)
    assert [path.name for path in stored.iterdir()] == ["reference.json"]
    assert resolve(stored) == weights


@pytest.mark.parametrize("change", ["content", "missing"])
def test_weights_that_changed_since_are_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(models, "COPY_LIMIT", 8)
    stored = models._copy_or_reference(weights, tmp_path)
    file = weights / "face" / "weights.bin"
    if change == "missing":
        file.unlink()
    else:
        file.write_bytes(b"others")
    with pytest.raises(InputError, match=r"weights\.bin: expected the file with sha256"):
        resolve(stored)
