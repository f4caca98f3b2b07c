"""A training stage that was stopped continues from its scratch folder to the same outputs."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mambatalk.config import load_config
from mambatalk.errors import InputError
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.models.fgd.storage import load_fgd_encoder
from mambatalk.training.context import TrainContext
from tasks import train_fgd_encoder as _train_fgd_encoder
from tasks.runtime.context import StageContext
from tasks.runtime.paths import Paths
from tasks.tracking.recorder import Recorder
from tests.helpers.feature_folder import write_feature_folder

ROOT = Path(__file__).parents[3]
EPOCHS = 4


class Stopped(Exception):
    """Raised in place of the signal that stops a stage."""


class MemoryRecorder(Recorder):
    """Keep the metrics by step, and stop before those of a given epoch are recorded."""

    def __init__(self, stop: int | None = None) -> None:
        super().__init__("train_fgd_encoder", {})
        self.steps: list[int] = []
        self.stop = stop

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        if "train/loss" in values:
            if step == self.stop:
                raise Stopped
            self.steps.append(step)

    def artifact(self, path: str | Path) -> None:
        pass

    def model(self, log: Any) -> None:
        pass


def context(root: Path, recorder: Recorder) -> StageContext:
    config = load_config(ROOT / "infra" / "profiles" / "tiny.yaml")
    section = replace(config.train_fgd_encoder, epochs=EPOCHS)
    return StageContext(
        stage="train_fgd_encoder",
        config=replace(config, train_fgd_encoder=section),
        recorder=recorder,
        fingerprint="a" * 64,
        paths=Paths(root),
    )


def outputs(root: Path) -> dict[str, bytes]:
    files = [
        *(root / "models").rglob("*"),
        *(root / "plots").rglob("*"),
        *(root / "metrics").rglob("*"),
    ]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.is_file()}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAMBATALK_DEVICE", "cpu")
    monkeypatch.setenv("MAMBATALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MAMBATALK_RUNS", raising=False)
    # Write the state after every epoch: these are far shorter than the default time between writes.
    often = partial(TrainContext, save_seconds=0.0)
    monkeypatch.setattr(_train_fgd_encoder, "TrainContext", often)
    for name in ("whole", "stopped"):
        write_feature_folder(tmp_path / name / "data" / "features")
    return tmp_path


def test_stopped_stage_continues_to_the_same_outputs(root: Path) -> None:
    _train_fgd_encoder.run(context(root / "whole", MemoryRecorder()))

    stopped = context(root / "stopped", MemoryRecorder(stop=3))
    with pytest.raises(Stopped):
        _train_fgd_encoder.run(stopped)
    assert outputs(root / "stopped") == {}
    assert len(list(stopped.scratch.iterdir())) == 2, "the two newest checkpoints"

    recorder = MemoryRecorder()
    _train_fgd_encoder.run(context(root / "stopped", recorder))
    assert outputs(root / "stopped") == outputs(root / "whole")
    assert recorder.steps == list(range(1, EPOCHS + 1)), "a new run has the whole curve"


def test_the_published_encoder_is_imported_only_at_its_size(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = FGDEncoder(40)
    monkeypatch.setattr(_train_fgd_encoder, "import_fgd_encoder", lambda path: encoder)
    published = root / "whole" / "AESKConv_240_100.bin"
    published.write_bytes(b"weights")

    def stage(latent: int) -> StageContext:
        usual = context(root / "whole", MemoryRecorder())
        section = replace(usual.config.train_fgd_encoder, published=published.name, latent=latent)
        return replace(usual, config=replace(usual.config, train_fgd_encoder=section))

    with pytest.raises(InputError, match=r"expected 40, the size in .*240_100\.bin, found 20"):
        _train_fgd_encoder.run(stage(20))
    _train_fgd_encoder.run(stage(40))
    stored = load_fgd_encoder(Paths(root / "whole").fgd)
    assert stored.latent == 40
