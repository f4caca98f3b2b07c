"""Stages and tools are commands: `--help` explains them, and bad usage runs nothing."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import prepare, train_vq
from tasks.runtime import stage as _stage

ROOT = Path(__file__).parents[3]
TOOLS = sorted(path.stem for path in (ROOT / "tasks" / "tools").glob("[a-z]*.py"))


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--hours", "3"], 2)])
def test_a_stage_takes_no_arguments(
    arguments: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["prepare", *arguments])
    monkeypatch.setattr(_stage, "execute", lambda *_: pytest.fail("it ran"))
    with pytest.raises(SystemExit) as end:
        prepare.main()
    output = capsys.readouterr()
    assert end.value.code == code
    assert "python -m tasks.prepare" in output.out + output.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["elbow"]])
def test_an_auto_encoder_is_named_by_its_part(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train_vq", *arguments])
    with pytest.raises(SystemExit, match="2"):
        train_vq.main()
    assert "Usage: python -m tasks.train_vq" in capsys.readouterr().err


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_explains_itself(
    tool: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [tool, "--help"])
    # As a new module, even if a test has imported it.
    monkeypatch.delitem(sys.modules, f"tasks.tools.{tool}", raising=False)
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"tasks.tools.{tool}", run_name="__main__")
    output = capsys.readouterr().out
    assert end.value.code == 0
    assert f"Usage: python -m tasks.tools.{tool}" in output
    assert len(output.split()) > 15


def test_stages_without_networks_start_without_torch() -> None:
    """Its import takes longer than all else that they need to start."""
    code = "import sys, tasks.check_clips, tasks.report; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_bad_input_of_a_tool_is_reported_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tasks.tools.profile", "huge"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "P=huge" in done.stderr
