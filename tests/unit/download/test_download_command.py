"""`mambatalk download` as a process: interruption, licence, dry run and exit codes."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mambatalk.download.hub import REVISION
from mambatalk.download.licence import ACCEPTED, NOTICE
from mambatalk.sample.build import write_sample
from tests.helpers.hub_downloads import (
    ENGLISH,
    corpus,
    fetch,
    layout_files,
    on_disk,
    path_of,
    wait_until,
)
from tests.helpers.hub_server import Hub, running

COMMAND = Path(sys.executable).with_name("mambatalk")
NO_HOME = Path("/nonexistent/huggingface")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running(Hub(corpus(), REVISION)) as server:
        yield server


def run(hub: Hub, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "download", *map(str, arguments)],
        env=environment(hub),
        text=True,
        timeout=60,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
        cwd=cwd,
    )


def _error_output(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.read()


def environment(hub: Hub) -> dict[str, str]:
    return {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(NO_HOME)}


def test_a_killed_download_resumes_without_downloading_files_twice(
    hub: Hub, tmp_path: Path
) -> None:
    def complete_files() -> set[str]:
        # Only names, and only of this folder: unfinished files vanish while the download runs.
        files = (path for path in (tmp_path / ENGLISH).rglob("*") if path.is_file())
        return {path.relative_to(tmp_path).as_posix() for path in files}

    gate = hub.gate = threading.Semaphore(15)
    arguments: list[str | Path] = [COMMAND, "download", tmp_path, "--accept-licence"]
    with subprocess.Popen(arguments, env=environment(hub), stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: (len(complete_files()), hub.unfinished_count()) == (15, 8))
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = complete_files()
    assert all((tmp_path / path).read_bytes() == hub.files[path] for path in kept)
    wanted = layout_files(hub)
    assert kept < wanted
    assert len(kept) == 15
    hub.gate, first = None, list(hub.log)
    gate.release(1000)
    done = run(hub, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    requested = {entry["path"] for entry in hub.log[len(first) :] if entry["path"] in wanted}
    assert requested & kept == set()
    assert requested <= wanted - kept
    assert complete_files() == wanted
    assert all((tmp_path / path).read_bytes() == hub.files[path] for path in wanted)
    assert {path.name for path in tmp_path.iterdir()} == {
        ENGLISH,
        "download.json",
        ACCEPTED,
        ".download",
    }
    assert not NO_HOME.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_download_without_waiting_for_transfers(
    hub: Hub, tmp_path: Path, number: int
) -> None:
    hub.gate = threading.Semaphore(0)
    with subprocess.Popen(
        [COMMAND, "download", tmp_path, "--accept-licence"],
        env=environment(hub),
        text=True,
        stderr=subprocess.PIPE,
    ) as process:
        wait_until(lambda: hub.unfinished_count() == 8)
        process.send_signal(number)
        try:
            # huggingface_hub would wait ten seconds for the stalled transfers.
            assert process.wait(timeout=5) == 128 + number
        finally:
            process.kill()
        assert (
            _error_output(process)
            == f"{NOTICE}\nmambatalk: stopped; run the same command again to resume\n"
        )


def test_a_permanent_error_ends_the_download_without_waiting_for_retries(
    hub: Hub, tmp_path: Path
) -> None:
    hub.faults[f"HEAD {path_of('2_scott_0_1_1')}"] = ["503*"]
    hub.faults[f"HEAD {path_of('2_scott_0_2_2')}"] = ["401*"]
    with subprocess.Popen(
        [COMMAND, "download", tmp_path, "--accept-licence"],
        env=environment(hub),
        text=True,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            # The other file would be retried for two minutes.
            assert process.wait(timeout=20) == 2
        finally:
            process.kill()
        line = _error_output(process).removeprefix(f"{NOTICE}\n").splitlines()[-1]
    assert path_of("2_scott_0_2_2") in line
    assert "HF_TOKEN" in line


def _on_a_terminal(hub: Hub, answer: str, *arguments: object) -> tuple[int, str]:
    """Run the command on a terminal and answer its question; return its exit code and output."""
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "download", *map(str, arguments)],
        env={**environment(hub), "TERM": "xterm"},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    ) as process:
        os.close(end)
        os.write(terminal, f"{answer}\n".encode())
        output = b""
        # Linux reports the end of a terminal as an error.
        with suppress(OSError):
            while part := os.read(terminal, 4096):
                output += part
    os.close(terminal)
    return process.returncode, output.decode()


def test_a_user_who_declines_the_terms_downloads_nothing(hub: Hub, tmp_path: Path) -> None:
    code, output = _on_a_terminal(hub, "n", tmp_path / "out", "--speakers", 2)
    assert code == 2
    assert "Do you accept these terms?" in output
    assert "found that they were declined" in output
    assert not (tmp_path / "out").exists()
    assert hub.log == []


def test_a_terminal_shows_a_bar(hub: Hub, tmp_path: Path) -> None:
    hub.faults[f"GET {path_of('2_scott_0_1_1')}"] = ["503"]
    code, output = _on_a_terminal(hub, "y", tmp_path / "out", "--speakers", 2)
    assert code == 0
    assert "downloading" in output
    assert (tmp_path / "out" / path_of("2_scott_0_1_1")).exists()


def test_the_licence_is_shown_once_and_its_acceptance_is_recorded(hub: Hub, tmp_path: Path) -> None:
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


def test_a_dry_run_prints_sizes_and_writes_nothing(hub: Hub, tmp_path: Path) -> None:
    done = run(hub, tmp_path / "out", "--speakers", "2,4", "--dry-run")
    total = sum(len(hub.files[path]) for path in layout_files(hub))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"selected: 42 files, {total / 1e6:.1f} MB" in done.stdout
    assert f"commit: {REVISION}" in done.stdout
    assert [line.split()[1:6:2] for line in done.stdout.splitlines() if "wave" in line] == [
        ["wave", "10", "400.0"]
    ]
    assert list(tmp_path.iterdir()) == []
    assert hub.completed_paths() == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("out", "--speakers", "two"), "numbers separated by commas"),
        (
            ("out", "--speakers", "2,99", "--accept-licence"),
            "--speakers: expected speakers among 2, 4, found 99",
        ),
        (("taken", "--accept-licence"), "expected a writable folder"),
    ],
)
def test_bad_input_is_reported_in_one_line_with_exit_code_2(
    hub: Hub, tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    (tmp_path / "taken").touch()
    done = run(hub, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr.removeprefix(NOTICE)
    assert done.stderr.removeprefix(NOTICE).strip().count("\n") == 0


@pytest.mark.slow
def test_check_accepts_a_downloaded_corpus(tmp_path: Path) -> None:
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
