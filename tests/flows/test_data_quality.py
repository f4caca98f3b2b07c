"""The data-quality flow: clean, warn or fail, whenever the corpus has changed."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect.states import State
from ruamel.yaml import YAML

from flows.data_quality import data_quality
from flows.prefect_state import read_prefect
from flows.workspace import Workspace
from mambatalk.files import read_json
from mambatalk.sample.build import write_sample
from tests.flows.servers import query, wait_for

ROOT = Path(__file__).parents[2]
pytest.importorskip(
    "espeakng_loader", reason="eSpeak NG speaks the sample: pip install 'mambatalk[sample]'"
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.02, speakers=3, seed=3)
    return root


@pytest.fixture
def workspace(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A corpus and the parameters that name it; not the current directory."""
    shutil.copytree(sample, tmp_path / "corpus")
    yaml = YAML()
    params = yaml.load(ROOT / "infra" / "profiles" / "tiny.yaml")
    params["ingest"]["root"] = "corpus"
    yaml.dump(params, tmp_path / "params.yaml")
    monkeypatch.setenv("MAMBATALK_WORKERS", "1")
    return Workspace.open(tmp_path)


def last(workspace: Workspace) -> Path:
    return workspace.paths.runs / "data_quality/last"


def page(workspace: Workspace) -> str:
    return (last(workspace) / "index.html").read_text()


def summary(workspace: Workspace) -> dict[str, Any]:
    return read_json(last(workspace) / "summary.json")


def clip(workspace: Workspace, folder: str, number: int) -> Path:
    return sorted((workspace.root / "corpus" / folder).iterdir())[number]


def write_split(workspace: Workspace, test: int | None) -> None:
    """Put one clip, or none, into the test split and all others into train."""
    names = sorted(path.stem for path in (workspace.root / "corpus/wave16k").iterdir())
    rows = [f"{name},{'test' if k == test else 'train'}" for k, name in enumerate(names)]
    table = workspace.root / "corpus/train_test_split.csv"
    table.write_text("\n".join(["id,type", *rows]))


def report(workspace: Workspace, *, force: bool = False) -> State:
    return data_quality(str(workspace.root), force, return_state=True)


@pytest.mark.slow
def test_clean_then_warn_then_fail(prefect: None, workspace: Workspace) -> None:
    state = report(workspace)
    assert (state.name, state.type.value) == ("Clean", "COMPLETED")
    assert "All 12 clips accepted" in page(workspace)
    assert not (last(workspace) / "previous").exists()
    first = summary(workspace)["snapshot"]

    written = (last(workspace) / "index.html").stat().st_mtime_ns
    state = report(workspace)
    assert state.name == "Clean"
    assert "nothing has changed" in (state.message or "")
    assert (last(workspace) / "index.html").stat().st_mtime_ns == written, "made again"

    broken = clip(workspace, "smplxflame_30", 5)
    broken.write_bytes(b"PK broken")
    state = report(workspace)
    assert (state.name, state.type.value) == ("Warn", "COMPLETED")
    assert f'<article class="card case" id="{broken.stem}">' in page(workspace)
    assert summary(workspace)["clip_changes"] == {"changed in content": 1}
    previous = last(workspace) / "previous" / "summary.json"
    assert read_json(previous)["snapshot"] == first
    assert (last(workspace) / "data_docs" / "index.html").is_file()

    report(workspace, force=True)
    assert read_json(previous)["snapshot"] == first, "a report on the same files is not a previous"

    for folder in ("smplxflame_30", "wave16k"):
        shutil.copy(clip(workspace, folder, 0), clip(workspace, folder, 1))
    write_split(workspace, test=1)
    state = report(workspace)
    assert (state.name, state.type.value) == ("Fail", "FAILED")
    assert "leak" in summary(workspace)["critical"][0]
    assert any("data-quality" in need and "is fail" in need for need in read_prefect().needs)
    assert not (last(workspace).parent / "clips").exists(), "the clip store is temporary"


@pytest.mark.slow
def test_drift_against_the_previous_report_is_a_warning(
    prefect: None, workspace: Workspace
) -> None:
    assert report(workspace).name == "Clean"
    for path in (workspace.root / "corpus/smplxflame_30").iterdir():
        arrays = dict(np.load(path))
        arrays["expressions"] = arrays["expressions"] * 2
        np.savez(path, **arrays)
    assert report(workspace).name == "Warn"
    drifted = summary(workspace)["drifted"]
    assert {(one["speaker"], one["feature"], one["level"]) for one in drifted} == {
        ("all", "max_expression", "large"),
        ("all", "face_range", "large"),
        ("all", "activity_face", "large"),
    }
    assert "3 significant shifts" in page(workspace)


def run(workspace: Workspace, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "flows.data_quality", "--root", str(workspace.root), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def completed(server: str) -> list[dict[str, Any]]:
    runs = query(server, "flow_runs", "data-quality")
    return [one for one in runs if one["state_type"] == "COMPLETED"]


@pytest.mark.slow
def test_a_schedule_is_kept_by_a_server(server: str, workspace: Workspace) -> None:
    process = run(
        workspace,
        "--every",
        "0.004",
        PREFECT_API_URL=server,
        PREFECT_RUNNER_POLL_FREQUENCY="1",
    )
    try:
        assert any("Finished in state Clean" in line for line in process.stderr or ())
        done = wait_for(lambda: completed(server), 1)
        assert done[0]["state_name"] == "Clean"
        assert done[0]["auto_scheduled"]
        artifacts = {one["key"]: one["data"] for one in query(server, "artifacts")}
        assert artifacts["data-quality"].startswith("12 clips, 0 quarantined")
        assert str(last(workspace) / "index.html") in artifacts["data-quality"]
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=60)
        process.kill()
    assert (last(workspace) / "index.html").is_file()


@pytest.mark.slow
def test_the_exit_code_says_that_training_would_stop(server: str, workspace: Workspace) -> None:
    write_split(workspace, test=None)
    process = run(workspace, PREFECT_API_URL=server)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 1, err
    assert out.startswith("data quality: fail: 12 clips")
    assert "split test: no clip is left" in page(workspace)


@pytest.mark.parametrize(
    ("arguments", "server_url", "message"),
    [
        (("--every", "24"), "", "no PREFECT_API_URL"),
        pytest.param(
            ("--every", "24", "--cron", "0 6 * * *"),
            "http://127.0.0.1:1/api",
            "found two",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("--cron", "at six"),
            "http://127.0.0.1:1/api",
            "cron's format, found 'at six'",
            marks=pytest.mark.slow,
        ),
        ((), "", "corpus: expected a corpus in BEATX layout, found no such folder"),
    ],
)
def test_bad_input_is_reported_in_one_line_with_exit_code_2(
    workspace: Workspace, arguments: tuple[str, ...], server_url: str, message: str
) -> None:
    if not arguments:
        shutil.rmtree(workspace.root / "corpus")
    process = run(workspace, *arguments, PREFECT_API_URL=server_url)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
