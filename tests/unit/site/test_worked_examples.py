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


class Copy:
    """A copy of the packages in which a guide is followed."""

    def __init__(self, root: Path, *packages: str) -> None:
        self.root = root
        for package in packages:
            shutil.copytree(ROOT / package, root / package)

    def change(self, path: str, old: str, new: str) -> None:
        """Replace what is once in a file."""
        text = (self.root / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path}: {old}"
        (self.root / path).write_text(text.replace(old, new), encoding="utf-8")

    def insert(self, path: str, before: str, lines: str) -> None:
        """Put lines before what is once in a file."""
        self.change(path, before, f"{lines}{before}")

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the copied packages."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(self.root), str(ROOT)])},
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, code: str) -> None:
        """Run code that must not fail."""
        done = self.python("-c", code)
        assert done.returncode == 0, done.stderr


def test_the_exporter_of_the_guide_is_offered(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "mambatalk")
    page = ROOT / "docs" / "add-exporter.md"
    (tmp_path / "mambatalk/export/joint_table.py").write_text(python_blocks(page)[0][1])
    formats, output = "mambatalk/serving/__init__.py", "mambatalk/serving/output.py"
    copy.change(formats, '"vrma", "mp4"]', '"vrma", "mp4", "csv"]')
    copy.insert(formats, '        "mp4": "video/mp4",', '        "csv": "text/csv",\n')
    (branch,) = blocks_in(page, "text")
    copy.insert(output, '    elif path.suffix == ".mp4":', branch)
    copy.insert(
        output,
        "from mambatalk.export.vrma import write_vrma",
        "from mambatalk.export.joint_table import write_joint_table\n",
    )
    copy.run(
        """
from pathlib import Path
from typer.testing import CliRunner
from mambatalk.cli import app
from mambatalk.serving.output import Bodies, parse_formats, write_motion
from tests.helpers.motions import smooth_motion

assert "vrma, mp4, csv." in CliRunner().invoke(app, ["generate", "--help"]).output
(ending,) = parse_formats("csv")
write_motion(Path(f"moving.{ending}"), smooth_motion(1, 30), None, Bodies(path=None))
assert len(Path("moving.csv").read_text().splitlines()) == 31
"""
    )


def test_the_metric_and_the_part_of_the_guides_are_in_every_row(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "mambatalk")
    (tmp_path / "mambatalk/metrics/wrists.py").write_text(
        python_blocks(ROOT / "docs" / "add-metric.md")[0][1]
    )
    catalogue, row = "mambatalk/metrics/catalogue.py", "mambatalk/evaluation/row.py"
    info = '"wrists", "Wrist distance", "nearer to ground truth", -2, "m", "cm", "body"'
    assert info in python_blocks(ROOT / "docs" / "add-metric.md")[1][1]
    copy.insert(catalogue, '    MetricInfo("root_drift",', f"    MetricInfo({info}),\n")
    copy.insert(row, '        "root_drift": RootDrift(),', '        "wrists": WristDistance(),\n')
    copy.insert(
        row,
        '            "root_drift": (motion.root,),',
        '            "wrists": (motion.joints,),\n',
    )
    copy.insert(row, "class Row:", "from mambatalk.metrics.wrists import WristDistance\n\n\n")

    copy.change(catalogue, 'MovingPart = Literal["jaw",', 'MovingPart = Literal["jaw", "head",')
    copy.change(catalogue, '= ("jaw", "upper",', '= ("jaw", "head", "upper",')
    copy.insert(catalogue, '        "jaw": "jaw",', '        "head": "head",\n')
    copy.insert(
        "mambatalk/metrics/part_motion.py",
        '        "jaw": PART_JOINTS["face"],',
        '        "head": (12, 15),\n',
    )
    copy.run(
        """
import soundfile
from mambatalk import evaluate
from mambatalk.metrics.catalogue import CATALOGUE
from tests.helpers.motions import smooth_motion
from tests.helpers.speech import noise

for seed, name in enumerate(("result", "truth")):
    smooth_motion(seed, 120).write(f"{name}.npz")
soundfile.write("speech.wav", noise(4.0), 16_000)
rows = evaluate("result.npz", "truth.npz", "speech.wav")["rows"]
for row in ("result", "ground_truth"):
    assert rows[row]["wrists"]["corrected"] > 0.1
    assert rows[row]["range_head"]["corrected"] > 0.01
assert rows["ground_truth"]["correlation_head"]["corrected"] > 0.999
assert rows["result"]["posture_head"]["corrected"] > 0.01
assert CATALOGUE["speed_head"].heading == "Speed, head (rad/s)"
"""
    )


def test_the_rule_of_the_guide_judges_clips(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "mambatalk")
    code = python_blocks(ROOT / "docs" / "add-rule.md")[0][1]
    rule = code[code.index("Rule(\n") :].rstrip()
    rules = "mambatalk/quality/rules/catalogue.py"
    copy.insert(rules, "        *_motion_rules(config),", f"        {rule},\n")
    copy.run(
        f"""
import pandas as pd
from mambatalk.config import load_config
from mambatalk.quality.rules.catalogue import clip_rules
from mambatalk.quality.rules.verdict import apply_rules

config = load_config({str(ROOT / "infra/profiles/tiny.yaml")!r}).check_clips
table = pd.DataFrame({{"clip_id": ["a", "b"], "loudness": [-25.0, -52.0]}})
rules = [rule for rule in clip_rules(config) if rule.name == "quiet"]
assert list(apply_rules(table, rules)["clip_id"]) == ["b"]
"""
    )


def test_the_stage_of_the_guide_fits_into_the_graph(tmp_path: Path) -> None:
    """The module and the entry of the guide pass the check that every stage has to pass."""
    page = ROOT / "docs" / "add-stage.md"
    copy = Copy(tmp_path, "mambatalk", "tasks")
    (entry,) = blocks_in(page, "yaml")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    copy.change("dvc.yaml", "\nstages:\n", f"\nstages:\n{entry}")
    check = ("-m", "tasks.tools.graph")
    missing = copy.python(*check)
    assert missing.returncode == 1
    assert missing.stdout == "speaker_hours: expected a module tasks.speaker_hours, found none\n"

    module = "\n".join(code for _, code in python_blocks(page))
    (tmp_path / "tasks" / "speaker_hours.py").write_text(f'"""A stage."""\n\n{module}')
    done = copy.python(*check)
    assert (done.returncode, done.stdout) == (0, "")


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
