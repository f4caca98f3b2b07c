"""Bad input is reported in one line with a non-zero exit code and leaves no output behind."""

import fcntl
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.workspace import Workspace, checkout

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("built")]


@pytest.mark.parametrize(
    ("break_params", "message"),
    [
        (
            lambda w: w.set_params(sample_corpus__hour=1.0),
            "sample_corpus.hour: expected no such key",
        ),
        (
            lambda w: w.set_params(train_generator__epochs="ten"),
            "train_generator.epochs: expected a valid integer",
        ),
    ],
    ids=["unknown-key", "wrong-type-of-a-later-stage"],
)
def test_a_bad_parameter_is_reported_in_one_line(
    empty: Workspace, break_params: Callable[[Workspace], None], message: str
) -> None:
    break_params(empty)
    done = empty.stage("prepare")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (empty.root / "data" / "sample").exists()
    status = json.loads(empty.read("runs/prepare/status.json"))
    assert (status["state"], status["kind"]) == ("failed", "config")
    assert empty.dvc("repro").returncode != 0


@pytest.fixture
def corpus(built: Workspace, tmp_path: Path) -> Workspace:
    """A checkout with its own copy of the built sample corpus, which a test may damage."""
    workspace = checkout(tmp_path)
    shutil.copytree(built.root / "data" / "sample", workspace.root / "data" / "sample")
    return workspace


def snapshot(workspace: Workspace) -> None:
    done = workspace.run(
        "mambatalk", "snapshot", "data/sample/corpus", "--out", "data/sample/snapshot.json"
    )
    assert done.returncode == 0, done.stderr


def one_line(done: object, *words: str) -> None:
    assert done.returncode != 0
    line = done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in line, line


def test_a_missing_corpus_root(corpus: Workspace) -> None:
    corpus.set_params(ingest__root="data/nowhere")
    one_line(corpus.stage("ingest"), "data/nowhere", "expected")
    assert not (corpus.root / "data" / "clips").exists()


@pytest.mark.parametrize("key", ["ingest__root", "ingest__snapshot", "body__path"])
def test_missing_user_files_are_reported_by_the_first_stage(corpus: Workspace, key: str) -> None:
    corpus.set_params(**{key: "data/nowhere"})
    one_line(corpus.stage("prepare"), key.replace("__", "."), "nothing at data/nowhere", "expected")


def test_a_corpus_that_differs_from_its_snapshot(corpus: Workspace) -> None:
    wav = next((corpus.root / "data/sample/corpus/wave16k").glob("*.wav"))
    wav.write_bytes(wav.read_bytes() + b"more")
    one_line(corpus.stage("ingest"), wav.name)
    assert not (corpus.root / "data" / "clips").exists()


def test_a_clip_without_its_wav_is_quarantined_with_its_reason(corpus: Workspace) -> None:
    wav = next((corpus.root / "data/sample/corpus/wave16k").glob("*.wav"))
    wav.unlink()
    snapshot(corpus)
    assert corpus.stage("ingest").returncode == 0
    corpus.set_params(check_clips__max_quarantined=0.9)
    done = corpus.stage("check_clips")
    assert done.returncode == 0, done.stderr
    accepted = json.loads(corpus.read("data/accepted.json"))
    assert wav.stem not in accepted["accepted"]
    assert "wav" in json.dumps(accepted["quarantined"][wav.stem])
    assert (
        f'<article class="card case" id="{wav.stem}">'
        in corpus.read("reports/quality/index.html").decode()
    )


def test_too_many_bad_clips_fail_after_the_evidence(corpus: Workspace) -> None:
    for wav in sorted((corpus.root / "data/sample/corpus/wave16k").glob("*.wav"))[1:]:
        wav.unlink()
    snapshot(corpus)
    assert corpus.stage("ingest").returncode == 0
    done = corpus.stage("check_clips")
    assert done.returncode == 1
    one_line(done, "runs/check_clips")
    assert json.loads(corpus.read("runs/check_clips/status.json"))["kind"] == "data-contract"
    page = corpus.root / "runs" / "check_clips" / "quality" / "index.html"
    (docs,) = set(re.findall(r'href="([^"#]*index[.]html)"', page.read_text()))
    assert (
        page.parent / docs
    ).resolve() == corpus.root / "runs" / "check_clips" / "evidence" / "index.html"
    assert (page.parent / docs).exists()
    assert not (corpus.root / "data" / "accepted.json").exists()


def test_an_empty_split(corpus: Workspace) -> None:
    csv = corpus.root / "data/sample/corpus/train_test_split.csv"
    csv.write_text(csv.read_text().replace(",test", ",train"))
    snapshot(corpus)
    assert corpus.stage("ingest").returncode == 0
    one_line(corpus.stage("check_clips"), "split test", "no clip is left")
    assert not (corpus.root / "data" / "accepted.json").exists()


def test_a_full_disk(empty: Workspace) -> None:
    """On a file system of 3 MB, mounted in a user namespace."""
    small = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    (empty.root / "data").mkdir(exist_ok=True)
    if empty.run(*small, "mount -t tmpfs -o size=3m none data").returncode:
        pytest.skip("mounting a small file system is not allowed here")
    done = empty.run(
        *small,
        "mount -t tmpfs -o size=3m none data && python -m tasks.prepare; "
        "code=$?; ls -A data; exit $code",
    )
    assert done.returncode == 2
    one_line(done, "a full disk", "no partial file was kept")
    assert done.stdout == ""


def test_two_copies_of_a_stage_do_not_run_at_once(corpus: Workspace) -> None:
    lock = corpus.root / "runs" / "ingest" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        one_line(corpus.stage("ingest"), "already running")
    assert corpus.stage("ingest").returncode == 0


def test_a_signal_during_a_finaliser_stops_the_stage(corpus: Workspace) -> None:
    """The interpreter swallows exceptions that are raised there."""
    script = """
import os, signal, sys, time
from tasks.runtime.stage import execute

class SignalOnDelete:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)

def work(context):
    victim = SignalOnDelete()
    del victim
    while True:
        time.sleep(1)

sys.exit(execute("ingest", work))
"""
    done = corpus.run(sys.executable, "-c", script, timeout=60)
    assert done.returncode == 143, done.stderr
    assert (
        json.loads((corpus.root / "runs" / "ingest" / "status.json").read_text())["kind"]
        == "interrupted"
    )
