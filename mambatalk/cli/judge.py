"""`mambatalk decide`, `drift` and `croissant`: overrule checks, compare and describe snapshots."""

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
CLIPS_SHOWN = 12
"""Number of changed clips named in a line."""


@app.command(rich_help_panel=PANEL)
def decide(
    clip_id: Annotated[str, typer.Argument(metavar="CLIP", help="Clip id.")],
    answer: Annotated[
        Literal["accept", "reject"],
        typer.Argument(metavar="accept|reject", help="Whether the clip may be used."),
    ],
    *,
    reason: Annotated[str, typer.Option(help="Why, for those who read it later.")],
    digest: Annotated[
        str | None,
        typer.Option(
            help="Digest of the clip's files, from the report; default: that in the folder --clips."
        ),
    ] = None,
    clips: Annotated[
        Path, typer.Option(help="Clip store, or another folder with its manifest.parquet.")
    ] = Path("data/clips"),
    decisions: Annotated[Path, typer.Option(help="File to add the decision to.")] = Path(
        "data/decisions.csv"
    ),
) -> None:
    """Accept a clip that the checks quarantine, or reject one that they accept.

    Adds a row with the digest of the clip's files, your name in git, and the date. The pipeline
    applies it in its next run, and the report shows it. When the files of the clip change, the
    decision lapses with a warning. Commit the file; to withdraw a decision, delete its row.

    The report shows this command, with the digest, for each flagged clip.

    **Example**

        mambatalk decide 2_scott_0_1_1 accept --reason "sits still on purpose"
    """
    from mambatalk.quality.decisions import Decision, add_decision

    content = digest or _find_digest(clips, clip_id)
    today = datetime.now(UTC).date().isoformat()
    decision = Decision(clip_id, content, answer, " ".join(reason.split()), _user_name(), today)
    add_decision(decisions, decision)
    typer.echo(f"{decisions}: {clip_id} {decision}")


def _find_digest(clips: Path, clip_id: str) -> str:
    """Return the digest of a clip in a store.

    Raises:
        InputError: The store does not have the clip, or the clip cannot be read.

    """
    from mambatalk.errors import InputError

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
    return str(row["content"])


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


@app.command(rich_help_panel=PANEL)
def drift(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="Corpus, or clip store.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="Corpus, or clip store.")],
    *,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read clips.")] = 2,
) -> None:
    """Compare two snapshots of a corpus: clips that changed, and measures that drifted.

    Each of the two is the folder of a corpus, which is read now, or a folder with a
    `manifest.parquet`: a clip store of the pipeline, or `runs/data_quality/last`. A measure has
    drifted if its distribution has shifted by much (population stability index) and chance does not
    explain it (Kolmogorov-Smirnov test), for all speakers or for one.

    **Exit codes:** 0 nothing drifted; 1 a measure drifted; 2 a folder is neither.

    **Examples**

    Compare two deliveries:

        mambatalk drift /data/corpus-may /data/corpus-june

    Compare the clips of an earlier commit, from `dvc get . data/clips --rev v1.0 --out
    /tmp/clips-v1`, with the present ones:

        mambatalk drift /tmp/clips-v1 data/clips
    """
    from mambatalk.quality.comparison import (
        PreviousManifest,
        compare_manifests,
        describe_shift,
        summarize_drift,
    )
    from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS, clip_rules

    previous = PreviousManifest(manifest=_manifest_of(before, workers), snapshot=str(before))
    compared = compare_manifests(
        previous, _manifest_of(after, workers), clip_rules(STANDARD_BOUNDS)
    )
    for kind, clips in compared.clip_changes.items():
        others = f" and {len(clips) - CLIPS_SHOWN} more" if len(clips) > CLIPS_SHOWN else ""
        typer.echo(f"{kind}: {', '.join(clips[:CLIPS_SHOWN])}{others}")
    measures = {measure.column: measure for measure in compared.measures}
    for shift in compared.drifted:
        typer.echo(f"{shift.level} shift: {describe_shift(shift, measures[shift.feature])}")
    typer.echo(summarize_drift(compared))
    if compared.drifted:
        raise typer.Exit(1)


def _manifest_of(folder: Path, workers: int) -> "pd.DataFrame":
    """Read the manifest of a folder, or make the one of a corpus."""
    from mambatalk.clips.manifest import MANIFEST

    if (folder / MANIFEST).is_file():
        return _read_manifest(folder)
    from mambatalk.cli.data import check_corpus
    from mambatalk.corpus.layout import check_root
    from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS

    check_root(folder)
    return check_corpus(folder, STANDARD_BOUNDS, [], workers, []).store.manifest


@app.command(rich_help_panel=PANEL)
def croissant(
    snapshot: Annotated[
        Path, typer.Argument(metavar="SNAPSHOT", help="File of `mambatalk snapshot`.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="JSON-LD file to write.")],
    published: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Date of publication.")],
) -> None:
    """Describe a snapshot in Croissant, the JSON-LD format of data-set catalogues.

    The snapshot must hold name, licence and url of the corpus, as `mambatalk snapshot` states them.
    Put the file into the folder of the corpus: its paths are relative.

    **Example**

        mambatalk croissant data/snapshot.json --out croissant.json --published 2026-11-28
    """
    from mambatalk.corpus.croissant import describe_snapshot
    from mambatalk.corpus.snapshot import read_snapshot
    from mambatalk.files import write_json

    value = describe_snapshot(
        read_snapshot(snapshot), published=published.date().isoformat(), where=str(snapshot)
    )
    write_json(out, value)
    typer.echo(f"{out}: {value['description']}")
