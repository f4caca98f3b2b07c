"""Run the pipeline on your own corpus, beside this checkout: `python -m tasks.tools.real CORPUS`.

The build has its own git worktree, on the commit checked out here, and shares DVC's cache, so that
a corpus that was built before is restored and not trained again. This checkout does not change. The
worktree is `runs/real.new` while the build runs, and becomes `runs/real` when it is complete; until
then the results of the last build stay there. Runs are recorded in their own MLflow experiment. The
profile is `clips`; for a complete corpus and a real body model use `make profile P=paper`.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mambatalk.console import progress_bar
from mambatalk.corpus.snapshot import build_snapshot
from mambatalk.errors import InputError
from mambatalk.files import write_json
from tasks.runtime.command import run_command
from tasks.runtime.worktree import check_worktree, git, prepare_worktree
from tasks.tools.profile import switch
from tasks.tools.repro import repro
from tasks.tools.summary import show

WORKTREE: Final = Path("runs/real")
"""The last complete build."""
UNFINISHED: Final = Path("runs/real.new")
"""The build that runs, or that was stopped: the next one continues it."""
EXPERIMENT: Final = "mambatalk-real"


def take_snapshot(root: str) -> tuple[Path, dict[str, Any]]:
    """Return the absolute path and the snapshot of a corpus.

    Raises:
        InputError: `root` is empty, not a folder, or not a corpus in BEATX layout.

    """
    hint = "set it: make real ROOT=/path/to/beat_english_v2.0.0"
    # An empty path would be the working directory.
    if not root:
        raise InputError("make real", "expected the folder of a corpus, found no ROOT", hint)
    corpus = Path(root).resolve()
    if not corpus.is_dir():
        raise InputError(
            "make real", f"expected a folder in BEATX layout, found ROOT={corpus}", hint
        )
    with progress_bar("reading the corpus") as progress:
        return corpus, build_snapshot(corpus, progress=progress)


def prepare(corpus: Path, snapshot: dict[str, Any], worktree: Path) -> None:
    """Create or update a git worktree that reads `corpus` with the profile `clips`.

    Raises:
        InputError: `worktree` is a folder, but not a git worktree.

    """
    prepare_worktree(worktree)
    link = worktree / "corpus"
    link.unlink(missing_ok=True)
    link.symlink_to(corpus, target_is_directory=True)
    switch("clips", worktree)
    write_json(worktree / "data" / "snapshot.json", snapshot)


def replace(worktree: Path, new: Path) -> None:
    """Replace a git worktree, which may be missing, with a new one.

    Raises:
        InputError: `worktree` is a folder, but not a git worktree.

    """
    if worktree.exists():
        check_worktree(worktree)
        git("worktree", "remove", "--force", str(worktree))
    git("worktree", "move", str(new), str(worktree))


def command(
    corpus: Annotated[str, typer.Argument(help="Folder in BEATX layout.")],
) -> None:
    """Prepare the worktree, build everything in it, and show the metrics."""
    root, snapshot = take_snapshot(corpus)
    prepare(root, snapshot, UNFINISHED)
    code = repro(UNFINISHED, {"MLFLOW_EXPERIMENT_NAME": EXPERIMENT})
    if code:
        sys.stderr.write(
            f"make real: the build stopped; the paths above are in {UNFINISHED}, "
            "and the same command continues it\n"
        )
        sys.exit(code)
    replace(WORKTREE, UNFINISHED)
    show(WORKTREE, EXPERIMENT)
    sys.stdout.write(
        "\n"
        "This was a trial with short training. It shows that the corpus passes every stage, not "
        "how good a model it can train; the report says what its numbers mean.\n"
        f"`git worktree remove --force {WORKTREE}` deletes it.\n"
    )


if __name__ == "__main__":
    run_command(command, "tasks.tools.real", __doc__)
