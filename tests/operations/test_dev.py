"""`python -m flows.dev`: a stack that starts with one command, and ends with Ctrl-C."""

import os
import signal
import subprocess
import sys
from functools import partial
from itertools import cycle
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from ruamel.yaml import YAML

from flows.worktrees import git
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.sample.build import write_sample
from tests.faults.damage import Corpus
from tests.faults.faults_of_motion import FAULTS
from tests.operations.servers import clean_environment, free_port
from tests.operations.workers import MARK, ROOT, processes_with, wait_until

pytestmark = [pytest.mark.operations, pytest.mark.timeout(900)]


def test_the_stack_of_one_machine_promotes_a_model_and_leaves_no_process(tmp_path: Path) -> None:
    """Its first retraining is the real pipeline: it checks, trains, registers and promotes."""
    checkout = tmp_path / "checkout"
    git(ROOT, "clone", "--quiet", str(ROOT), str(checkout))
    subprocess.run([sys.executable, "-m", "tasks.tools.profile", "tiny"], cwd=checkout, check=True)
    git(checkout, "config", "user.name", "test")
    git(checkout, "config", "user.email", "test@localhost")
    git(checkout, "commit", "--quiet", "--all", "--message", "Use the smallest profile")
    log = tmp_path / "dev.log"
    mark = str(tmp_path)
    ports = [free_port(), free_port()]
    command = [sys.executable, "-m", "flows.dev"]
    command += ["--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1])]
    environment = {**clean_environment(), MARK: mark, "MAMBATALK_HOME": str(tmp_path / "home")}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: ": Promoted" in log.read_text() or process.poll() is not None,
            "the retraining to promote its model",
            840,
        )
        assert process.poll() is None, log.read_text()
        assert _listening(mark) >= {("127.0.0.1", port) for port in ports}
        assert {address for address, _ in _listening(mark)} == {"127.0.0.1"}
        status = [sys.executable, "-m", "flows.status"]
        prefect = {"PREFECT_API_URL": f"http://127.0.0.1:{ports[0]}/api"}
        found = subprocess.run(
            status, cwd=checkout, env=environment | prefect, capture_output=True, text=True
        )
        assert "version 1" in found.stdout.lower(), found.stdout + found.stderr
        mlflow = f"http://127.0.0.1:{ports[1]}/api/2.0/mlflow"
        _check_decision(checkout, mlflow)
        _check_damaged_corpus(checkout, log, mlflow, prefect["PREFECT_API_URL"])

        # As Ctrl-C in a terminal does.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(120) == 128 + signal.SIGINT, log.read_text()
        wait_until(lambda: not processes_with(MARK, mark), "all processes to end", 120)
    finally:
        for one in processes_with(MARK, mark):
            one.kill()
        process.wait()


def _check_decision(checkout: Path, mlflow: str) -> None:
    """The decision is in MLflow, and the first section of the build's report there."""
    wanted = {"name": "mambatalk", "version": "1"}
    version = httpx.get(f"{mlflow}/model-versions/get", params=wanted).json()["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert tags["gate_verdict"] == "promote"
    of_gate = {"run_id": tags["gate_run_id"]}
    kept = httpx.get(f"{mlflow}/artifacts/list", params=of_gate).json()["files"]
    assert {file["path"] for file in kept} == {"decision.json", "index.html", "report.html"}
    report = (checkout / "runs/retrain/scratch/promotion/report.html").read_text(encoding="utf-8")
    order = [f'<section id="{name}"' for name in ("promotion", "checks", "metrics")]
    assert sorted(order, key=report.index) == order
    assert "Promote version 1" in report


def _check_damaged_corpus(checkout: Path, log: Path, mlflow: str, api: str) -> None:
    """A retraining on a corpus of which every second clip is faulty stops at the checks."""
    root = checkout.parent / "damaged"
    write_sample(root, hours=0.03, speakers=3, seed=7, workers=1)
    corpus = Corpus(root)
    clips = sorted(path.stem for path in (root / "smplxflame_30").glob("*.npz"))
    for clip, fault in zip(clips[::2], cycle(FAULTS), strict=False):
        with np.load(corpus.path(clip, "motion")) as other:
            corpus.motion(clip, partial(fault.damage, other=dict(other)))
    write_snapshot(root, checkout / "data/damaged.json")
    _configure(checkout, root, "data/damaged.json")
    wanted = {"name": "mambatalk"}
    before = httpx.get(f"{mlflow}/registered-models/get", params=wanted).json()
    branches = git(checkout, "branch", "--list", "retrain/*")

    start = [sys.executable, "-m", "prefect", "deployment", "run", "retrain/retrain"]
    subprocess.run(start, check=True, env={**clean_environment(), "PREFECT_API_URL": api})
    wait_until(lambda: ": Failed" in log.read_text(), "the retraining to stop", 300)
    (line,) = (line for line in log.read_text().splitlines() if ": Failed" in line)
    assert "check_clips failed (data-contract): " in line
    assert f"of {len(clips)} clips" in line
    assert httpx.get(f"{mlflow}/registered-models/get", params=wanted).json() == before
    assert git(checkout, "branch", "--list", "retrain/*") == branches


def _configure(checkout: Path, root: Path, snapshot: str) -> None:
    """Commit a corpus as docs/data.md says."""
    path = checkout / "params.yaml"
    yaml = YAML()
    values = yaml.load(path)
    values["sample_corpus"]["enabled"] = False
    values["ingest"] |= {"root": str(root), "snapshot": snapshot}
    yaml.dump(values, path)
    git(checkout, "add", "--force", snapshot)
    git(checkout, "commit", "--quiet", "--all", "--message", "Use another corpus")


def _listening(mark: str) -> set[tuple[str, int]]:
    """Return the addresses and ports on which processes of the stack accept connections."""
    return {
        (one.laddr.ip, one.laddr.port)
        for process in processes_with(MARK, mark)
        for one in process.net_connections()
        if one.status == psutil.CONN_LISTEN
    }
