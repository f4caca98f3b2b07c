"""The whole pipeline on the profile `tiny`: a cold build, its outputs, and a killed build."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mambatalk.metrics.catalogue import KID, METRICS, MOTION
from tests.pipeline.workspace import Workspace, environment

PARTS = ("face", "upper", "hands", "lower", "global")
ALL = [
    "prepare",
    "ingest",
    "check_clips",
    "features",
    "check_features",
    *(f"train_vq@{part}" for part in PARTS),
    "train_fgd_encoder",
    "encode_codes",
    "train_generator",
    "bundle",
    "evaluate",
    "render",
    "report",
]
pytestmark = pytest.mark.xdist_group("built")


def test_every_output_exists(built: Workspace) -> None:
    names = {
        path.relative_to(built.root).as_posix() for path in built.root.rglob("*") if path.is_file()
    }
    for expected in (
        "renders/preview.webp",
        "metrics/metrics.json",
        "metrics/check_clips.json",
        "metrics/check_features.json",
        "reports/index.html",
        "reports/quality/index.html",
        "reports/data_docs/clips/index.html",
        "reports/data_docs/features/index.html",
        *(f"plots/train_vq/{part}.csv" for part in PARTS),
    ):
        assert expected in names
    assert [name for name in names if name.startswith("renders/") and name.endswith(".mp4")]


@pytest.mark.parametrize("page", ["reports/index.html", "reports/quality/index.html"])
def test_every_link_of_a_page_has_a_target(built: Workspace, page: str) -> None:
    links = {
        link
        for link in re.findall(r'href="([^"]+)"', built.read(page).decode())
        if link != "data:,"
    }
    assert len(links) > 5
    for link in links:
        assert (
            f'id="{link[1:]}"' in built.read(page).decode()
            if link.startswith("#")
            else ((built.root / page).parent / link).is_file()
        ), link


def test_metrics_follow_the_documented_format(built: Workspace) -> None:
    metrics = json.loads(built.read("metrics/metrics.json"))
    assert set(metrics["rows"]) == {
        "model",
        "ground_truth",
        "mean_pose",
        "random_clip",
        "shuffled_audio",
    }
    for row in metrics["rows"].values():
        assert set(row) == {*METRICS, KID.key, *MOTION}
    assert metrics["rows"]["ground_truth"]["mse"]["corrected"] == 0
    assert metrics["rows"]["model"]["mse"]["corrected"] > 0
    assert metrics["body"] == "stand-in"
    assert metrics["clips"] > 0


def test_a_second_build_runs_no_stage(built: Workspace) -> None:
    again = built.dvc("repro")
    assert again.returncode == 0
    assert "Running stage" not in again.stdout
    assert "up to date" in again.stdout


def test_dvc_shows_metrics_and_plots(built: Workspace) -> None:
    shown = json.loads(built.dvc("metrics", "show", "--json").stdout)[""]["data"]
    summary = shown["metrics/summary.json"]["data"]
    motion = summary.pop("motion")
    assert len(motion) == len(MOTION)
    assert {"range_lower_ratio", "root_drift_cm", "foot_skating_cm_per_s"} < set(motion)
    assert set(summary) == {
        "fgd_1e-1",
        "bc_1e-1",
        "l1div",
        "mse_1e-8",
        "lvd_1e-5",
        "srgr",
        "event_f1",
        "event_f1_lower",
        "kid",
    }
    assert shown["metrics/check_clips.json"]["data"]["success"] is True
    assert "metrics/train_vq/face.json" in shown
    plots = built.dvc("plots", "show", "--json")
    assert plots.returncode == 0, plots.stderr
    assert "Generator, training and validation loss" in plots.stdout
    assert "Range of each part relative to ground truth" in plots.stdout


def forget(workspace: Workspace, stages: tuple[str, ...]) -> None:
    """Let DVC know nothing of stages that have run, so that they run again."""
    path = workspace.root / "dvc.lock"
    yaml = YAML()
    lock = yaml.load(path)
    for stage in stages:
        del lock["stages"][stage]
    yaml.dump(lock, path)
    shutil.rmtree(workspace.root / ".dvc" / "cache" / "runs")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_after_a_kill(built: Workspace, tmp_path: Path) -> None:
    """Killing DVC ends the training it runs; the next build gives the same results."""
    shutil.copytree(built.root, tmp_path / "checkout", symlinks=True)
    workspace = Workspace(tmp_path / "checkout", environment(tmp_path))
    # Two trainings of different networks; whatever they changed would run later stages again.
    forget(workspace, ("train_vq@lower", "train_generator"))
    status = workspace.root / "runs" / "train_vq@lower" / "status.json"
    status.unlink()
    running = subprocess.Popen(
        ["dvc", "repro"],
        cwd=workspace.root,
        env=workspace.env,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 600
        while not status.exists() and time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.2)
        stage = json.loads(status.read_text())["pid"]
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        while _alive(stage) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _alive(stage)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert json.loads(status.read_text())["kind"] == "interrupted"
    done = workspace.dvc("repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    ran = re.findall(r"Running stage '(.+)'", done.stdout)
    assert ran == ["train_vq@lower", "train_generator"]
    for folder in ("metrics", "models", "plots"):
        for path in (built.root / folder).rglob("*"):
            if path.is_file():
                name = path.relative_to(built.root).as_posix()
                assert workspace.read(name) == built.read(name), name


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return (
        Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True
    )
