"""A stage runs anywhere in the same way, and continues from its checkpoint after it was killed."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.pipeline.workspace import Workspace, mini_project

GRAPH = """
stages:
  train:
    cmd: exec python -m mini
    deps: [mini.py]
    params: [seed]
    outs: [models/fgd]
"""
# In place of a training: it is stopped after its first checkpoint, and finishes in the second run.
STAGE = """
import os, signal, sys, time
from pathlib import Path
from mambatalk.files import cache_folder
from tasks.runtime.stage import execute

def run(context):
    checkpoint = context.scratch / "checkpoint"
    if not checkpoint.exists():
        context.scratch.mkdir(parents=True)
        checkpoint.write_text("first half")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    (cache_folder() / "decoded").mkdir(parents=True)
    context.paths.fgd.mkdir(parents=True)
    (context.paths.fgd / "weights").write_text(checkpoint.read_text() + f", {context.config.seed}")

sys.exit(execute("train", run, sys.argv[1] if len(sys.argv) > 1 else "."))
"""
# A training of three steps in an epoch. In the first run, SIGTERM comes during its fourth step.
TRAINING = """
import os, signal, sys, tempfile
from pathlib import Path
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from mambatalk.runtime import make_deterministic
from mambatalk.training.context import TrainContext
from tasks.runtime.stage import execute
from tests.helpers.tiny_training import CPU, tiny_store, train_vq

made = 0

def count(*_):
    global made
    made += 1
    if made == 4:
        os.kill(os.getpid(), signal.SIGTERM)

def run(context):
    make_deterministic(0, 1)
    whole = "--whole" in sys.argv
    if not whole and not context.scratch.exists():
        register_optimizer_step_post_hook(count)
    scratch = None if whole else context.scratch
    settings = TrainContext(device=CPU, scratch=scratch, tracker=context.recorder)
    store = tiny_store(Path(tempfile.mkdtemp(dir=context.run_folder.parent)))
    trained = train_vq("hands", store, epochs=3, batch_size=2, context=settings)
    context.paths.fgd.mkdir(parents=True)
    torch.save(trained.network.state_dict(), context.paths.fgd / "weights")
    trained.curve.write(context.paths.fgd / "curve.csv")

sys.exit(execute("train", run))
"""
STATUS = "runs/train/status.json"


@pytest.fixture
def project(tmp_path: Path) -> Workspace:
    return mini_project(tmp_path, GRAPH, STAGE)


def scratch_folders(project: Workspace) -> list[Path]:
    return [path for path in (project.root / "runs" / "train").iterdir() if path.is_dir()]


@pytest.mark.slow
def test_a_killed_stage_continues_from_its_checkpoint(project: Workspace) -> None:
    assert project.dvc("repro").returncode != 0
    status = json.loads(project.read(STATUS))
    assert (status["state"], status["kind"]) == ("failed", "interrupted")
    (folder,) = scratch_folders(project)
    assert folder.name == status["fingerprint"]

    done = project.dvc("repro")
    assert done.returncode == 0, done.stderr
    assert project.read("models/fgd/weights") == b"first half, 2021"
    assert scratch_folders(project) == [], "a finished stage keeps no checkpoint"


@pytest.mark.slow
def test_a_training_stopped_by_sigterm_exits_with_143_and_continues_from_its_step(
    tmp_path: Path,
) -> None:
    project = mini_project(tmp_path, GRAPH, TRAINING)
    stopped = project.run(sys.executable, "-m", "mini")
    assert stopped.returncode == 143, stopped.stderr
    assert json.loads(project.read(STATUS))["kind"] == "interrupted"
    (folder,) = scratch_folders(project)
    (checkpoint,) = folder.iterdir()
    assert checkpoint.name.startswith("state-000001-00000001-")

    resumed = project.run(sys.executable, "-m", "mini")
    assert resumed.returncode == 0, resumed.stderr
    assert "train_vq@hands: continuing after 1 of 3 epochs and 1 steps" in resumed.stderr
    assert scratch_folders(project) == []
    weights, curve = project.read("models/fgd/weights"), project.read("models/fgd/curve.csv")

    shutil.rmtree(project.root / "models")
    whole = project.run(sys.executable, "-m", "mini", "--whole")
    assert whole.returncode == 0, whole.stderr
    assert project.read("models/fgd/weights") == weights
    assert project.read("models/fgd/curve.csv") == curve


FAILING = """
import sys
import torch
from tasks.runtime.stage import execute

def run(context):
    context.paths.fgd.mkdir(parents=True)
    (context.paths.fgd / "weights").write_text("half")
    raise {error}

sys.exit(execute("train", run))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("torch.OutOfMemoryError('20 MiB are missing')", "oom"),
        ("FloatingPointError('the loss is nan')", "nan"),
        ("TimeoutError('the store did not answer')", "transient"),
    ],
)
def test_a_failure_that_is_not_a_defect_is_reported_in_one_line(
    tmp_path: Path, error: str, kind: str
) -> None:
    project = mini_project(tmp_path, GRAPH, FAILING.format(error=error))
    done = project.run(sys.executable, "-m", "mini")
    message = error.split("'")[1]
    assert done.stderr.splitlines()[-1] == f"train: {kind}: {message}"
    assert "Traceback" not in done.stderr
    status = json.loads(project.read(STATUS))
    assert (status["state"], status["kind"], status["message"]) == ("failed", kind, message)
    assert done.returncode == 1


# A training stage that publishes, as those of the pipeline do.
PUBLISHED = """
import sys, tempfile
from pathlib import Path
import torch
from mambatalk.runtime import make_deterministic
from mambatalk.training.context import TrainContext
from tasks.runtime.publish import publish_training
from tasks.runtime.stage import execute
from tests.helpers.tiny_training import CPU, tiny_store, train_fgd

def run(context):
    make_deterministic(0, 1)
    settings = TrainContext(device=CPU, scratch=context.scratch, tracker=context.recorder)
    store = tiny_store(Path(tempfile.mkdtemp(dir=context.paths.root)))
    publish_training(
        context,
        train_fgd(store, epochs=2, batch_size=4, context=settings),
        folder=context.paths.fgd,
        save=lambda out: (out / "weights").write_text("written"),
        model=lambda step: "",
    )

sys.exit(execute("train", run))
"""


@pytest.mark.slow
def test_torchrun_trains_a_stage_in_two_processes_and_writes_its_outputs_once(
    tmp_path: Path,
) -> None:
    project = mini_project(tmp_path, GRAPH, PUBLISHED)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = project.run(*torchrun, "--nproc-per-node", "2", "--module", "mini", timeout=200)
    assert done.returncode == 0, done.stderr
    assert project.read("models/fgd/weights") == b"written"
    assert len(project.read("plots/train.csv").splitlines()) == 3
    assert json.loads(project.read(STATUS))["state"] == "succeeded"
    assert done.stderr.count("train_fgd_encoder: epoch 2 of 2") == 1
    assert scratch_folders(project) == []


@pytest.mark.slow
def test_a_changed_parameter_starts_from_the_beginning(project: Workspace) -> None:
    project.dvc("repro")
    project.set_params(seed=7)
    assert project.dvc("repro").returncode != 0, "the checkpoint of another seed is not used"
    assert len(scratch_folders(project)) == 2


@pytest.mark.slow
def test_a_stage_needs_no_working_directory(project: Workspace, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = f"{project.root}{os.pathsep}{project.env['PYTHONPATH']}"
    command = f"cd {elsewhere} && exec {sys.executable} -m mini {project.root}"
    for code in (143, 0):
        done = project.run("sh", "-c", command, PYTHONPATH=path)
        assert done.returncode == code, done.stderr
    assert project.read("models/fgd/weights") == b"first half, 2021"
    assert list(elsewhere.iterdir()) == []
    assert (project.root / "runs/cache/decoded").is_dir()


@pytest.mark.parametrize("remote", [False, True])
def test_a_build_gives_the_advice_to_push_only_where_there_is_a_remote(
    tmp_path: Path, remote: bool
) -> None:
    workspace = mini_project(
        tmp_path, "stages: {one: {cmd: echo hello > one, outs: [one]}}", "pass"
    )
    if remote:
        workspace.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    done = workspace.run(sys.executable, "-m", "tasks.tools.repro")
    assert done.returncode == 0, done.stderr
    assert "Running stage 'one'" in done.stdout
    assert ("dvc push" in done.stdout) == remote


def test_a_full_cache_fails_the_build_and_dvc_commit_mends_it(tmp_path: Path) -> None:
    """If an output is a folder, DVC itself prints errors and exits with 0."""
    command = "mkdir one && head -c 3000000 /dev/urandom > one/file"
    graph = f"stages: {{one: {{cmd: {command}, outs: [one]}}}}"
    workspace = mini_project(tmp_path, graph, "pass")
    script = """
        mount -t tmpfs -o size=1m none .dvc/cache || exit 99
        python -m tasks.tools.repro; echo "exit $?"
        mount -o remount,size=10m .dvc/cache
        dvc commit --force && dvc status && find .dvc/cache -type f -size +1000k
    """
    (workspace.root / ".dvc/cache").mkdir(exist_ok=True)
    done = workspace.run("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script)
    if done.returncode in (1, 99) and "exit" not in done.stdout:
        pytest.skip("mounting a small file system is not allowed here")
    assert "exit 1" in done.stdout
    assert done.stderr.count("dvc: not every output could be stored") == 1
    assert "up to date" in done.stdout
    assert ".dvc/cache/files" in done.stdout
