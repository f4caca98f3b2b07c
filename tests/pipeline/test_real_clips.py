"""Two real BEATX clips run through the whole pipeline, with warnings about so few clips."""

import html
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.workspace import ROOT, Workspace, checkout

EXPERIMENTS = """
import json
from tasks.tracking.store import connect
client, _ = connect()
stages = {}
for experiment in client.search_experiments():
    runs = client.search_runs([experiment.experiment_id])
    stages[experiment.name] = [run.data.tags["stage"] for run in runs]
print(json.dumps(stages))
"""
CLIPS = ROOT.parent / "shared" / "beatx_clips" / "beat_english_v2.0.0"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("real"),
    pytest.mark.skipif(not CLIPS.is_dir(), reason=f"no real clips at {CLIPS}"),
]


@dataclass(frozen=True)
class Built(Workspace):
    """A checkout in which `make real` has run, and what it printed."""

    log: str


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A checkout in which `make real` has run with short trainings."""
    workspace = checkout(tmp_path_factory.mktemp("real"))
    profile = workspace.root / "infra" / "profiles" / "clips.yaml"
    profile.write_text(
        profile.read_text()
        .replace("epochs: 4, decay_epoch: 4", "epochs: 1, decay_epoch: 1")
        .replace("epochs: 4\n", "epochs: 1\n")
        .replace("height: 720", "height: 150")
        .replace("seconds: 10.0", "seconds: 1.0")
    )
    workspace.git("commit", "--all", "--quiet", "-m", "short")
    done = workspace.stage("tools.real", str(CLIPS))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Built(workspace.root, workspace.env, done.stdout + done.stderr)


def test_two_real_clips_are_evaluated(real: Workspace) -> None:
    metrics = json.loads(real.read("runs/real/metrics/metrics.json"))
    assert metrics["clips"] == 1
    assert metrics["rows"]["model"]["mse"]["corrected"] > 0
    assert metrics["body"] == "stand-in"


def test_the_figure_stays_on_the_spot_and_on_the_floor(real: Workspace) -> None:
    rows = json.loads(real.read("runs/real/metrics/metrics.json"))["rows"]
    model, truth = (
        {key: values["corrected"] for key, values in rows[row].items()}
        for row in ("model", "ground_truth")
    )
    assert model["root_drift"] <= 2 * truth["root_drift"]
    assert model["height_error"] <= 0.03
    assert model["penetration_deepest"] <= 0.02
    (result,) = (real.root / "runs/real/results").glob("*.npz")
    trans = np.load(result)["trans"]
    # Once the pelvis fell by half a metre in the first and the last frame.
    ends = np.abs(np.diff(trans, axis=0))[[0, 1, -2, -1]]
    assert ends.max() < 0.02
    away = np.linalg.norm((trans - trans[0])[:, [0, 2]], axis=1)
    assert away.max() < 0.5


def test_fgd_of_few_frames_has_a_warning(real: Workspace) -> None:
    metrics = json.loads(real.read("runs/real/metrics/metrics.json"))
    assert any("FGD" in warning for warning in metrics["warnings"])


def test_validation_is_taken_from_the_training_split_with_a_note(real: Workspace) -> None:
    features = json.loads(real.read("runs/real/data/features/features.json"))
    assert features["splits"] == {"test": 1, "train": 1, "val": 1}
    (note,) = features["notes"]
    assert "no validation split" in note
    assert note[1:] in html.unescape(real.read("runs/real/reports/index.html").decode())


def test_the_report_says_what_so_little_data_can_show(real: Workspace) -> None:
    page = html.unescape(real.read("runs/real/reports/index.html").decode())
    assert "it is too small to judge a model" in page
    assert "1 clip cannot tell a difference from chance" in page


def test_the_log_names_no_sample(real: Built) -> None:
    assert "Running stage 'ingest'" in real.log
    assert "sample" not in real.log


def test_its_runs_have_their_own_experiment(real: Workspace) -> None:
    done = real.run(sys.executable, "-c", EXPERIMENTS, MLFLOW_EXPERIMENT_NAME="mambatalk-real")
    stages = json.loads(done.stdout)
    assert {"pipeline", "train_generator", "evaluate"} <= set(stages["mambatalk-real"])
    assert "mambatalk" not in stages


def test_the_checkout_does_not_change(real: Workspace) -> None:
    changed = real.run("git", "status", "--porcelain").stdout
    assert changed == ""


def test_a_second_run_on_the_same_corpus_runs_no_stage(real: Workspace) -> None:
    before = real.read("runs/real/metrics/metrics.json")
    again = real.stage("tools.real", str(CLIPS))
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    assert "is cached - skipping run" in again.stdout
    assert "Running stage" not in again.stdout
    assert real.read("runs/real/metrics/metrics.json") == before
    assert not (real.root / "runs/real.new").exists()


def test_a_build_that_stops_keeps_the_earlier_results(real: Workspace, tmp_path: Path) -> None:
    before = real.read("runs/real/metrics/metrics.json")
    damaged = tmp_path / "corpus"
    shutil.copytree(CLIPS, damaged, ignore=shutil.ignore_patterns("*.npz", "*.wav"))
    (damaged / "train_test_split.csv").write_text("no table\n")
    done = real.stage("tools.real", str(damaged))
    assert done.returncode != 0
    assert "the paths above are in runs/real.new" in done.stderr
    assert real.read("runs/real/metrics/metrics.json") == before


def test_a_wrong_root_is_reported_in_one_line(empty: Workspace) -> None:
    done = empty.stage("tools.real", "/nowhere/at/all")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "ROOT=/nowhere/at/all" in done.stderr
    assert not (empty.root / "runs").exists()


def test_without_a_root_one_line_is_printed_and_nothing_is_written(empty: Workspace) -> None:
    shutil.copy(ROOT / "Makefile", empty.root)
    before = sorted(empty.root.rglob("*"))
    # Without the variables of `make test`, under which make also prints the folders it enters.
    done = empty.run("env", "-u", "MAKELEVEL", "-u", "MAKEFLAGS", "make", "real")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "make real ROOT=/path/to" in done.stderr
    assert sorted(empty.root.rglob("*")) == before


def test_a_folder_that_is_not_a_worktree_is_left_alone(empty: Workspace) -> None:
    (empty.root / "runs/real.new").mkdir(parents=True)
    done = empty.stage("tools.real", str(CLIPS))
    assert done.returncode == 2
    assert "runs/real.new: expected a git worktree" in done.stderr
