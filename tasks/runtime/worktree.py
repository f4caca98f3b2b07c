"""Git worktrees beside this checkout, for builds that leave it as it is."""

import subprocess
from pathlib import Path

from mambatalk.errors import InputError


def prepare_worktree(folder: Path) -> None:
    """Create a git worktree, or update it, at the commit checked out here; share DVC's cache.

    Files of a build that git ignores stay, so that a build that was stopped continues.

    Raises:
        InputError: This folder is not in a git repository, or `folder` exists, but is not a git
            worktree.

    """
    try:
        commit = git("rev-parse", "HEAD")
    except subprocess.CalledProcessError:
        raise InputError(
            Path.cwd(), "expected a git checkout with a commit", "clone the repository"
        ) from None
    git("worktree", "prune")
    if folder.exists():
        check_worktree(folder)
        git("-C", str(folder), "checkout", "--quiet", "--force", "--detach", commit)
    else:
        git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    cache = str(Path(".dvc/cache").resolve())
    subprocess.run(["dvc", "cache", "dir", "--quiet", "--local", cache], cwd=folder, check=True)


def check_worktree(folder: Path) -> None:
    """Raise `InputError` if a folder is not a git worktree."""
    # In any other folder below the checkout, git would change the checkout itself.
    if not (folder / ".git").is_file():
        raise InputError(folder, "expected a git worktree, found another folder", "rename it")


def git(*arguments: str) -> str:
    """Run git, and return its output without the final newline."""
    return subprocess.run(
        ["git", *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
