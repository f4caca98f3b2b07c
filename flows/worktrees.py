"""A git worktree for each retraining, with the repository's DVC cache, and what it proposes.

A run never changes the files of the repository. It works in `runs/retrain/worktrees/RUN`, which
shares the repository's DVC cache and settings. Checkpoints are not in the worktree: its `runs` is a
link to a scratch folder, where the next run finds them by the stage's fingerprint.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flows.gpu import hold_lock
from flows.stages import StageError, dvc_command
from flows.workspace import Workspace
from mambatalk.errors import InputError

BRANCHES: Final = "retrain"
"""Branches are called retrain/RUN."""
LOCK: Final = "dvc.lock"
_FOLDER: Final = "retrain"
_MAX_DIFFERENCES: Final = 60
"""Lines of the metrics' differences in a commit message. The sample has 45."""


def scratch_folder(repository: Workspace) -> Path:
    """Return the folder of checkpoints: `MAMBATALK_RUNS`, or `runs/retrain/scratch`.

    Several machines share checkpoints if `MAMBATALK_RUNS` is the same volume on all of them.
    """
    shared = os.environ.get("MAMBATALK_RUNS")
    return repository.root / (shared or f"runs/{_FOLDER}/scratch")


@contextmanager
def only_retrain(repository: Workspace) -> Iterator[int]:
    """Hold the scratch folder for one run, its commands included, and remove what others left.

    Yields:
        Descriptor of the lock's file, which every command must inherit.

    Raises:
        InputError: Another run, or a training that it left, still works in the folder.

    """
    lock = scratch_folder(repository) / "retrain.lock"
    with hold_lock(lock) as descriptor:
        if descriptor is None:
            raise InputError(
                lock,
                "another retraining, or a training that a killed one left, works here",
                "wait until it has ended, and run the same command again",
            )
        _sweep(repository)
        yield descriptor


def _sweep(repository: Workspace) -> None:
    """Remove the worktrees of runs that were killed; their lock is free, so none of them runs."""
    shutil.rmtree(_worktrees(repository), ignore_errors=True)
    git(repository.root, "worktree", "prune")


def _worktrees(repository: Workspace) -> Path:
    return repository.root / "runs" / _FOLDER / "worktrees"


def resolve_commit(repository: Workspace, ref: str, git_remote: str | None) -> str:
    """Return the id of a commit, after a fetch if `git_remote` is not None.

    Raises:
        InputError: The repository has no such commit.
        StageError: The remote does not answer; "transient".

    """
    if git_remote is not None:
        _with_remote(repository.root, "fetch", "--quiet", git_remote)
    found = _git(repository.root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if found.returncode:
        raise InputError(
            repository.root,
            f"expected a commit, found ref={ref!r}",
            "set ref to a branch, a tag or a commit of this repository",
        )
    return found.stdout.strip()


@contextmanager
def worktree(repository: Workspace, name: str, commit: str) -> Iterator[Workspace]:
    """Check a commit out into a worktree for the length of the block.

    Args:
        repository: The checkout whose git repository, DVC cache and DVC settings are used.
        name: Name of the run.
        commit: What to check out, without a branch.

    """
    root = _worktrees(repository) / name
    scratch = scratch_folder(repository)
    scratch.mkdir(parents=True, exist_ok=True)
    git(repository.root, "worktree", "add", "--quiet", "--detach", str(root), commit)
    try:
        (root / "runs").symlink_to(scratch.resolve(), target_is_directory=True)
        _share_dvc(repository, root)
        yield Workspace.open(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
        git(repository.root, "worktree", "prune")


def _share_dvc(repository: Workspace, root: Path) -> None:
    """Give a worktree the repository's cache, and its settings that are not in git."""
    from dvc.repo import Repo

    local = repository.root / ".dvc" / "config.local"
    if local.is_file():
        shutil.copy(local, root / ".dvc" / "config.local")
    with Repo(str(repository.root)) as repo:
        cache = repo.cache.local_cache_dir
    command = dvc_command("cache", "dir", "--quiet", "--local", str(cache))
    environment = Workspace.open(root).environment({})
    subprocess.run(command, cwd=root, env=environment, check=True)


def has_dvc_remote(workspace: Workspace) -> bool:
    """Return whether DVC has a remote to pull from and push to."""
    from dvc.repo import Repo

    with Repo(str(workspace.root)) as repo:
        return bool(repo.config["core"].get("remote"))


def start_from_last_results(workspace: Workspace) -> str:
    """Give a worktree the `dvc.lock` of the newest proposal, if it is newer than its own.

    DVC then finds what was built although nobody has merged the proposal. Whether a stage's results
    still hold is decided by the hashes in the file, as always.

    Returns:
        The reference whose results the worktree has: a proposal, or "HEAD".

    """
    root = workspace.root
    newest = git(
        root,
        "for-each-ref",
        "--sort=-committerdate",
        "--count=1",
        "--format=%(committerdate:unix) %(refname)",
        f"refs/heads/{BRANCHES}/",
        f"refs/remotes/*/{BRANCHES}/*",
    )
    own = git(root, "log", "-1", "--format=%ct", "HEAD", "--", LOCK)
    if not newest or int(newest.split()[0]) <= int(own or 0):
        return "HEAD"
    reference = newest.split()[1]
    paths = [LOCK, *_outputs_in_git(workspace)]
    found = git(root, "ls-tree", "-r", "--name-only", reference, "--", *paths).splitlines()
    git(root, "restore", f"--source={reference}", "--worktree", "--", *found)
    return reference


def propose(
    workspace: Workspace, run: str, before: str, git_remote: str | None
) -> tuple[str, bool]:
    """Commit `dvc.lock` with the metrics and plots that belong to git, on a branch of its own.

    Nothing is committed if the commit that was checked out, or another proposal, has the same
    `dvc.lock`.

    Args:
        workspace: Worktree in which every stage is up to date.
        run: Name of the run; the branch is retrain/RUN.
        before: Reference whose metrics the new ones are compared with.
        git_remote: Where to push the branch, if not None.

    Returns:
        The branch or commit with this `dvc.lock`, and whether the branch is new.

    Raises:
        StageError: The branch cannot be pushed; "transient". The next run pushes it.

    """
    root = workspace.root
    known = _with_same_lock(root)
    if known is not None and known != f"refs/heads/{BRANCHES}/{run}":
        _push_proposal(root, known, git_remote)
        return known.removeprefix("refs/heads/").removeprefix("refs/remotes/"), False

    branch = f"{BRANCHES}/{run}"
    difference = _metrics_difference(workspace, before)
    git(root, "add", "--all", "--force", "--", LOCK, *_outputs_in_git(workspace))
    message = (
        f"Propose the results of {run}\n\n{difference}\n\n"
        "`dvc pull` brings the data, the models and reports/index.html, the report.\n"
    )
    git(root, *_identity(root), "commit", "--quiet", "--no-verify", "--message", message)
    git(root, "branch", "--force", branch, "HEAD")
    _push_proposal(root, f"refs/heads/{branch}", git_remote)
    return branch, True


def _with_same_lock(root: Path) -> str | None:
    """Return the reference whose `dvc.lock` is that of a worktree: HEAD's commit or a proposal."""
    own = git(root, "hash-object", LOCK)
    names = git(
        root,
        "for-each-ref",
        "--format=%(refname)",
        f"refs/heads/{BRANCHES}/",
        f"refs/remotes/*/{BRANCHES}/*",
    )
    commit = git(root, "rev-parse", "HEAD")
    for name in (commit, *names.splitlines()):
        if _git(root, "rev-parse", "--verify", "--quiet", f"{name}:{LOCK}").stdout.strip() == own:
            return name
    return None


def _push_proposal(root: Path, reference: str, git_remote: str | None) -> None:
    """Push a local branch, even one from an earlier run; do nothing for other references."""
    if git_remote is not None and reference.startswith("refs/heads/"):
        _with_remote(root, "push", "--quiet", git_remote, f"{reference}:{reference}")


def _metrics_difference(workspace: Workspace, before: str) -> str:
    """Return DVC's table of the metrics that differ from those of a reference."""
    result = subprocess.run(
        dvc_command("metrics", "diff", "--md", "--precision", "4", before),
        cwd=workspace.root,
        env=workspace.environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = result.stdout.strip().splitlines()
    if result.returncode or not lines:
        return "No metric has changed."
    if len(lines) > _MAX_DIFFERENCES:
        count = len(lines) - _MAX_DIFFERENCES
        lines = [*lines[:_MAX_DIFFERENCES], f"... and {count} more: `dvc metrics diff`"]
    return "\n".join(lines)


def _outputs_in_git(workspace: Workspace) -> list[str]:
    """Return the paths of all outputs that are in git and not in DVC's cache."""
    from dvc.repo import Repo

    with Repo(str(workspace.root)) as repo:
        return sorted(
            os.path.relpath(out.fs_path, workspace.root)
            for stage in repo.index.stages
            for out in stage.outs
            if not out.use_cache
        )


def _identity(root: Path) -> list[str]:
    """Return the settings of a committer, for a machine where git has none."""
    if _git(root, "config", "user.email").stdout.strip():
        return []
    return ["-c", "user.name=mambatalk retrain", "-c", "user.email=retrain@localhost"]


def git(root: Path, *arguments: str) -> str:
    """Run a git command that needs no network, and return its output.

    Raises:
        InputError: The command failed.

    """
    result = _git(root, *arguments)
    if result.returncode:
        raise InputError(
            root,
            f"git {' '.join(arguments[:2])} failed: {_last_line(result.stderr)}",
            "repair the repository, and run the same command again",
        )
    return result.stdout.strip()


def _with_remote(root: Path, *arguments: str) -> None:
    # Without a terminal, git must fail and not ask for a password.
    result = _git(root, *arguments, GIT_TERMINAL_PROMPT="0")
    if result.returncode:
        raise StageError(f"git {arguments[0]}", "transient", _last_line(result.stderr))


def _git(root: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["git", *arguments],
        cwd=root,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no output")
