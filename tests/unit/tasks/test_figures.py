"""The README's table of results is written by a command, with what stands behind it."""

from pathlib import Path
from typing import Any

import pytest

from mambatalk.errors import InputError
from mambatalk.files import write_json
from mambatalk.metrics.catalogue import EVENTS, KID, METRICS, MOTION
from tasks.report_page.numbers import ROWS
from tasks.runtime import origin as _origin
from tasks.runtime.origin import UNKNOWN, origin_of_build, processor, write_origin
from tasks.tools.figures import BEGIN, END, command, figures, replaced

ROOT = Path(__file__).parents[3]
ORIGIN = {"processor": "AMD EPYC, AVX-512, 2 cores", "commit": "abc1234", "seed": "2021"}


def evaluation() -> dict[str, Any]:
    value = {"published": 0.2, "corrected": 0.0469}
    row = dict.fromkeys((*METRICS, KID.key, *MOTION), value)
    return {
        "rows": dict.fromkeys(ROWS, row),
        **{key: dict.fromkeys(ROWS, 0.5) for key in EVENTS},
        "clips": 5,
        "body": "stand-in",
        "fgd_encoder": "home-made",
        "checks": [{"status": status} for status in ("passed", "failed", "failed", "not shown")],
    }


def test_the_table_has_the_units_of_the_report_and_names_its_origin() -> None:
    lines = figures(evaluation(), ORIGIN).splitlines()
    cells = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    assert cells[1:3] == ["FGD (1e-1)‡", "BC (1e-1)†"]
    assert cells[-1] == "Event F1, lower body†"
    (model,) = [line for line in lines if "**model**" in line]
    assert "**0.469**" in model
    assert any(line.startswith("† measured on the stand-in body") for line in lines)
    assert lines[-1] == (
        "Corrected metrics on 5 held-out clips; of 4 checks in the report 1 passed, 2 failed, 1 not"
        " shown. One seed (2021), commit abc1234, AMD EPYC, AVX-512, 2 cores."
    )


def test_only_the_text_between_the_marks_is_replaced() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(text, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert replaced(replaced(text, "new"), "new") == replaced(text, "new")
    for broken in ("none", f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}", f"{BEGIN}\n"):
        with pytest.raises(InputError, match="expected one pair of lines"):
            replaced(broken, "new")


def test_the_readme_of_this_repository_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(InputError, match="run make repro"):
        command()
    write_json(tmp_path / "metrics" / "metrics.json", evaluation())
    command()
    printed = capsys.readouterr().out
    assert printed in readme.read_text(encoding="utf-8")
    assert UNKNOWN in printed, "a build of which nothing is recorded"


LOCK = """schema: '2.0'
stages:
  ingest:
    cmd: python -m tasks.ingest
  train_vq@face:
    cmd: python -m tasks.train_vq face
  evaluate:
    cmd: python -m tasks.evaluate
"""


def test_the_origin_of_a_build_is_that_of_its_trainings_and_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAMBATALK_RUNS", raising=False)
    (tmp_path / "dvc.lock").write_text(LOCK)
    fingerprints = _origin.locked_fingerprints(tmp_path / "dvc.lock")
    tags = {"processor": "one", "git_commit": "a" * 40, "git_dirty": "false", "seed": "1"}

    def record(stage: str, **changes: str) -> None:
        folder = tmp_path / "runs" / stage
        write_origin(folder, fingerprints[stage], tags | changes)

    assert set(origin_of_build(tmp_path).values()) == {UNKNOWN}
    record("train_vq@face")
    record("evaluate")
    assert origin_of_build(tmp_path) == {"processor": "one", "commit": "a" * 7, "seed": "1"}

    record("evaluate", processor="two", git_dirty="true")
    found = origin_of_build(tmp_path)
    assert found["processor"] == "one and two"
    assert found["commit"] == "aaaaaaa and aaaaaaa with changes"

    # The outputs are others than those that were made here.
    (tmp_path / "dvc.lock").write_text(LOCK.replace("tasks.evaluate", "tasks.evaluate --changed"))
    assert origin_of_build(tmp_path)["processor"] == f"one and {UNKNOWN}"


def test_a_processor_is_named_with_its_vector_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512f\n")
    monkeypatch.setattr(_origin, "_CPU_INFO", info)
    assert processor().startswith("AMD EPYC, AVX-512, ")
    info.write_text("model name\t: Old\nflags\t\t: fpu avx2\n")
    assert processor().startswith("Old, AVX2, ")
    monkeypatch.setattr(_origin, "_CPU_INFO", tmp_path / "none")
    assert processor().startswith("unknown processor, ")
