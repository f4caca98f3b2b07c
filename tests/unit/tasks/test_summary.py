"""The summary of a build: its metrics with their warnings, and where the results are."""

import shutil
from pathlib import Path

import pytest

from mambatalk.errors import InputError
from mambatalk.files import write_json
from mambatalk.metrics.catalogue import METRICS, MOTION
from tasks.tools.summary import command, show

UNDEFINED = {"published": None, "corrected": None}
ROW = dict.fromkeys((*METRICS, *MOTION), UNDEFINED) | {
    "fgd": {"published": 0.2, "corrected": None},
    "root_drift": {"corrected": 0.0735},
}
EVALUATION = {
    "rows": {"ground_truth": ROW, "model": ROW},
    "event_f1": {"ground_truth": 0.98, "model": None},
    "event_f1_lower": {"ground_truth": 1.0, "model": None},
    "clips": 2,
    "frames": 60,
    "body": "stand-in",
    "fgd_encoder": "home-made",
    "fidelity": "corrected",
    "checks": [{"status": status} for status in ("passed", "failed", "failed", "not shown")],
    "warnings": ["FGD of 2 feature rows"],
}


@pytest.fixture(autouse=True)
def _build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAMBATALK_HOME", str(tmp_path / "home"))
    write_json(tmp_path / "metrics" / "metrics.json", EVALUATION)


def test_metrics_are_shown_with_their_warnings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(Path())
    output = capsys.readouterr().out
    for words in (
        "FGD (1e-1)‡",
        "† measured on the stand-in body",
        "‡ measured with an FGD encoder that was trained here",
        "2.000 / –",
        "Event F1",
        "0.980",
        "Root drift in 10 s (cm)",
        "7.350",
        "4 checks: 1 passed, 2 failed, 1 not shown",
        "note: FGD of 2 feature rows",
    ):
        assert words in output


def test_paths_are_those_of_the_build_that_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("metrics", "runs/real/metrics")
    show(Path("runs/real"))
    assert "report  runs/real/reports/index.html" in capsys.readouterr().out


def test_parameters_that_no_stage_reads_are_checked() -> None:
    """DVC calls a build up to date although such a section is wrong."""
    Path("params.yaml").write_text("train_generater: {lr: 1}\n")
    with pytest.raises(InputError, match=r"params\.yaml"):
        command()
