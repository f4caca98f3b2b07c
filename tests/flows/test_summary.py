"""The summary of a build, as Prefect's artifact and the terminal show it."""

from pathlib import Path

from flows.summary import build_summary
from flows.workspace import Workspace
from mambatalk.files import write_json


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

    rows = {
        "ground_truth": {"fgd": {"published": None, "corrected": 0.0}, "bc": {"published": 0.5}},
        "model": {"fgd": {"published": 1.23456, "corrected": 2.0}, "bc": {"published": 0.25}},
    }
    write_json(workspace.paths.evaluation, {"rows": rows})
    assert build_summary(workspace, outcomes).splitlines() == [
        *stages,
        "",
        "| row | bc published | bc corrected | fgd published | fgd corrected |",
        "|---|---:|---:|---:|---:|",
        "| ground_truth | 0.5 | – | – | 0 |",
        "| model | 0.25 | – | 1.235 | 2 |",
    ]
