"""`mambatalk decide` and `drift`: overrule the checks of a clip, and compare two snapshots."""

import getpass
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer()
PANEL = "Data"


@app.command(rich_help_panel=PANEL)
def decide(
    clip_id: Annotated[str, typer.Argument(metavar="CLIP", help="Clip id.")],
    answer: Annotated[
        Literal["accept", "reject"],
        typer.Argument(metavar="accept|reject", help="Whether the clip may be used."),
    ],
    *,
    reason: Annotated[str, typer.Option(help="Why, for those who read it later.")],
    clips: Annotated[
        Path, typer.Option(help="Clip store, or another folder with its manifest.parquet.")
    ] = Path("data/clips"),
    decisions: Annotated[Path, typer.Option(help="File to add the decision to.")] = Path(
        "data/decisions.csv"
    ),
) -> None:
    """Accept a clip that the checks quarantine, or reject one that they accept.

    Adds a row with the digest of the clip's files, your name in git, and the date. The pipeline
    applies it in its next run, the report shows it, and it lapses with a warning when the files of
    the clip change. Commit the file; to withdraw a decision, delete its row.

    **Example**

        mambatalk decide 2_scott_0_1_1 accept --reason "sits still on purpose"
    """
    from mambatalk.errors import InputError
    from mambatalk.quality.decisions import Decision, add_decision

    rows = _read_manifest(clips).set_index("clip_id")
    if clip_id not in rows.index:
        raise InputError(clips, f"expected a clip {clip_id}, found none", "check the id")
    row = rows.loc[clip_id]
    if isinstance(row["fault"], str):
        raise InputError(
            f"clip {clip_id}",
            "expected a clip that can be read, found one that the checks always leave out",
            f"correct it first: {row['fault']}",
        )
    today = datetime.now(UTC).date().isoformat()
    one = Decision(clip_id, row["content"], answer, " ".join(reason.split()), _user_name(), today)
    add_decision(decisions, one)
    typer.echo(f"{decisions}: {clip_id} {one}")


def _user_name() -> str:
    """Return the user's name in git, or else the name of the account."""
    try:
        done = subprocess.run(
            ["git", "config", "user.name"], capture_output=True, text=True, check=False
        )
    except OSError:
        return getpass.getuser()
    return done.stdout.strip() or getpass.getuser()


def _read_manifest(folder: Path) -> "pd.DataFrame":
    from mambatalk.clips.store import ClipStore

    return ClipStore(folder).manifest
