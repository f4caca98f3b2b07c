"""The Python blocks of README and docs run, in the order of the page."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from mambatalk.files import read_json, write_json
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import SAMPLE_RATE
from tasks.runtime.paths import Paths
from tests.helpers.documents import DOCUMENTS, ROOT, blocks_in, python_blocks
from tests.helpers.speech import noise
from tests.helpers.tiny_bundle import tiny_bundle

# Its block reads recordings that its own test makes.
ELSEWHERE = {"own-data.md": "tests/unit/features/test_own_data.py"}
PAGES = [
    path
    for path in DOCUMENTS
    if path.name not in ELSEWHERE and any(not mark for mark, _ in python_blocks(path))
]


def run_blocks(page: Path, **given: object) -> dict[str, object]:
    """Run the blocks of a page with the names that it takes as given."""
    names: dict[str, object] = {"__name__": page.stem, **given}
    for mark, block in python_blocks(page):
        if not mark:
            exec(compile(block, str(page), "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    replace(tiny_bundle(), speakers={1: 0, 2: 1}).save("bundle")
    soundfile.write("speech.mp3", noise(2.0), SAMPLE_RATE)
    shown: list[SmplxMotion] = []
    run_blocks(page, chunks=np.split(noise(2.0), 20), show=shown.append)
    if page.name == "README.md":
        assert len(SmplxMotion.read("speech.npz")) == 60
    if page.name == "streaming.md":
        assert sum(len(motion) for motion in shown) == 60


def test_pages_left_out_are_run_by_the_named_tests() -> None:
    for page, test in ELSEWHERE.items():
        assert page in (ROOT / test).read_text(encoding="utf-8")


def test_the_stage_of_the_guide_fits_into_the_graph(tmp_path: Path) -> None:
    """The module and the entry of the guide pass the check that every stage has to pass."""
    page = ROOT / "docs" / "add-stage.md"
    for package in ("mambatalk", "tasks"):
        shutil.copytree(ROOT / package, tmp_path / package)
    (entry,) = blocks_in(page, "yaml")
    graph = (ROOT / "dvc.yaml").read_text().replace("\nstages:\n", f"\nstages:\n{entry}", 1)
    (tmp_path / "dvc.yaml").write_text(graph)

    def check() -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "tasks.tools.graph"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    assert check() == (1, "speaker_hours: expected a module tasks.speaker_hours, found none\n")
    module = "\n".join(code for _, code in python_blocks(page))
    (tmp_path / "tasks" / "speaker_hours.py").write_text(f'"""A stage."""\n\n{module}')
    assert check() == (0, "")


def test_the_stage_of_the_guide_counts_what_is_accepted(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.clips.mkdir(parents=True)
    paths.metrics.mkdir()
    table = pd.DataFrame(
        {
            "clip_id": ["1_ada_0_1_1", "1_ada_0_2_2", "2_bruno_0_1_1"],
            "speaker": [1, 1, 2],
            "motion_seconds": [10.0, 20.0, 30.0],
            "shard": ["a.parquet"] * 3,
            "row_group": [0, 1, 2],
        }
    )
    table.to_parquet(paths.clips / "manifest.parquet")
    write_json(paths.accepted, {"accepted": ["1_ada_0_1_1", "2_bruno_0_1_1"]})

    class Context:
        """The parts of a stage's context that the example reads."""

        def __init__(self) -> None:
            self.paths = paths
            self.recorder = self
            self.numbers: dict[str, int] = {}

        def metrics(self, values: dict[str, int]) -> None:
            self.numbers |= values

    context = Context()
    run = run_blocks(ROOT / "docs" / "add-stage.md")["run"]
    run(context)  # type: ignore[operator]
    counts = read_json(paths.metrics / "speaker_hours.json")
    assert counts == {"1": {"clips": 1, "seconds": 10.0}, "2": {"clips": 1, "seconds": 30.0}}
    assert context.numbers == {"speakers": 2}
