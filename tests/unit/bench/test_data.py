"""`mambatalk bench data` measures a corpus without changing it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mambatalk.bench.measurement import Measurement
from mambatalk.sample.build import write_sample

pytest.importorskip(
    "espeakng_loader", reason="the sample needs eSpeak NG: pip install 'mambatalk[sample]'"
)
COMMAND = Path(sys.executable).with_name("mambatalk")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.04, speakers=3, seed=5)
    return root


def bench_data(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "bench", "data", "--root", root, *options, "--workers", "1"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.slow
def test_a_corpus_is_measured_and_not_changed(corpus: Path) -> None:
    modified = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    done = bench_data(corpus, "--json")
    assert done.returncode == 0, done.stderr
    measured = {row["quantity"]: row for row in json.loads(done.stdout)}
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == modified
    assert all(row["value"] > 0 for row in measured.values())
    assert 0.3 < measured["size of the clip store"]["value"] < 0.6
    assert measured["size of the clip store"]["ok"]
    assert measured["shards rewritten"]["value"] == 1
    assert 0.1 < measured["resident memory of all processes, 0.0 h"]["value"] < 2
    assert 0.1 < measured["resident memory of the check, 0.0 h"]["value"] < 2
    assert "check of an unchanged corpus, 0.0 h" in measured


def test_a_missing_corpus_is_an_input_error(tmp_path: Path) -> None:
    done = bench_data(tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_target_is_a_minimum_or_a_maximum() -> None:
    assert Measurement("speed", 600, "x", 500, higher_is_better=True).ok
    assert not Measurement("speed", 400, "x", 500, higher_is_better=True).ok
    assert Measurement("speed", 400, "x", 500, higher_is_better=True).target_text == "at least 500"
    assert Measurement("memory", 1, "GiB", 2).ok
    assert not Measurement("memory", 3, "GiB", 2).ok
    assert Measurement("memory", 3, "GiB", 2).target_text == "at most 2"
    assert Measurement("duration", 3, "s").ok is None
