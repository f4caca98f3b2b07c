"""Refresh the data-quality report of the configured corpus, with drift against the previous one.

`python -m flows.data_quality` runs the two steps of this tool. `snapshot` writes the snapshot of
the corpus and the fingerprint of a report on it to `runs/data_quality/current.json`. `report`,
needed if the last report has another fingerprint, makes a new one.

The folder `runs/data_quality/last/` (`MAMBATALK_RUNS` moves it off `runs/`) holds the last report:
page, Data Docs, manifest, snapshot and summary, and in `previous/` the manifest and summary of the
last report on other files, for computing drift. DVC's manifest cannot serve as the previous one,
because DVC deletes a stage's outputs before each run, nor can MLflow's, whose newest run may be of
another corpus. A report replaces the folder as a whole. The clip store it reads is temporary;
nothing of the pipeline changes.
"""

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pandas
import typer

from mambatalk.clips.ingest import ingest
from mambatalk.clips.manifest import MANIFEST
from mambatalk.clips.store import ClipStore
from mambatalk.config import Config, load_config
from mambatalk.corpus.snapshot import build_snapshot, read_snapshot
from mambatalk.files import atomic_directory, digest, read_json, write_json
from mambatalk.quality.comparison import Comparison, PreviousManifest, compare_manifests
from mambatalk.quality.decisions import read_decisions
from mambatalk.quality.pages.page import write_quality_page
from mambatalk.quality.pages.report import QualityReport, find_unmatched_files
from mambatalk.quality.rules.catalogue import clip_rules
from mambatalk.quality.rules.rule import Rule
from mambatalk.rendering.moments import draw_moments
from tasks.expectations.data_docs import write_page
from tasks.expectations.suites import Checked, check
from tasks.runtime.command import run_command
from tasks.runtime.paths import Paths
from tasks.runtime.stage import stage_lock, workers

Status = Literal["clean", "warn", "fail"]
NAME: Final = "data_quality"
SUMMARY: Final = "summary.json"
CURRENT: Final = "current.json"
PREVIOUS: Final = "previous"


def report_folder(paths: Paths) -> Path:
    """Return the folder of the last report."""
    return paths.run_folder(NAME) / "last"


def read_last_summary(paths: Paths) -> dict[str, Any] | None:
    """Return the summary of the last report, as `refresh_report` returned it; None if none."""
    path = report_folder(paths) / SUMMARY
    return read_json(path) if path.is_file() else None


def take_snapshot(config: Config, paths: Paths) -> None:
    """Write the snapshot of the corpus as it is now, and the fingerprint of a report on it.

    Raises:
        InputError: The configured folder is not a corpus.

    """
    found = build_snapshot(paths.resolve(config.ingest.root), workers=workers())
    current = {"fingerprint": fingerprint(config, found, paths), "snapshot": found}
    write_json(paths.run_folder(NAME) / CURRENT, current)


def fingerprint(config: Config, found: dict[str, Any], paths: Paths) -> str:
    """Return a digest of all that a report depends on: files and origin, rules and decisions."""
    rules = [dataclasses.asdict(rule) for rule in clip_rules(config.check_clips)]
    decisions = [dataclasses.astuple(one) for one in read_decisions(paths.decisions)]
    return digest(
        {
            "files": found["digest"],
            "origin": _stated_origin(config, paths),
            "speakers": config.ingest.speakers,
            "rules": rules,
            "decisions": decisions,
            "max_quarantined": config.check_clips.max_quarantined,
        }
    )


def refresh_report(config: Config, paths: Paths) -> dict[str, Any]:
    """Ingest and check the corpus of the current snapshot, and replace the last report.

    Args:
        config: The configuration.
        paths: Paths of the checkout, in which `take_snapshot` has written the snapshot.

    Returns:
        The summary. `status` is "fail" if a critical rule is broken, for which the stage
        check_clips would stop; "warn" if clips are quarantined, have warnings, or have drifted;
        else "clean". The other keys are `fingerprint`, `snapshot`, and counts.

    Raises:
        InputError: The corpus cannot be read, or another process refreshes the report.

    """
    section = config.check_clips
    folder = paths.run_folder(NAME)
    found = read_json(folder / CURRENT)["snapshot"]
    with stage_lock(folder, NAME), _clip_store(config, found, paths) as store:
        rules = clip_rules(section)
        checked = check(
            store.manifest,
            rules,
            name="clips",
            max_quarantined=section.max_quarantined,
            decisions=read_decisions(paths.decisions),
        )
        with atomic_directory(report_folder(paths)) as out:
            comparison = _compare(store.manifest, rules, out, found["digest"], paths)
            shutil.copy(store.folder / MANIFEST, out)
            write_json(out / "snapshot.json", found)
            write_page(
                out / "data_docs" / "index.html",
                checked.result,
                title="Clips",
                lead="One row per clip, with measurements of its motion, audio and words.",
            )
            report = QualityReport(
                corpus=f"{config.ingest.root}, snapshot {found['digest'][:12]}",
                store=store,
                rules=rules,
                findings=checked.findings,
                verdict=checked.verdict,
                unmatched_files=find_unmatched_files(found["files"]),
                data_docs="data_docs/index.html",
                comparison=comparison,
                snapshot=found | _stated_origin(config, paths),
                draw_stills=draw_moments,
            )
            write_quality_page(out / "index.html", report, workers=workers())
            summary = {
                "fingerprint": fingerprint(config, found, paths),
                "snapshot": found["digest"],
                **_summary(checked, comparison),
            }
            write_json(out / SUMMARY, summary)
    return summary


def _stated_origin(config: Config, paths: Paths) -> dict[str, Any]:
    """Return what the snapshot in git states about the corpus; empty if there is none."""
    path = paths.resolve(config.ingest.snapshot)
    origin = read_snapshot(path).get("origin") if path.is_file() else None
    return {"origin": origin} if origin else {}


@contextmanager
def _clip_store(config: Config, found: dict[str, Any], paths: Paths) -> Iterator[ClipStore]:
    """Ingest the corpus into a clip store that exists for the length of the block."""
    folder = paths.run_folder(NAME) / "clips"
    # A process that was killed leaves its store.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        write_json(folder / "snapshot.json", found)
        ingest(
            paths.resolve(config.ingest.root),
            folder / "snapshot.json",
            folder,
            speakers=config.ingest.speakers,
            clips_per_shard=config.ingest.clips_per_shard,
            workers=workers(),
        )
        yield ClipStore(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compare(
    manifest: pandas.DataFrame, rules: list[Rule], out: Path, files: str, paths: Paths
) -> Comparison | None:
    """Compare with the last report on other files, whose manifest and summary are kept in `out`."""
    last = read_last_summary(paths)
    if last is None:
        return None
    # A second report on the same files is compared with the same previous one.
    source = report_folder(paths)
    if last["snapshot"] == files:
        source = source / PREVIOUS
    if not source.is_dir():
        return None
    (out / PREVIOUS).mkdir()
    for name in (MANIFEST, SUMMARY):
        shutil.copy(source / name, out / PREVIOUS)
    previous = PreviousManifest(
        manifest=pandas.read_parquet(source / MANIFEST),
        snapshot=read_json(source / SUMMARY)["snapshot"],
    )
    return compare_manifests(previous, manifest, rules)


def _summary(checked: Checked, comparison: Comparison | None) -> dict[str, Any]:
    verdict = checked.verdict
    drifted = []
    clip_changes = None
    if comparison is not None:
        drifted = [
            {
                "speaker": shift.speaker,
                "feature": shift.feature,
                "psi": shift.psi,
                "level": shift.level,
            }
            for shift in comparison.drifted
        ]
        clip_changes = {kind: len(clips) for kind, clips in comparison.clip_changes.items()}

    status: Status = "clean"
    if verdict["critical"]:
        status = "fail"
    elif verdict["quarantined"] or verdict["warnings"] or drifted:
        status = "warn"
    return {
        "status": status,
        "clips": len(verdict["accepted"]) + len(verdict["quarantined"]),
        "accepted": len(verdict["accepted"]),
        "quarantined": verdict["quarantined"],
        "critical": verdict["critical"],
        "warnings": verdict["warnings"],
        "drifted": drifted,
        "clip_changes": clip_changes,
    }


def command(
    step: Annotated[
        Literal["snapshot", "report"],
        typer.Argument(help="snapshot: describe the corpus. report: check it."),
    ],
) -> None:
    """Run one step in the current directory, the root of a checkout."""
    paths = Paths()
    config = load_config(paths.params)
    if step == "snapshot":
        take_snapshot(config, paths)
    else:
        refresh_report(config, paths)


if __name__ == "__main__":
    run_command(command, "tasks.tools.data_quality", __doc__)
