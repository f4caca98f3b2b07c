"""The data-quality flow: looks when something changed, says clean, warn or fail, and keeps what it
saw.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from flows.data_quality import data_quality
from mambatalk.files import read_json
from mambatalk.sample.build import write_sample
from tests.flows.servers import ask, wait_for

ROOT = Path(__file__).parents[2]
LAST = Path("runs/data_quality/last")
pytest.importorskip(
    "espeakng_loader", reason="eSpeak NG speaks the sample: pip install 'mambatalk[sample]'"
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.02, speakers=3, seed=3)
    return root


@pytest.fixture
def place(sample, tmp_path, monkeypatch):
    """A folder with a corpus and the parameters that name it, to run in."""
    shutil.copytree(sample, tmp_path / "corpus")
    yaml = YAML()
    params = yaml.load(ROOT / "infra" / "profiles" / "tiny.yaml")
    params["ingest"]["root"] = "corpus"
    yaml.dump(params, tmp_path / "params.yaml")
    monkeypatch.setenv("MAMBATALK_WORKERS", "1")
    monkeypatch.delenv("MAMBATALK_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clip(folder, number):
    return sorted(Path("corpus", folder).iterdir())[number]


def look():
    return data_quality(return_state=True)


def test_from_clean_to_warn_to_fail_and_back(prefect, place):
    state = look()
    assert (state.name, state.type.value) == ("Clean", "COMPLETED")
    assert "All 12 clips accepted" in (LAST / "index.html").read_text()
    assert not (LAST / "previous").exists()
    first = read_json(LAST / "summary.json")["snapshot"]

    seen = (LAST / "index.html").stat().st_mtime_ns
    state = look()
    assert state.name == "Clean"
    assert "nothing has changed" in state.message
    assert (LAST / "index.html").stat().st_mtime_ns == seen, "the corpus is not read again"

    broken = clip("smplxflame_30", 5)
    broken.write_bytes(b"PK broken")
    state = look()
    assert (state.name, state.type.value) == ("Warn", "COMPLETED")
    assert f'<article class="card case" id="{broken.stem}">' in (LAST / "index.html").read_text()
    assert read_json(LAST / "summary.json")["clip_changes"] == {"changed in content": 1}
    assert read_json(LAST / "previous" / "summary.json")["snapshot"] == first
    assert (LAST / "data_docs" / "index.html").is_file()

    state = data_quality(force=True, return_state=True)
    assert read_json(LAST / "previous" / "summary.json")["snapshot"] == first, (
        "the same files again are no earlier look"
    )

    for folder in ("smplxflame_30", "wave16k"):
        shutil.copy(clip(folder, 0), clip(folder, 1))
    Path("corpus/train_test_split.csv").write_text(
        "\n".join(
            [
                "id,type",
                *(
                    f"{path.stem},{'test' if k == 1 else 'train'}"
                    for k, path in enumerate(sorted(Path("corpus/wave16k").iterdir()))
                ),
            ]
        )
    )
    state = look()
    assert (state.name, state.type.value) == ("Fail", "FAILED")
    assert "leak" in read_json(LAST / "summary.json")["critical"][0]
    assert not Path("runs/data_quality/clips").exists(), "the clip store is thrown away"


def test_drift_against_the_last_look_is_warned_of(prefect, place):
    assert look().name == "Clean"
    for path in Path("corpus/smplxflame_30").iterdir():
        arrays = dict(np.load(path))
        arrays["expressions"] = arrays["expressions"] * 2
        np.savez(path, **arrays)
    state = look()
    assert state.name == "Warn"
    moved = read_json(LAST / "summary.json")["drifted"]
    assert {(one["speaker"], one["feature"], one["level"]) for one in moved} == {
        ("all", "max_expression", "large"),
        ("all", "face_range", "large"),
    }
    assert "2 significant shifts" in (LAST / "index.html").read_text()


def run(*arguments, **env):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.data_quality", *arguments],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_on_a_schedule_that_a_server_keeps(server, place):
    process = run("--every", "0.004", PREFECT_API_URL=server, PREFECT_RUNNER_POLL_FREQUENCY="1")
    try:
        assert any("Finished in state Clean" in line for line in process.stderr)
        done = wait_for(
            lambda: [
                one
                for one in ask(server, "flow_runs", "data-quality")
                if one["state_type"] == "COMPLETED"
            ],
            1,
        )
        assert done[0]["state_name"] == "Clean"
        assert done[0]["auto_scheduled"]
        artifacts = {one["key"]: one["data"] for one in ask(server, "artifacts")}
        assert artifacts["data-quality"].startswith("12 clips, 0 left out")
        assert str(LAST / "index.html") in artifacts["data-quality"]
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=60)
        process.kill()
    assert (LAST / "index.html").is_file()


def test_without_a_server_the_exit_code_says_that_training_would_stop(place):
    Path("corpus/train_test_split.csv").write_text(
        "\n".join(["id,type", *(f"{path.stem},train" for path in Path("corpus/wave16k").iterdir())])
    )
    process = run()
    out, err = process.communicate(timeout=180)
    assert process.returncode == 1, err
    assert out.startswith("data quality: fail: 12 clips")
    assert "split test: no clip is left" in (LAST / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "server", "told"),
    [
        (("--every", "24"), "", "no PREFECT_API_URL"),
        (("--cron", "at six"), "http://127.0.0.1:1/api", "found at six; expected five fields"),
        ((), "", "corpus: found no such folder"),
    ],
)
def test_bad_input_is_one_line_and_code_2(place, arguments, server, told):
    if not arguments:
        shutil.rmtree("corpus")
    process = run(*arguments, PREFECT_API_URL=server)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1
