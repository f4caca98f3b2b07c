"""The retrain flow: a worktree, DVC's remote, a branch with the results, and nothing left over."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.states import State

from flows.gpu import hold_lock
from flows.retrain import retrain
from flows.stages import StageError
from flows.workspace import Workspace
from flows.worktrees import git
from mambatalk.errors import InputError
from tests.helpers.built_checkout import ROOT
from tests.operations.project import Project, make_project


@pytest.fixture(scope="session")
def project_template(homes: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("template") / "project").root


@pytest.fixture
def project(project_template: Path, tmp_path: Path) -> Project:
    root = shutil.copytree(project_template, tmp_path / "project")
    settings = root / ".dvc" / "config"
    settings.write_text(
        settings.read_text().replace(str(project_template.parent), str(root.parent))
    )
    git(root, "commit", "--quiet", "--all", "--message", "Set the remote")
    return Project(Workspace.open(root))


def run(project: Project, **parameters: Any) -> State:
    return retrain(str(project.root), until="proposal", **parameters, return_state=True)


def test_results_are_proposed_once_on_a_branch_of_their_own(
    prefect: None, project: Project
) -> None:
    before = git(project.root, "status", "--porcelain"), git(project.root, "rev-parse", "main")
    first = run(project)
    (branch,) = project.branches()
    assert (first.name, first.message) == ("Proposed", f"branch {branch}; 3 of 3 stages ran")
    changed = git(project.root, "diff", "--name-only", "main", branch).split()
    assert changed == ["dvc.lock", "score.json"]

    second = run(project)
    assert second.name == "Unchanged"
    assert second.message == f"same results as {branch}; 0 of 3 stages ran"
    assert project.branches() == [branch]
    # The repository's own files and branches are as before, and no worktree is left.
    after = git(project.root, "status", "--porcelain"), git(project.root, "rev-parse", "main")
    assert after == before
    assert not (project.root / "out").exists()
    assert project.worktrees() == []


@pytest.mark.operations
def test_a_change_is_proposed_with_the_difference_of_the_metrics(
    prefect: None, project: Project
) -> None:
    assert run(project).name == "Proposed"
    (branch,) = project.branches()
    project.commit(word="longer word")
    assert run(project).name == "Proposed"
    (other,) = set(project.branches()) - {branch}
    assert "| score.json | score | 5 | 11 | 6 |" in " ".join(project.message(other).split())


@pytest.mark.operations
def test_another_machine_restores_what_the_remote_has(
    prefect: None, project: Project, tmp_path: Path
) -> None:
    assert run(project).name == "Proposed"
    (branch,) = project.branches()
    commit = git(project.root, "rev-parse", "HEAD")
    clone = tmp_path / "other" / "clone"
    clone.parent.mkdir()
    git(tmp_path, "clone", "--quiet", str(project.root), str(clone))
    other = Project(Workspace.open(clone))

    state = run(other, git_remote="origin", ref="origin/main")
    assert state.message == f"same results as origin/{branch}; 0 of 3 stages ran"
    assert other.branches() == []
    # Also if the lock is that of other words: DVC's run cache knows those stages, but not metrics.
    project.commit(word="other")
    assert run(project).name == "Proposed"
    assert run(other, git_remote="origin", ref=commit).message.endswith("1 of 3 stages ran")

    # A model that is in neither cache is trained again, with the same result.
    model = git(project.root, "show", f"{branch}:dvc.lock").split("out/model")[1].split()[3]
    shutil.rmtree(clone / ".dvc/cache")
    for entry in (project.remote / "files/md5").glob(f"{model[:2]}/{model[2:]}"):
        entry.unlink()
    state = run(other, ref=f"origin/{branch}")
    assert state.name == "Unchanged"
    assert state.message.endswith("1 of 3 stages ran")


@pytest.mark.operations
def test_a_branch_is_pushed_and_pushed_again_if_that_failed(
    prefect: None, project: Project, tmp_path: Path
) -> None:
    hub = tmp_path / "hub.git"
    git(project.root, "init", "--quiet", "--bare", str(hub))
    git(project.root, "remote", "add", "hub", str(hub))
    hub.rename(tmp_path / "away")
    with pytest.raises(StageError, match="git fetch failed"):
        run(project, git_remote="hub").result()
    (tmp_path / "away").rename(hub)
    assert run(project).name == "Proposed"
    assert run(project, git_remote="hub").name == "Unchanged"
    (branch,) = project.branches()
    assert git(hub, "rev-parse", branch) == git(project.root, "rev-parse", branch)


@pytest.mark.operations
def test_one_run_at_a_time_sweeps_what_a_killed_one_left(prefect: None, project: Project) -> None:
    lock = project.root / "runs/retrain/scratch/retrain.lock"
    left = project.root / "runs/retrain/worktrees/left"
    git(project.root, "worktree", "add", "--quiet", "--detach", str(left), "HEAD")
    with hold_lock(lock), pytest.raises(InputError, match="another retraining"):
        run(project).result()
    assert left.exists()
    assert run(project).name == "Proposed"
    assert project.worktrees() == []


def test_a_lock_is_held_until_the_last_process_that_inherited_it_ends(tmp_path: Path) -> None:
    lock = tmp_path / "gpu.lock"
    with hold_lock(lock) as descriptor:
        assert descriptor is not None
        orphan = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[descriptor])
    with hold_lock(lock) as second:
        assert second is None
    orphan.communicate()
    with hold_lock(lock) as third:
        assert third is not None


def test_a_commit_that_does_not_exist_is_bad_input(prefect: None, project: Project) -> None:
    with pytest.raises(InputError, match="expected a commit, found ref='nowhere'"):
        run(project, ref="nowhere").result()


def test_a_worker_without_a_gpu_in_the_pool_for_gpus_says_so(
    prefect: None, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAMBATALK_DEVICE", "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(InputError, match="expected a machine with a GPU for 'cuda', found none"):
        run(project).result()


def test_a_machine_without_a_gpu_is_reported_in_one_line(project: Project) -> None:
    variables = {"MAMBATALK_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "flows.retrain", "--root", str(project.root)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "expected a machine with a GPU for 'cuda', found none" in line
