"""Look at the corpus again: what `python -m flows.data_quality` does, without Prefect.

The folder `runs/data_quality/last/` (`MAMBATALK_RUNS` moves it) holds what the last look found:
page, Data Docs, manifest, snapshot and verdict, and in `before/` manifest and verdict of the last
look at other files. That one is "the previous manifest", with which drift is told: it is neither
DVC's, which wipes a stage's outputs before each run, nor MLflow's, where the newest run may be of
another corpus. A look replaces the folder whole or not at all. The clip store it reads is made
beside it and thrown away: a look leaves little on the disk and touches nothing of the pipeline's.
"""

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import pandas

from mambatalk.clips.ingest import ingest
from mambatalk.clips.manifest import MANIFEST
from mambatalk.clips.store import ClipStore
from mambatalk.config import Config
from mambatalk.corpus.snapshot import build_snapshot
from mambatalk.files import atomic_directory, digest, read_json, write_json
from mambatalk.quality.comparison import Comparison, PreviousManifest, compare_manifests
from mambatalk.quality.page import write_quality_page
from mambatalk.quality.report import QualityReport, find_unmatched_files
from mambatalk.quality.rules import Rule, clip_rules
from tasks.expectations.data_docs import write_page
from tasks.expectations.suites import Checked, check
from tasks.runtime.paths import Paths
from tasks.runtime.stage import stage_lock, workers

Status = Literal["clean", "warn", "fail"]
NAME: Final = "data_quality"
BEFORE: Final = "before"


def _run_folder() -> Path:
    return Paths().run_folder(NAME)


def last_folder() -> Path:
    """Where the last look lies."""
    return _run_folder() / "last"


def last_look() -> dict[str, Any] | None:
    """What the last look found, as `look_again` returned it; None before the first."""
    return (
        read_json(last_folder() / "look.json") if (last_folder() / "look.json").is_file() else None
    )


def survey(config: Config) -> dict[str, Any]:
    """Snapshot of the configured corpus as it is now."""
    return build_snapshot(config.ingest.root, workers=workers())


def question(config: Config, found: dict[str, Any]) -> str:
    """Digest of all that a look depends on: files, speakers, rules. A look at the same finds the
    same.
    """
    rules = [dataclasses.asdict(rule) for rule in clip_rules(config.check_clips)]
    return digest(
        {
            "files": found["digest"],
            "speakers": config.ingest.speakers,
            "rules": rules,
            "max_quarantined": config.check_clips.max_quarantined,
        }
    )


def look_again(config: Config, found: dict[str, Any]) -> dict[str, Any]:
    """Ingest and check the corpus that the snapshot `found` describes, and keep what comes of it.

    Returns:
        `status` (fail: a critical rule is broken, the stage check_clips would stop; warn: clips are
        left out, warned of, or have drifted; clean), `question`, `snapshot`, and the numbers of the
        summary.

    Raises:
        InputError: The corpus cannot be read, or somebody else is looking.

    """
    with stage_lock(_run_folder(), NAME), _store(config, found) as store:
        rules = clip_rules(config.check_clips)
        checked = check(
            store.manifest, rules, name="clips", max_quarantined=config.check_clips.max_quarantined
        )
        with atomic_directory(last_folder()) as out:
            comparison = _compare(store.manifest, rules, out, found["digest"])
            shutil.copy(store.folder / MANIFEST, out)
            write_json(out / "snapshot.json", found)
            write_page(
                out / "data_docs" / "index.html",
                checked.result,
                title="Clips",
                lead="One row per clip: what was recorded, and what its files say.",
            )
            write_quality_page(
                out / "index.html",
                QualityReport(
                    corpus=f"{config.ingest.root}, snapshot {found['digest'][:12]}",
                    store=store,
                    rules=rules,
                    findings=checked.findings,
                    verdict=checked.verdict,
                    unmatched_files=find_unmatched_files(found["files"]),
                    data_docs="data_docs/index.html",
                    comparison=comparison,
                ),
            )
            result = {
                "question": question(config, found),
                "snapshot": found["digest"],
                **_numbers(checked, comparison),
            }
            write_json(out / "look.json", result)
    return result


@contextmanager
def _store(config: Config, found: dict[str, Any]) -> Iterator[ClipStore]:
    """A clip store for the length of the block; what a killed look left is thrown away first."""
    folder = _run_folder() / "clips"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        write_json(folder / "snapshot.json", found)
        ingest(
            config.ingest.root,
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
    manifest: pandas.DataFrame, rules: list[Rule], out: Path, files: str
) -> Comparison | None:
    """Compare with the last look at other files, and keep that one beside the new."""
    last = last_look()
    if last is None:
        return None
    # Looking twice at the same files must not lose the look before.
    source = last_folder() if last["snapshot"] != files else last_folder() / BEFORE
    if not source.is_dir():
        return None
    (out / BEFORE).mkdir()
    for name in (MANIFEST, "look.json"):
        shutil.copy(source / name, out / BEFORE)
    before = PreviousManifest(
        manifest=pandas.read_parquet(source / MANIFEST),
        snapshot=read_json(source / "look.json")["snapshot"],
    )
    return compare_manifests(before, manifest, rules)


def _numbers(checked: Checked, comparison: Comparison | None) -> dict[str, Any]:
    moved = (
        []
        if comparison is None
        else [
            {"speaker": one.speaker, "feature": one.feature, "psi": one.psi, "reading": one.level}
            for one in comparison.drifted
        ]
    )
    verdict = checked.verdict
    troubled = bool(verdict["quarantined"] or verdict["warnings"] or moved)
    status: Status = "fail" if verdict["critical"] else "warn" if troubled else "clean"
    return {
        "status": status,
        "clips": len(verdict["accepted"]) + len(verdict["quarantined"]),
        "accepted": len(verdict["accepted"]),
        "quarantined": verdict["quarantined"],
        "critical": verdict["critical"],
        "warnings": verdict["warnings"],
        "moved": moved,
        "changes": None
        if comparison is None
        else {kind: len(clips) for kind, clips in comparison.clip_changes.items()},
    }
