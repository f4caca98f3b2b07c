"""Two real BEATX clips run through the whole pipeline, with warnings about so few clips."""

import html
import json

import pytest

from tests.pipeline.workspace import ROOT, Workspace, checkout

CLIPS = ROOT.parent / "shared" / "beatx_clips" / "beat_english_v2.0.0"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("real"),
    pytest.mark.skipif(not CLIPS.is_dir(), reason=f"no real clips at {CLIPS}"),
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A checkout in which `make real` has run with short trainings."""
    workspace = checkout(tmp_path_factory.mktemp("real"))
    profile = workspace.root / "infra" / "profiles" / "clips.yaml"
    profile.write_text(
        profile.read_text()
        .replace("epochs: 4, decay_epoch: 4", "epochs: 1, decay_epoch: 1")
        .replace("epochs: 4\n", "epochs: 1\n")
        .replace("height: 480", "height: 120")
        .replace("seconds: 10.0", "seconds: 1.0")
    )
    workspace.git("commit", "--all", "--quiet", "-m", "short")
    done = workspace.stage("tools.real", str(CLIPS))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return workspace


def test_two_real_clips_are_evaluated(real: Workspace) -> None:
    metrics = json.loads(real.read("runs/real/metrics/metrics.json"))
    assert metrics["clips"] == 1
    assert metrics["rows"]["model"]["mse"]["corrected"] > 0
    assert metrics["body"] == "stand-in"


def test_fgd_of_few_frames_has_a_warning(real: Workspace) -> None:
    metrics = json.loads(real.read("runs/real/metrics/metrics.json"))
    assert any("FGD" in warning for warning in metrics["warnings"])


def test_validation_is_taken_from_the_training_split_with_a_note(real: Workspace) -> None:
    features = json.loads(real.read("runs/real/data/features/features.json"))
    assert features["splits"] == {"test": 1, "train": 1, "val": 1}
    (note,) = features["notes"]
    assert "no validation split" in note
    assert note[1:] in html.unescape(real.read("runs/real/reports/index.html").decode())


def test_the_checkout_does_not_change(real: Workspace) -> None:
    changed = real.run("git", "status", "--porcelain").stdout
    assert changed == ""


def test_a_wrong_root_is_reported_in_one_line(empty: Workspace) -> None:
    done = empty.stage("tools.real", "/nowhere/at/all")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "ROOT=/nowhere/at/all" in done.stderr
