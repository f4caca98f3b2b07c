"""The summary of a build, as Prefect's artifact and the terminal show it."""

from pathlib import Path

from flows.summary import build_summary
from flows.workspace import Workspace
from mambatalk.files import write_json
from mambatalk.metrics.catalogue import KID, METRICS, MOTION


def test_stages_and_metrics_are_tables(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    workspace = Workspace.open(tmp_path)
    outcomes = {"ingest": "Up to date", "evaluate": "Ran"}
    stages = [
        "| stage | outcome |",
        "|---|---|",
        "| ingest | Up to date |",
        "| evaluate | Ran |",
    ]
    assert build_summary(workspace, outcomes).splitlines() == stages

    undefined = dict.fromkeys((*METRICS, KID.key, *MOTION), {"published": None, "corrected": None})
    rows = {
        "ground_truth": undefined | {"bc": {"published": 0.5}},
        "model": undefined | {"bc": {"published": 0.25}, "root_drift": {"corrected": 0.0735}},
    }
    result = {"rows": rows, "body": "stand-in", "fgd_encoder": "published"}
    write_json(workspace.paths.evaluation, result)
    lines = [" ".join(line.split()) for line in build_summary(workspace, outcomes).splitlines()]
    assert lines[: len(stages)] == stages
    assert lines[len(stages) + 1].startswith("| method | variant | FGD (1e-1) | BC (1e-1)† |")
    assert "| model | published | – | 2.500 | – | – | – | – | – |" in lines
    assert "| Root drift in 10 s (cm) | nearer to ground truth | – | 7.350 |" in lines
    assert lines[-1].startswith("† measured on the stand-in body")
