"""`mambatalk bench data`: real figures of a small corpus, each beside its bar."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mambatalk.bench.figure import Figure
from mambatalk.sample.build import write_sample

COMMAND = Path(sys.executable).with_name("mambatalk")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.04, speakers=3, seed=5)
    return root


def bench(*arguments):
    return subprocess.run(
        [COMMAND, "bench", "data", *map(str, arguments), "--workers", "1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_corpus_is_measured_and_left_as_it_was(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    figures = {
        figure["quantity"]: figure
        for figure in json.loads(bench("--root", corpus, "--json").stdout)
    }
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before
    assert all(figure["measured"] > 0 for figure in figures.values())
    assert 0.3 < figures["clip store"]["measured"] < 0.6
    assert figures["clip store"]["ok"]
    assert figures["  shards written anew"]["measured"] == 1
    assert 0.1 < figures["resident, all processes, 0.0 h"]["measured"] < 2


def test_what_is_no_corpus_is_one_line(tmp_path):
    done = bench("--root", tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_bar_is_a_floor_or_a_ceiling():
    assert Figure("speed", 600, "x", 500, at_least=True).ok
    assert not Figure("speed", 400, "x", 500, at_least=True).ok
    assert Figure("memory", 1, "GiB", 2).ok
    assert not Figure("memory", 3, "GiB", 2).ok
    assert Figure("told", 3, "s").ok is None
