"""Run the pipeline on your own corpus, beside this checkout: `python -m tasks.tools.real CORPUS`.

The build has its own git worktree in `runs/real/`, on the commit checked out here, and shares DVC's
cache. This checkout does not change, so nothing has to be undone. The profile is `clips`; for a
complete corpus and a real body model use `make profile P=paper`.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.errors import InputError
from tasks.runtime.command import run_command
from tasks.tools.profile import switch
from tasks.tools.summary import show

WORKTREE: Final = Path("runs/real")


def prepare(corpus: Path, worktree: Path) -> None:
    """Create or update a git worktree that reads `corpus` with the profile `clips`.

    Raises:
        InputError: `corpus` is not a folder.

    """
    if not corpus.is_dir():
        raise InputError(
            "make real",
            f"expected a folder in BEATX layout, found ROOT={corpus}",
            "set it: make real ROOT=/path/to/beat_english_v2.0.0",
        )
    commit = _git("rev-parse", "HEAD")
    if worktree.exists():
        _git("-C", str(worktree), "checkout", "--quiet", "--force", "--detach", commit)
    else:
        _git("worktree", "prune")
        _git("worktree", "add", "--quiet", "--detach", str(worktree), commit)
    cache = str(Path(".dvc/cache").resolve())
    subprocess.run(["dvc", "cache", "dir", "--quiet", "--local", cache], cwd=worktree, check=True)
    link = worktree / "corpus"
    link.unlink(missing_ok=True)
    link.symlink_to(corpus, target_is_directory=True)
    switch("clips", worktree)
    write_snapshot(link, worktree / "data" / "snapshot.json")


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def command(
    corpus: Annotated[Path, typer.Argument(help="Folder in BEATX layout.")],
) -> None:
    """Prepare the worktree, build everything in it, and show the metrics."""
    prepare(corpus.resolve(), WORKTREE)
    if code := subprocess.run(["dvc", "repro"], cwd=WORKTREE, check=False).returncode:
        sys.exit(code)
    show(WORKTREE)
    sys.stdout.write(
        f"the build is in {WORKTREE}; `git worktree remove --force {WORKTREE}` deletes it\n"
    )


if __name__ == "__main__":
    run_command(command, "tasks.tools.real", __doc__)
