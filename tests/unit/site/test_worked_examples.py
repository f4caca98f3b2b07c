"""The Python blocks of the how-to guides run, in the order of the page."""

import re
from pathlib import Path

import pandas as pd
import pytest

from mambatalk.files import read_json, write_json
from tasks.runtime.paths import Paths

ROOT = Path(__file__).parents[3]
GUIDES = sorted((ROOT / "docs").glob("add-*.md"))


def run_blocks(guide: Path) -> dict[str, object]:
    blocks = re.findall(r"^```python\n(.*?)^```$", guide.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, object] = {"__name__": guide.stem}
    for block in blocks:
        exec(compile(block, str(guide), "exec"), names)
    return names


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_the_blocks_of_a_guide_run(
    guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_blocks(guide)


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
