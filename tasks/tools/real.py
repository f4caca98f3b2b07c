"""Run the pipeline on a corpus of your own, beside the checkout: `python -m tasks.tools.real CORPUS`.

The run has a git worktree of its own under `runs/real/`, on the commit checked out here, and shares
DVC's cache; nothing in the checkout changes, so there is nothing to undo. It takes the profile
`clips`; for a whole corpus and a real body model, `make profile P=paper`.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.errors import InputError
from tasks.tools.command import run_tool
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


def main() -> None:
    """Prepare the worktree, rebuild everything in it, and show the metrics."""
    run_tool(lambda: prepare(Path(sys.argv[1] if len(sys.argv) > 1 else "").resolve(), WORKTREE))
    if code := subprocess.run(["dvc", "repro"], cwd=WORKTREE, check=False).returncode:
        sys.exit(code)
    show(WORKTREE)
    sys.stdout.write(
        f"the run lies in {WORKTREE}; `git worktree remove --force {WORKTREE}` throws it away\n"
    )


if __name__ == "__main__":
    main()
