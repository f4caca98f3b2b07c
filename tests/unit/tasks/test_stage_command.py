"""A stage is a command too: asked for help, or given what it does not take, it runs nothing."""

import sys
from pathlib import Path

import pytest

from tasks import sample_corpus
from tasks.runtime import stage as _stage


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--hours", "3"], 2)])
def test_a_stage_takes_no_arguments(
    arguments: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sample_corpus", *arguments])
    monkeypatch.setattr(_stage, "execute", lambda *_: pytest.fail("it ran"))
    with pytest.raises(SystemExit) as end:
        sample_corpus.main()
    told = capsys.readouterr()
    assert end.value.code == code
    assert "python -m tasks.sample_corpus" in told.out + told.err
    assert list(tmp_path.iterdir()) == []
