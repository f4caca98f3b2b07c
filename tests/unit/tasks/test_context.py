"""A stage receives everything through its context, whose paths are inside the checkout."""

import json
from pathlib import Path
from typing import Any

import pytest

from mambatalk.config import load_config
from mambatalk.errors import InputError
from mambatalk.training.context import Curve
from tasks.runtime.context import StageContext
from tasks.runtime.paths import Paths
from tasks.runtime.publish import publish_training
from tasks.runtime.view import locked_fingerprints, stage_view
from tasks.tracking.recorder import Recorder
from tests.flows.toy import make_toy

ROOT = Path(__file__).parents[3]


class MemoryRecorder(Recorder):
    """A recorder that keeps its records in memory."""

    def __init__(self) -> None:
        super().__init__("train_vq@face", {})
        self.numbers: dict[str, Any] = {}
        self.files: list[Path] = []
        self.models = 0

    def metrics(self, values: Any, step: int = 0) -> None:
        self.numbers.update(values)

    def artifact(self, path: str | Path) -> None:
        self.files.append(Path(path))

    def model(self, log: Any) -> None:
        self.models += 1


class FakeTrained:
    """Placeholder for the result of a training."""

    def __init__(self, recorder: Recorder) -> None:
        self.network = object()
        self.metrics = {"loss": 0.5, "codes_used": 0.25, "rotation": 0.125, "face/perplexity": 7.0}
        self.curve = Curve(recorder)
        self.curve.add(0, {"train/loss": 1.0, "val/loss": 0.5})


def context(root: Path, fingerprint: str = "a" * 64) -> StageContext:
    return StageContext(
        stage="train_vq@face",
        config=load_config(ROOT / "params.yaml"),
        recorder=MemoryRecorder(),
        fingerprint=fingerprint,
        paths=Paths(root),
    )


def test_all_paths_are_inside_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAMBATALK_RUNS", raising=False)
    assert all(path.is_relative_to(tmp_path) for path in vars(Paths(tmp_path)).values())


def test_without_a_root_paths_are_those_of_dvc() -> None:
    """Some are written into results, which must not depend on the place of the checkout."""
    assert str(Paths().clips) == "data/clips"


def test_configured_paths_may_be_absolute(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert paths.resolve("data/x") == tmp_path / "data/x"
    assert paths.resolve("/corpus") == Path("/corpus")


def test_the_same_inputs_have_the_same_scratch_folder(tmp_path: Path) -> None:
    first = context(tmp_path).scratch
    assert first == context(tmp_path).scratch
    assert first != context(tmp_path, "b" * 64).scratch
    assert first.parent == context(tmp_path).run_folder


def test_a_training_is_published_as_weights_curve_metrics_and_model(tmp_path: Path) -> None:
    stage = context(tmp_path)
    recorder = stage.recorder
    assert isinstance(recorder, MemoryRecorder)
    trained = FakeTrained(recorder)
    publish_training(
        stage,
        trained,  # type: ignore[arg-type]
        folder=stage.paths.vq / "face",
        save=lambda out: (out / "face.safetensors").touch(),
        model=lambda step: "m-1",
    )
    assert (tmp_path / "models/vq/face/face.safetensors").is_file()
    assert (tmp_path / "plots/train_vq/face.csv").read_text().startswith("epoch,train/loss")
    metrics = json.loads((tmp_path / "metrics/train_vq/face.json").read_text())
    assert metrics == {"loss": 0.5, "codes_used": 0.25, "face/perplexity": 7.0}
    assert recorder.numbers["final"] == trained.metrics
    assert recorder.numbers["warnings"] == 0
    assert recorder.files == [tmp_path / "plots/train_vq/face.csv"]
    assert recorder.models == 1


def test_a_stage_that_dvc_does_not_know_is_an_input_error(tmp_path: Path) -> None:
    make_toy(tmp_path / "toy")
    with pytest.raises(InputError, match="stage fourth: expected a stage of dvc.yaml"):
        stage_view("fourth", root=tmp_path / "toy")
    (tmp_path / "toy" / "stage.py").unlink()
    with pytest.raises(InputError, match=r"whose dependencies exist, found .*stage\.py"):
        stage_view("first", root=tmp_path / "toy")


def test_without_a_build_no_fingerprint_is_locked(tmp_path: Path) -> None:
    assert locked_fingerprints(tmp_path / "dvc.lock") == {}
