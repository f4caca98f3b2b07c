"""`mambatalk sample`, `snapshot` and `check`: make, describe and check a corpus."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mambatalk.console import progress_bar
from mambatalk.reporting.text import count_of

if TYPE_CHECKING:
    from mambatalk.config import CheckClipsConfig
    from mambatalk.quality.decisions import Decision
    from mambatalk.quality.pages.report import QualityReport

app = typer.Typer()
PANEL = "Data"
CLIPS_SHOWN = 3
"""Number of clips named in a line; a warning may concern thousands."""


@app.command(rich_help_panel=PANEL)
def sample(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to write; an earlier sample is replaced.")
    ],
    *,
    hours: Annotated[
        float, typer.Option(help="Hours of motion; the default is about ten minutes.")
    ] = 0.17,
    speakers: Annotated[int, typer.Option(min=1, help="Number of speakers.")] = 3,
    seed: Annotated[
        int, typer.Option(help="Random seed; the same seed gives the same files.")
    ] = 2021,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; default: 1 for a small sample, else one per core."),
    ] = None,
) -> None:
    """Write a synthetic corpus in BEATX layout.

    The speech comes from eSpeak NG (`pip install 'mambatalk[sample]'`). The motion follows known
    rules, so that a test can measure whether a model has learned them: jaw and face follow the
    phones, arms and head beat on stressed syllables, and eight words have a gesture of their own.
    `OUT/events/` lists every such event.

    **Examples**

    Ten minutes, made in about 15 seconds:

        mambatalk sample /tmp/corpus

    Ten hours for benchmarks, made on all cores:

        mambatalk sample /tmp/large --hours 10 --speakers 8
    """
    from mambatalk.sample.build import write_sample

    with progress_bar("writing clips") as progress:
        write_sample(
            out, hours=hours, speakers=speakers, seed=seed, workers=workers, progress=progress
        )
    typer.echo(f"{out}: {hours:g} h, {count_of(speakers, 'speaker')}. Next: mambatalk check {out}")


@app.command(rich_help_panel=PANEL)
def snapshot(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Language folder in BEATX layout.")],
    *,
    out: Annotated[Path, typer.Option(help="JSON file to write; it is small, commit it to git.")],
    name: Annotated[str | None, typer.Option(help="Name of the corpus.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="SPDX name or address of the licence.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Where the corpus comes from.")] = None,
    citation: Annotated[str | None, typer.Option(help="How to cite the corpus.")] = None,
    method: Annotated[str | None, typer.Option(help="How the corpus was made.")] = None,
) -> None:
    r"""Record path, size and SHA-256 of every file of a corpus.

    The snapshot is the only data dependency of the pipeline: a new snapshot triggers a new
    training. Name, licence, url, citation and method are yours to state, because no file of the
    corpus does; the data card of the report shows them, and `mambatalk croissant` needs the first
    three.

    **Examples**

        mambatalk snapshot /data/beat_english_v2.0.0 --out data/beat_english.json

        mambatalk snapshot /data/corpus --out data/my_corpus.json --name "my corpus" \
          --licence CC-BY-4.0 --url https://example.org/corpus --method "motion capture, 2025"

    Then set `ingest.root` and `ingest.snapshot` in `params.yaml`, and commit both. Where
    retrainings are scheduled, `python -m flows.announce` then starts one.
    """
    from mambatalk.corpus.snapshot import write_snapshot

    stated = {"name": name, "licence": licence, "url": url, "citation": citation, "method": method}
    origin = {key: " ".join(text.split()) for key, text in stated.items() if text}
    with progress_bar("hashing files") as progress:
        value = write_snapshot(root, out, origin=origin, progress=progress)
    size = sum(file["size"] for file in value["files"].values())
    typer.echo(
        f"{out}: {count_of(len(value['files']), 'file')}, {size / 1e9:.2f} GB, "
        f"digest {value['digest'][:12]}"
    )


@app.command(rich_help_panel=PANEL)
def check(
    root: Annotated[
        Path | None,
        typer.Argument(
            metavar="ROOT", help="Language folder in BEATX layout; sem and textgrid are optional."
        ),
    ] = None,
    *,
    explain: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="Explain a rule and its bound, and check nothing."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for an HTML report with figures (index.html).")
    ] = None,
    params: Annotated[
        Path | None, typer.Option(help="Parameter file with the bounds of the checks.")
    ] = None,
    speakers: Annotated[
        str | None, typer.Option(help="Speaker ids, such as 2,4; default: all.")
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(help="File written by `mambatalk decide`, such as data/decisions.csv."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read and draw clips.")] = 2,
) -> None:
    """Check a corpus with the rules of the pipeline.

    Reads every clip as the pipeline would and prints which clips it would quarantine, and why.

    **Exit codes:** 0 no finding, or warnings only; 1 a clip is quarantined or a critical rule
    failed; 2 the folder is not a corpus.

    **Examples**

    Check a corpus of your own, and write a report with figures:

        mambatalk check /data/my_corpus --report /tmp/quality

    Check the speaker that was downloaded:

        mambatalk check /data/beat2/beat_english_v2.0.0 --speakers 2

    Use the bounds of a profile:

        mambatalk check /data/my_corpus --params infra/profiles/paper.yaml

    Find out what a rule of the report means, and where its bound comes from:

        mambatalk check --explain joint_speed
    """
    if explain is not None:
        typer.echo("\n".join(_explanation(explain, _load_bounds(params))))
        return
    if root is None:
        raise typer.BadParameter("expected the folder of a corpus", param_hint="ROOT")
    from mambatalk.corpus.layout import check_root
    from mambatalk.download.selection import parse_speakers
    from mambatalk.files import make_folder

    bounds = _load_bounds(params)
    decided = [] if decisions is None else _load_decisions(decisions)
    speaker_ids = [] if speakers is None else sorted(parse_speakers(speakers))
    # Find out about a wrong path before the corpus is read, which can take an hour.
    check_root(root)
    if report is not None:
        make_folder(report)
    result = check_corpus(root, bounds, speaker_ids, workers, decided)
    _print_report(result)
    if report is not None:
        # These import Matplotlib and PyTorch, which takes longer than a check of known clips.
        from mambatalk.quality.pages.page import write_quality_page
        from mambatalk.rendering.moments import draw_moments

        with progress_bar("drawing pages") as progress:
            write_quality_page(
                report / "index.html",
                replace(result, draw_stills=draw_moments),
                workers=workers,
                progress=progress,
            )
        typer.echo(f"report: {report / 'index.html'}")
    if result.verdict["critical"] or result.verdict["quarantined"]:
        raise typer.Exit(1)


def check_corpus(
    root: Path,
    bounds: "CheckClipsConfig",
    speakers: list[int],
    workers: int,
    decisions: "list[Decision]",
) -> "QualityReport":
    """Check a corpus; clips that an earlier check has measured are not read again.

    Args:
        root: Language folder in BEATX layout.
        bounds: Bounds of the rules.
        speakers: Ids of the speakers to check. Empty selects all speakers.
        workers: Number of processes that read clips.
        decisions: What a person has decided about single clips.

    """
    from mambatalk.clips.measured_corpus import MeasuredCorpus
    from mambatalk.corpus.snapshot import layout_files
    from mambatalk.files import cache_folder
    from mambatalk.quality.pages.report import build_report, find_unmatched_files

    files = [path.relative_to(root).as_posix() for path in layout_files(root)]
    with progress_bar("reading clips") as progress:
        corpus = MeasuredCorpus(
            root,
            speakers=speakers,
            workers=workers,
            cache=cache_folder() / "check",
            progress=progress,
        )
    return build_report(
        corpus,
        bounds,
        corpus=str(root),
        unmatched_files=find_unmatched_files(files),
        decisions=decisions,
    )


def _print_report(report: "QualityReport") -> None:
    """Print a line per quarantined clip, per rule with warnings and per critical finding."""
    verdict = report.verdict
    for clip, reasons in verdict["quarantined"].items():
        for reason in reasons:
            typer.echo(f"quarantined {clip}: {reason}")

    for judged in verdict["decisions"]:
        typer.echo(f"decision {judged.decision.clip_id}: {judged.explanation} ({judged.decision})")

    warnings = report.findings[report.findings["severity"] == "warning"]
    for rule, found in warnings.groupby("rule", sort=False):
        clips = ", ".join(found["clip_id"][:CLIPS_SHOWN])
        others = " and others" if len(found) > CLIPS_SHOWN else ""
        reason = found["reason"].iloc[0]
        typer.echo(f"warning {rule}: {count_of(len(found), 'clip')} ({reason}): {clips}{others}")

    for reason in verdict["critical"]:
        typer.echo(f"critical: {reason}")
    if report.unmatched_files:
        typer.echo(f"ignored, name is not a clip id: {', '.join(report.unmatched_files)}")
    typer.echo(
        f"{count_of(len(report.store.manifest), 'clip')}: {len(verdict['accepted']):,} accepted,"
        f" {len(verdict['quarantined']):,} quarantined; {count_of(verdict['warnings'], 'warning')}"
    )


def _explanation(name: str, bounds: "CheckClipsConfig") -> list[str]:
    """Return the lines that explain a rule for clips; the name may have blanks, as on the page."""
    from difflib import get_close_matches

    from mambatalk.errors import InputError
    from mambatalk.quality.rules.catalogue import clip_rules
    from mambatalk.quality.rules.rule import explain

    rules = {rule.name: rule for rule in clip_rules(bounds)}
    wanted = name.strip().lower().replace(" ", "_")
    if wanted not in rules:
        close = get_close_matches(wanted, rules, cutoff=0.4) or sorted(rules)
        raise InputError(
            f"--explain {name}", "expected the name of a rule", f"such as {', '.join(close)}"
        )
    return explain(rules[wanted])


def _load_decisions(path: Path) -> "list[Decision]":
    from mambatalk.errors import InputError
    from mambatalk.quality.decisions import read_decisions

    if not path.exists():
        raise InputError(path, "expected a file of decisions, found none", "check the path")
    return read_decisions(path)


def _load_bounds(params: Path | None) -> "CheckClipsConfig":
    from mambatalk.config import load_config
    from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS

    return STANDARD_BOUNDS if params is None else load_config(params).check_clips
