"""`mambatalk sample`, `snapshot` and `check` as processes: output and exit codes."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mambatalk.cli.data import app, check
from mambatalk.errors import InputError
from mambatalk.files import read_json
from mambatalk.quality.decisions import Decision, add_decision
from mambatalk.sample.build import write_sample
from tests.helpers.hub_downloads import wait_until

COMMAND = Path(sys.executable).with_name("mambatalk")
NEEDS_ESPEAK = "eSpeak NG speaks the sample: pip install 'mambatalk[sample]'"
ANSI_CODES = re.compile(r"\x1b\[[0-9;]*m")


def mambatalk(*arguments: object) -> tuple[int, str, str]:
    """Run a command; return its exit code, output and error output."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, ANSI_CODES.sub("", done.stdout), ANSI_CODES.sub("", done.stderr)


@pytest.mark.slow
def test_check_accepts_a_sample_and_names_a_damaged_clip(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason=NEEDS_ESPEAK)
    write_sample(tmp_path / "corpus", hours=0.02, speakers=3, seed=3)
    code, out, err = mambatalk("check", tmp_path / "corpus", "--workers", 1)
    assert (code, err) == (0, "")
    assert "12 clips: 12 accepted" in out
    (tmp_path / "corpus" / "smplxflame_30" / "1_ada_0_3_3.npz").write_bytes(b"PK broken")
    code, out, err = mambatalk("check", tmp_path / "corpus", "--workers", 1)
    assert (code, err) == (1, "")
    assert "1_ada_0_3_3" in out
    assert "11 accepted, 1 quarantined" in out


def test_a_snapshot_of_a_sample_lists_every_file(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason=NEEDS_ESPEAK)
    code, out, err = mambatalk("sample", tmp_path / "corpus", "--hours", 0.02, "--seed", 3)
    assert (code, err) == (0, "")
    assert "mambatalk check" in out
    code, out, _ = mambatalk("snapshot", tmp_path / "corpus", "--out", tmp_path / "snapshot.json")
    assert code == 0
    value = read_json(tmp_path / "snapshot.json")
    assert len(value["files"]) == 4 * 12 + 2
    assert value["digest"][:12] in out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("snapshot", "nowhere", "--out", "s.json"), "no such folder"),
        (("check", "nowhere"), "no such folder"),
        (("sample", "out", "--hours", "0.0001"), "hours"),
        (("sample", "taken"), "other content"),
        (("sample", "taken/file"), "expected a folder, found a file"),
    ],
)
def test_bad_input_is_reported_in_one_line_with_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    done = subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert named in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("espeakng_loader", reason=NEEDS_ESPEAK)
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.02, speakers=3, seed=3)
    return root


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ("check", "{}", "--report", "{}/train_test_split.csv"),
            "train_test_split.csv: expected a writable folder, found: File exists",
        ),
        (
            ("check", "{}", "--report", "/proc/nowhere"),
            "/proc/nowhere: expected a writable folder, found: No such file or directory",
        ),
        (
            ("snapshot", "{}", "--out", "/proc/nowhere/snapshot.json"),
            "/proc/nowhere: expected a writable folder, found: No such file or directory",
        ),
        (
            ("snapshot", "{}", "--out", "{}/wave16k"),
            "wave16k: expected a writable file, found: Is a directory",
        ),
        (
            ("sample", "/proc/nowhere", "--hours", "0.02"),
            "/proc/nowhere: expected a writable folder, found: No such file or directory",
        ),
    ],
)
def test_an_unwritable_path_is_reported_in_one_line_with_exit_code_2(
    corpus: Path, arguments: tuple[str, ...], named: str
) -> None:
    before = sorted(corpus.rglob("*"))
    code, out, err = mambatalk(*(argument.format(corpus) for argument in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert named in err
    assert sorted(corpus.rglob("*")) == before


@pytest.mark.slow
def test_the_result_is_printed_even_if_the_report_cannot_be_written(
    corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "index.html").mkdir()
    code, out, err = mambatalk("check", corpus, "--workers", 1, "--report", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "12 clips: 12 accepted" in out
    assert "index.html: expected a writable file, found: Is a directory" in err


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="/dev/full, a device without space, exists on Linux only"
)
def test_a_check_ends_even_if_its_cache_cannot_be_written(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MAMBATALK_CACHE", "/dev/full")
    check(corpus, workers=1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "/dev/full/check: expected a writable folder" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_command_and_leaves_no_file(
    tmp_path: Path, number: signal.Signals
) -> None:
    pytest.importorskip("espeakng_loader", reason=NEEDS_ESPEAK)
    command: list[str | Path] = [COMMAND, "sample", tmp_path / "corpus", "--hours", "5"]
    with subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.PIPE, text=True) as run:
        try:
            wait_until(lambda: any(tmp_path.rglob("*.wav")))
            run.send_signal(number)
            assert run.wait(timeout=30) == 128 + number
        finally:
            run.kill()
        assert run.stderr is not None
        assert run.stderr.read() == f"mambatalk: stopped by {number.name}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_of_which_most_is_unusable_is_critical(corpus: Path, tmp_path: Path) -> None:
    root = shutil.copytree(corpus, tmp_path / "corpus")
    for path in sorted((root / "smplxflame_30").iterdir())[3:]:
        path.write_bytes(b"not an npz file")
    done = CliRunner().invoke(app, ["check", str(root), "--workers", "1"])
    assert done.exit_code == 1
    assert "critical: 9 of 12 clips" in done.stdout


def test_a_decision_about_other_files_is_named_and_does_not_apply(
    corpus: Path, tmp_path: Path
) -> None:
    clip_id = min((corpus / "smplxflame_30").iterdir()).stem
    path = tmp_path / "decisions.csv"
    swears = {"reason": "swears", "who": "ana", "when": "2026-11-28"}
    add_decision(path, Decision(clip_id=clip_id, digest="0" * 64, decision="reject", **swears))
    command = ["check", str(corpus), "--workers", "1", "--decisions"]
    done = CliRunner().invoke(app, [*command, str(path)])
    assert f"decision {clip_id}: does not apply: the clip's files have changed" in done.stdout
    assert "0 quarantined" in done.stdout

    missing = CliRunner().invoke(app, [*command, str(tmp_path / "none.csv")])
    assert isinstance(missing.exception, InputError)
    assert "expected a file of decisions, found none" in str(missing.exception)


def test_a_rule_is_explained_without_a_corpus() -> None:
    result = CliRunner().invoke(app, ["check", "--explain", "joint speed"])
    assert result.exit_code == 0
    assert "joint_speed (quarantine)" in result.output
    assert "expected at most 60" in result.output


def test_an_unknown_rule_is_refused_with_similar_names() -> None:
    result = CliRunner().invoke(app, ["check", "--explain", "joint_sped"])
    assert isinstance(result.exception, InputError)
    assert "joint_speed" in str(result.exception)


def test_a_check_without_a_corpus_is_refused() -> None:
    result = CliRunner().invoke(app, ["check"])
    assert result.exit_code == 2
    assert "ROOT" in result.output
