"""`mambatalk download` as a person or a script runs it, against a hub on loopback: killed, stopped,
asked, mistaken.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mambatalk.download.hub import REVISION
from mambatalk.download.licence import ACCEPTED, NOTICE
from mambatalk.sample.build import write_sample
from tests.helpers.hub_downloads import ENGLISH, corpus, fetch, on_disk, path_of, until, wanted_of
from tests.helpers.hub_server import Hub, running

COMMAND = Path(sys.executable).with_name("mambatalk")
NO_HOME = Path("/nonexistent/huggingface")


@pytest.fixture
def hub():
    with running(Hub(corpus(), REVISION)) as value:
        yield value


def run(hub, *arguments, **options):
    return subprocess.run(
        [COMMAND, "download", *map(str, arguments)],
        env=environment(hub),
        text=True,
        timeout=60,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
        **options,
    )


def environment(hub):
    return {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(NO_HOME)}


def test_a_killed_download_goes_on_and_fetches_nothing_that_was_whole(hub, tmp_path):
    def whole():
        return {path for path in on_disk(tmp_path) if path.startswith(ENGLISH)}

    gate = hub.gate = threading.Semaphore(15)
    arguments = [COMMAND, "download", tmp_path, "--accept-licence"]
    with subprocess.Popen(arguments, env=environment(hub), stderr=subprocess.DEVNULL) as process:
        until(lambda: (len(whole()), hub.half_sent()) == (15, 8))
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = whole()
    assert all((tmp_path / path).read_bytes() == hub.files[path] for path in kept)
    wanted = wanted_of(hub)
    assert kept < wanted
    assert len(kept) == 15
    hub.gate, first = None, list(hub.log)
    gate.release(1000)
    done = run(hub, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    asked = {entry["path"] for entry in hub.log[len(first) :] if entry["path"] in wanted}
    assert asked & kept == set()
    assert asked <= wanted - kept
    assert whole() == wanted
    assert all((tmp_path / path).read_bytes() == hub.files[path] for path in wanted)
    assert {path.name for path in tmp_path.iterdir()} == {
        ENGLISH,
        "download.json",
        ACCEPTED,
        ".download",
    }
    assert not NO_HOME.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_waits_for_nobody(hub, tmp_path, number):
    hub.gate = threading.Semaphore(0)
    with subprocess.Popen(
        [COMMAND, "download", tmp_path, "--accept-licence"],
        env=environment(hub),
        text=True,
        stderr=subprocess.PIPE,
    ) as process:
        until(lambda: hub.half_sent() == 8)
        process.send_signal(number)
        try:
            # huggingface_hub waits ten seconds for a body that stands still.
            assert process.wait(timeout=5) == 128 + number
        finally:
            process.kill()
        assert (
            process.stderr.read()
            == f"{NOTICE}\nmambatalk: stopped; the same command goes on from here\n"
        )


def test_a_failure_for_good_waits_for_nobody(hub, tmp_path):
    hub.faults[f"HEAD {path_of('2_scott_0_1_1')}"] = ["503*"]
    hub.faults[f"HEAD {path_of('2_scott_0_2_2')}"] = ["401*"]
    with subprocess.Popen(
        [COMMAND, "download", tmp_path, "--accept-licence"],
        env=environment(hub),
        text=True,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            # The other file is tried for two minutes.
            assert process.wait(timeout=20) == 2
        finally:
            process.kill()
        line = process.stderr.read().removeprefix(f"{NOTICE}\n").splitlines()[-1]
    assert path_of("2_scott_0_2_2") in line
    assert "HF_TOKEN" in line


def test_the_terms_are_told_once_and_their_acceptance_is_kept(hub, tmp_path):
    done = run(hub, tmp_path / "out", "--speakers", 2)
    assert done.returncode == 2
    assert done.stderr.startswith(NOTICE)
    assert done.stderr.removeprefix(NOTICE).strip().count("\n") == 0
    assert "--accept-licence" in done.stderr
    assert not (tmp_path / "out").exists()
    assert hub.log == []
    done = run(hub, tmp_path / "out", "--speakers", 2, "--accept-licence")
    assert (done.returncode, done.stderr) == (0, NOTICE + "\n")
    assert NOTICE in (tmp_path / "out" / ACCEPTED).read_text()
    done = run(hub, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_dry_run_counts_and_writes_nothing(hub, tmp_path):
    done = run(hub, tmp_path / "out", "--speakers", "2,4", "--dry-run")
    total = sum(len(hub.files[path]) for path in wanted_of(hub))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"42 files, {total / 1e6:.1f} MB: {ENGLISH} at commit {REVISION}" in done.stdout
    assert [line.split()[1:6:2] for line in done.stdout.splitlines() if "wave" in line] == [
        ["wave", "10", "400.0"]
    ]
    assert list(tmp_path.iterdir()) == []
    assert hub.sent_whole() == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("out", "--speakers", "two"), "numbers between commas"),
        (
            ("out", "--speakers", "2,99", "--accept-licence"),
            "--speakers: found 99; expected some of 2, 4",
        ),
        (("taken", "--accept-licence"), "expected a folder to write to"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(hub, tmp_path, arguments, named):
    (tmp_path / "taken").touch()
    done = run(hub, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr.removeprefix(NOTICE)
    assert done.stderr.removeprefix(NOTICE).strip().count("\n") == 0


def test_a_downloaded_corpus_is_one_that_check_accepts(tmp_path):
    pytest.importorskip(
        "espeakng_loader", reason="eSpeak NG speaks the sample: pip install 'mambatalk[sample]'"
    )
    write_sample(tmp_path / "sample", hours=0.02, speakers=3, seed=3)
    files = {f"{ENGLISH}/{path}": content for path, content in on_disk(tmp_path / "sample").items()}
    with running(Hub(files, REVISION)) as hub:
        fetch(hub, tmp_path / "out", speakers=frozenset({1, 3}))
    root = tmp_path / "out" / ENGLISH
    done = subprocess.run(
        [COMMAND, "check", root, "--speakers", "1,3", "--workers", "1"],
        text=True,
        timeout=60,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 clips: 8 accepted" in done.stdout
