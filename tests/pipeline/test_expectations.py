"""Great Expectations agrees with the data rules; its page is deterministic and needs no network."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mambatalk.config import load_config
from mambatalk.quality.rules.catalogue import clip_rules
from mambatalk.quality.rules.rule import Rule
from mambatalk.quality.rules.verdict import apply_rules
from tasks.expectations.suites import check, publish
from tasks.runtime.context import StageContext
from tasks.runtime.paths import Paths
from tasks.runtime.status import DataContractError
from tasks.tracking.recorder import Recorder
from tests.pipeline.workspace import ROOT

CLEAN: dict[str, Any] = {
    "fault": None,
    "split": "train",
    "fps": 30.0,
    "not_finite": 0.0,
    "motion_seconds": 10.0,
    "length_gap": 0.5,
    "max_angle": 1.0,
    "max_joint_speed": 3.0,
    "frozen_seconds": 0.0,
    "max_translation_speed": 0.5,
    "peak": 0.5,
    "copies": 1.0,
    "splits_of_content": 1.0,
    "sample_rate": 16000.0,
    "channels": 1.0,
    "container": "WAV",
    "clipped_share": 0.0,
    "silent_share": 0.2,
    "has_textgrid": True,
    "word_share": 0.8,
}
FAULTS = {
    "fault": "c.wav: found no such file",
    "split": None,
    "fps": 25.0,
    "not_finite": 3.0,
    "motion_seconds": 1.0,
    "length_gap": -20.0,
    "max_angle": 9.0,
    "max_joint_speed": 500.0,
    "peak": 0.0,
    "copies": 2.0,
    "container": "MP3",
    "sample_rate": 44100.0,
    "silent_share": 0.99,
    "has_textgrid": False,
    "splits_of_content": 2.0,
}


@pytest.fixture(scope="module")
def rules() -> list[Rule]:
    return clip_rules(load_config(ROOT / "infra" / "profiles" / "sample.yaml").check_clips)


def clips(*faults: dict[str, Any]) -> pd.DataFrame:
    rows = [{**CLEAN, "clip_id": f"1_ada_0_{k}_{k}", **fault} for k, fault in enumerate(faults)]
    rows += [
        {**CLEAN, "clip_id": f"2_bruno_0_{k}_{k}", "split": ("train", "test")[k % 2]}
        for k in range(40)
    ]
    return pd.DataFrame(rows).astype({"has_textgrid": bool})


def test_great_expectations_finds_what_the_rules_find(rules: list[Rule]) -> None:
    table = clips(*({name: value} for name, value in FAULTS.items()))
    checked = check(table, rules, name="clips", max_quarantined=1.0)
    ours = {rule: set(rows["clip_id"]) for rule, rows in apply_rules(table, rules).groupby("rule")}
    theirs: dict[str, set[str]] = {}
    for one in checked.result.results:
        broken = {row["clip_id"] for row in one.result.get("unexpected_index_list") or ()}
        if broken:
            theirs.setdefault(one.expectation_config.meta["rule"], set()).update(broken)
    assert theirs == ours
    assert len(ours) == len(FAULTS)


def test_a_missing_value_passes_unless_one_is_required(rules: list[Rule]) -> None:
    table = clips({"word_share": np.nan, "peak": np.nan})
    assert check(table, rules, name="clips", max_quarantined=1.0).summary()["unmet"] == 0


def test_the_page_needs_no_network_and_depends_on_the_data_alone(
    rules: list[Rule], tmp_path: Path
) -> None:
    pages = []
    for name in ("one", "two"):
        checked = check(clips({"peak": 0.0}), rules, name="clips", max_quarantined=1.0)
        context = stage_context(tmp_path / name)
        publish(context, checked, docs=tmp_path / name / "docs", title="Clips", lead="A test.")
        pages.append((tmp_path / name / "docs" / "index.html").read_text())
    assert pages[0] == pages[1]
    assert not re.search(r'(src|href)="(?!#)', pages[0])
    assert "<script" not in pages[0]
    assert "the audio is silent" in pages[0]
    assert "1_ada_0_0_0" in pages[0]
    summary = json.loads((tmp_path / "one" / "metrics" / "check_clips.json").read_text())
    assert (summary["success"], summary["quarantined"], summary["broken"]) == (
        True,
        1,
        {"audible": 1},
    )


def test_a_critical_rule_fails_after_the_evidence(rules: list[Rule], tmp_path: Path) -> None:
    checked = check(clips({"splits_of_content": 2.0}), rules, name="clips", max_quarantined=1.0)
    with pytest.raises(DataContractError, match=r"1_ada_0_0_0: leak.*evidence/index\.html"):
        publish(
            stage_context(tmp_path), checked, docs=tmp_path / "docs", title="Clips", lead="A test."
        )
    evidence = tmp_path / "runs" / "check_clips" / "evidence"
    assert {path.name for path in evidence.iterdir()} == {
        "index.html",
        "verdict.json",
        "findings.csv",
    }
    assert not (tmp_path / "docs").exists()
    assert not (tmp_path / "metrics").exists()


def stage_context(root: Path) -> StageContext:
    return StageContext(
        stage="check_clips",
        config=load_config(ROOT / "params.yaml"),
        recorder=Silent(),
        fingerprint="f" * 64,
        paths=Paths(root),
    )


class Silent(Recorder):
    """A recorder that opens no MLflow run."""

    def __init__(self) -> None:
        super().__init__("check_clips", {})

    def metrics(self, values: Any, step: int = 0) -> None:
        pass

    def artifact(self, path: Any) -> None:
        pass
