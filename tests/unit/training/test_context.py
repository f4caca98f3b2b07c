"""The curve of a training: recorded as it grows, written as CSV."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.runtime import device
from mambatalk.training.context import Curve, NullTracker, TrainContext


class RecordingTracker:
    """Keep what is recorded."""

    def __init__(self) -> None:
        self.recorded: list[tuple[int, dict[str, Any]]] = []

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        self.recorded.append((step, dict(values)))


def test_curve_is_recorded_and_written_as_csv(tmp_path: Path) -> None:
    tracker = RecordingTracker()
    curve = Curve(tracker)
    curve.add(0, {"train/loss": 1.23456789, "val/loss": 2.0})
    curve.add(1, {"train/loss": 1e-7, "val/loss": 1.5})
    curve.write(tmp_path / "c.csv")
    with (tmp_path / "c.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["epoch", "train/loss", "val/loss"],
            ["0", "1.23457", "2"],
            ["1", "1e-07", "1.5"],
        ]
    assert tracker.recorded == [
        (0, {"train/loss": 1.23456789, "val/loss": 2.0}),
        (1, {"train/loss": 1e-7, "val/loss": 1.5}),
    ]


def test_curve_of_an_imported_network_has_a_header_alone(tmp_path: Path) -> None:
    Curve(NullTracker()).write(tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_text() == "epoch,train/loss,val/loss\n"


def test_metrics_of_an_epoch_are_those_of_one_split() -> None:
    curve = Curve(NullTracker())
    curve.add(1, {"train/loss": 3.0, "val/loss": 2.0})
    curve.add(2, {"train/loss": 1.0, "val/loss": 1.5, "val/mse": 0.5})
    assert curve.at(2, "val") == {"loss": 1.5, "mse": 0.5}
    assert curve.at(1, "train") == {"loss": 3.0}
    assert curve.at(2, "check") == {}


def test_device_is_the_one_of_the_environment(monkeypatch: Any) -> None:
    monkeypatch.setenv("MAMBATALK_DEVICE", "meta")
    assert device() == torch.device("meta")


def test_an_unknown_device_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAMBATALK_DEVICE", "gpu")
    with pytest.raises(InputError, match="^MAMBATALK_DEVICE: expected cpu, cuda or cuda:1, found"):
        device()


def test_time_between_checkpoints_is_a_variable_of_five_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MAMBATALK_CHECKPOINT_SECONDS", raising=False)
    assert TrainContext(device=torch.device("cpu")).save_seconds == 300
    monkeypatch.setenv("MAMBATALK_CHECKPOINT_SECONDS", "20.5")
    assert TrainContext(device=torch.device("cpu")).save_seconds == 20.5


@pytest.mark.parametrize("value", ["five", "-1", "nan", "inf"])
def test_a_time_between_checkpoints_must_be_a_number(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MAMBATALK_CHECKPOINT_SECONDS", value)
    with pytest.raises(InputError, match=f"MAMBATALK_CHECKPOINT_SECONDS: .* found '{value}'"):
        TrainContext(device=torch.device("cpu"))
