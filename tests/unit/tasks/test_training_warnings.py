"""A training that ends with a model that does not move says so, whatever its loss is."""

import logging
from pathlib import Path
from typing import Any

import pytest

from mambatalk.metrics.catalogue import MOTION
from tasks.runtime.training_warnings import evaluation_warnings, training_warnings, warn
from tasks.tracking.recorder import Recorder

GOOD = {
    "loss": 0.02,
    "codes_used": 0.4,
    "perplexity": 13.0,
    "kmeans_perplexity": 28.7,
    "range_ratio": 0.84,
}


def test_a_training_that_moves_has_no_warning() -> None:
    assert training_warnings(GOOD) == []
    assert training_warnings({"loss": 0.1, "range_ratio": 0.9, "drift_ratio": 1.1}) == []
    assert training_warnings({"loss": 0.1}) == [], "the FGD encoder measures nothing"
    assert training_warnings({}) == [], "a network that was imported"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"perplexity": 2.6}, "the codebook has collapsed: perplexity 2.6, k-means"),
        ({"codes_used": 0.15}, "15% of the codes are in use, expected at least 20%"),
        ({"range_ratio": 0.02}, "the reconstructed motion stands nearly still: its range is 0.02"),
        ({"drift_ratio": 10.0}, "the reconstructed motion drifts: 10.0 times as far"),
    ],
)
def test_each_symptom_is_one_warning(change: dict[str, float], text: str) -> None:
    (warning,) = training_warnings(GOOD | change)
    assert warning.startswith(text)


def test_generated_codes_are_compared_with_those_of_the_recording_by_part() -> None:
    metrics = {
        "loss": 23.0,
        "lower/perplexity": 1.5,
        "lower/true_perplexity": 13.0,
        "hands/perplexity": 10.0,
        "hands/true_perplexity": 13.0,
    }
    (warning,) = training_warnings(metrics)
    assert warning.startswith("lower: the generated codes have collapsed: perplexity 1.5, codes of")


def evaluation(**model: float | None) -> dict[str, Any]:
    truth = {key: {"corrected": 1.0} for key in MOTION}
    changed = {key: {"corrected": model.get(key, 1.0)} for key in MOTION}
    return {"rows": {"ground_truth": truth, "model": changed}}


def test_generated_motion_that_stands_still_or_drifts_is_a_warning() -> None:
    assert evaluation_warnings(evaluation()) == []
    frozen, drifting = evaluation_warnings(evaluation(range_lower=0.1, root_drift=5.0))
    assert frozen.startswith("lower body: the generated motion stands nearly still: its range is")
    assert drifting.startswith("root: the generated motion drifts: 5.0 times as far in 10 s")
    (collapsed,) = evaluation_warnings(evaluation(codes_lower=0.19))
    assert collapsed.startswith("lower body: the generated codes have collapsed: perplexity 0.2")
    assert evaluation_warnings(evaluation(range_jaw=None)) == [], "undefined"


class MemoryRecorder(Recorder):
    """Keeps numbers and tags."""

    def __init__(self) -> None:
        super().__init__("train_vq@lower", {})
        self.numbers: dict[str, Any] = {}
        self.kept: dict[str, str] = {}

    def metrics(self, values: Any, step: int = 0) -> None:
        self.numbers.update(values)

    def tag(self, key: str, value: str) -> None:
        self.kept[key] = value


def test_warnings_are_in_the_log_and_in_the_run(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    recorder = MemoryRecorder()
    with caplog.at_level(logging.WARNING):
        warn("train_vq@lower", ["the codebook has collapsed", "it stands still"], recorder)
    assert caplog.messages == [
        "warning: train_vq@lower: the codebook has collapsed",
        "warning: train_vq@lower: it stands still",
    ]
    assert recorder.numbers == {"warnings": 2}
    assert recorder.kept == {"warnings": "the codebook has collapsed; it stands still"}

    quiet = MemoryRecorder()
    warn("train_vq@face", [], quiet)
    assert (quiet.numbers, quiet.kept) == ({"warnings": 0}, {})
