"""`mambatalk bench data`: what the way from files to windows takes, against the project's bars."""

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas
import psutil

from mambatalk.bench.figure import Figure
from mambatalk.bench.windows import measure_windows
from mambatalk.clips.manifest import MANIFEST
from mambatalk.corpus.layout import FOLDERS
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.errors import InputError
from mambatalk.files import read_json, sha256_file

LOOKS_A_SECOND: Final = 20
GIB: Final = 2**30


@dataclass(frozen=True)
class Run:
    """One corpus through ingest and features."""

    hours: float
    """Of motion."""
    ingest: float
    """Seconds."""
    features: float
    """Seconds."""
    processor: float
    """Seconds of all cores together, the start of every process included."""
    peak: float
    """Largest resident memory of all processes of a stage together, bytes; pages that they share
    count for each.
    """


def measure(corpora: list[Path], folder: Path, *, workers: int) -> Iterator[Figure]:
    """Figures of one corpus, or of a small and a large one, in the order in which they are known.

    Args:
        corpora: Roots in BEATX layout; the last is the one that most is measured on.
        folder: Scratch space, of about the size of the corpora.
        workers: Processes of ingest and features.

    """
    runs = []
    for number, root in enumerate(corpora):
        work = folder / f"work-{number}"
        write_snapshot(root, work / "snapshot.json", workers=workers)
        runs.append(_run(root, work, workers))
        yield from _speed(runs[-1])
    if len(runs) > 1:
        yield Figure(
            f"resident, {runs[-1].hours:.1f} h against {runs[0].hours:.1f} h",
            runs[-1].peak / runs[0].peak,
            "times",
            bar=1.25,
        )
    yield _share(corpora[-1], work / "cold" / "clips", read_json(work / "snapshot.json"))
    yield from _one_change(corpora[-1], work, runs[-1], workers)
    yield from measure_windows(work / "cold" / "features", folder / "cache")


def _run(root: Path, work: Path, workers: int) -> Run:
    before = _processor_seconds()
    ingest, first = _ingest(root, work, "cold", workers)
    features, second = _watch("features", out=str(work / "cold"), workers=workers)
    processor = _processor_seconds() - before
    seconds = pandas.read_parquet(work / "cold" / "clips" / MANIFEST)["motion_seconds"].sum()
    return Run(float(seconds) / 3600, ingest, features, processor, max(first, second))


def _ingest(root: Path, work: Path, name: str, workers: int) -> tuple[float, float]:
    return _watch(
        "ingest",
        root=str(root),
        snapshot=str(work / "snapshot.json"),
        out=str(work / name),
        scratch=str(work / "scratch"),
        workers=workers,
    )


def _watch(stage: str, **arguments: Any) -> tuple[float, float]:
    """Run a stage in a process of its own: the seconds it took, and the most memory (bytes) it
    held.
    """
    peak = 0.0
    with psutil.Popen(
        [sys.executable, "-m", "mambatalk.bench.stages", stage, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            peak = max(peak, _resident(process))
            time.sleep(1 / LOOKS_A_SECOND)
        told = process.stdout.read()
    if process.returncode:
        raise InputError(
            f"bench, stage {stage}",
            f"expected 0, found exit code {process.returncode}",
            "see the message above",
        )
    return float(told), peak


def _processor_seconds() -> float:
    """Of all processes that this one has started and that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident(process: psutil.Process) -> float:
    total = 0.0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def _speed(run: Run) -> Iterator[Figure]:
    seconds = 3600 * run.hours
    size = f"{run.hours:.1f} h"
    yield Figure(f"ingest, {size}", seconds / run.ingest, "x real time")
    yield Figure(f"features, {size}", seconds / run.features, "x real time")
    yield Figure(
        f"ingest and features, {size}",
        seconds / (run.ingest + run.features),
        "x real time",
        500,
        True,
    )
    yield Figure(f"  processor time, {size}", run.processor, "s of one core")
    yield Figure(f"resident, all processes, {size}", run.peak / GIB, "GiB", 2)


def _share(root: Path, store: Path, snapshot: dict[str, Any]) -> Figure:
    folders = {folder for folder, _ in FOLDERS.values()}
    raw = sum(
        file["size"] for path, file in snapshot["files"].items() if path.split("/")[0] in folders
    )
    return Figure(
        "clip store",
        sum(path.stat().st_size for path in store.iterdir()) / raw,
        "of the raw bytes",
        0.6,
    )


def _one_change(root: Path, work: Path, cold: Run, workers: int) -> Iterator[Figure]:
    """Change the motion of one clip in a copy made of links, and ingest that."""
    changed = work / "changed"
    shutil.copytree(root, changed, copy_function=_link)
    _move_one(changed)
    before = _digests(work / "cold" / "clips")
    (work / "snapshot.json").unlink()
    write_snapshot(changed, work / "snapshot.json", workers=workers)
    again, _ = _ingest(changed, work, "again", workers)
    after = _digests(work / "again" / "clips")
    yield Figure("ingest again after one clip changed", again, "s")
    yield Figure("  of the first ingest", again / cold.ingest, "", 0.1)
    yield Figure(
        "  shards written anew",
        sum(before.get(name) != digest for name, digest in after.items()),
        f"of {len(after)}",
        1,
    )


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(Path(source).resolve())


def _move_one(root: Path) -> None:
    """Shift the first clip by a hand's breadth."""
    path = min((root / FOLDERS["motion"][0]).iterdir())
    with np.load(path, allow_pickle=False) as arrays:
        moved = {
            name: arrays[name] + (0.1 if name == "trans" else 0)
            if arrays[name].dtype.kind == "f"
            else arrays[name]
            for name in arrays.files
        }
    path.unlink()
    np.savez(path, allow_pickle=False, **moved)


def _digests(store: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in store.glob("shard-*.parquet")}
