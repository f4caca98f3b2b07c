"""`mambatalk drift` and `croissant`: comparing and describing snapshots."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mambatalk.cli import app
from mambatalk.errors import InputError
from mambatalk.files import read_json, write_json

CLIPS = 40


def write_store(folder: Path, *, loudness: float, clips: int = CLIPS) -> Path:
    """Write a manifest of clips that differ in one measure only."""
    folder.mkdir()
    random = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "clip_id": [f"1_ada_0_{k}_{k}" for k in range(clips)],
            "speaker": 1,
            "split": "train",
            "motion_sha256": "a",
            "words": 20.0,
            "audio_seconds": 10.0,
            "motion_seconds": random.normal(10, 1, CLIPS)[:clips],
            "loudness": random.normal(loudness, 2, CLIPS)[:clips],
            "shard": "shard-00000.parquet",
            "row_group": 0,
        }
    )
    table.to_parquet(folder / "manifest.parquet")
    return folder


def drift(before: Path, after: Path) -> tuple[int, list[str]]:
    done = CliRunner().invoke(app, ["drift", str(before), str(after)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output.splitlines()


def test_two_snapshots_are_compared_by_one_command(tmp_path: Path) -> None:
    before = write_store(tmp_path / "before", loudness=-20)
    assert drift(before, before) == (
        0,
        ["No drift: every PSI is below 0.1 or not significant."],
    )
    after = write_store(tmp_path / "after", loudness=-30, clips=CLIPS - 1)
    code, lines = drift(before, after)
    assert code == 1
    assert lines[0] == f"removed: 1_ada_0_{CLIPS - 1}_{CLIPS - 1}"
    assert any(line.startswith("large shift: All speakers: ") for line in lines)
    assert "significant shift" in lines[-1]


def test_a_folder_that_is_not_a_snapshot_is_refused(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", loudness=-20)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        drift(store, tmp_path / "empty")


def test_a_snapshot_is_described_in_croissant(tmp_path: Path) -> None:
    """The vocabulary was validated with mlcroissant, which also read the records of a sample."""
    names = ("train_test_split.csv", "smplxflame_30/1_ada_0_1_1.npz", "wave16k/1_ada_0_1_1.wav")
    files = {name: {"size": 9, "sha256": "ab" * 32} for name in names}
    snapshot = {"files": files, "digest": "cd" * 32}
    write_json(tmp_path / "snapshot.json", snapshot)
    out = tmp_path / "croissant.json"
    options = ["--out", str(out), "--published", "2026-11-28"]
    command = ["croissant", str(tmp_path / "snapshot.json"), *options]
    refused = CliRunner().invoke(app, command)
    assert "found no name, licence, url; take it again" in str(refused.exception)
    origin = {"name": "mine", "licence": "CC-BY-NC-4.0", "url": "https://example.org"}
    write_json(tmp_path / "snapshot.json", {**snapshot, "origin": origin})
    assert CliRunner().invoke(app, command).exit_code == 0
    found = read_json(out)
    assert found["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert (found["license"], found["datePublished"]) == ("CC-BY-NC-4.0", "2026-11-28")
    assert found["identifier"] == "sha256:" + "cd" * 32
    table, *sets = found["distribution"]
    assert table["sha256"] == "ab" * 32
    assert [one["includes"] for one in sets] == ["smplxflame_30/*.npz", "wave16k/*.wav"]
    defined = {one["@id"] for one in found["distribution"]}
    used = {field["source"]["fileObject"]["@id"] for field in found["recordSet"][1]["field"]}
    assert used <= defined
