"""Git worktrees beside this checkout, for builds that leave it as it is."""

import subprocess
from pathlib import Path

from mambatalk.errors import InputError


def prepare_worktree(folder: Path) -> None:
    """Create a git worktree, or update it, at the commit checked out here; share DVC's cache.

    Files of a build that git ignores stay, so that a build that was stopped continues.

    Raises:
        InputError: Git fails, as outside a repository; or `folder` exists, but is not a git
            worktree.

    """
    commit = git("rev-parse", "HEAD")
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
    """Run git, and return its output without the final newline.

    Raises:
        InputError: Git fails.

    """
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise InputError(
            Path.cwd(), f"git {arguments[0]} failed ({reason})", "run it in a clone with a commit"
        )
    return done.stdout.strip()
