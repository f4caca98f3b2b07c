"""Measure the data pipeline for `mambatalk bench data`: checks, ingest, features and windows."""

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas
import psutil
from numpy.typing import NDArray

from mambatalk.bench.measurement import Measurement
from mambatalk.clips.manifest import MANIFEST
from mambatalk.corpus.layout import FOLDERS
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.errors import InputError
from mambatalk.features.store import open_features
from mambatalk.features.windows import gather_batch, gather_waveforms, windows
from mambatalk.fidelity import CORRECTED
from mambatalk.files import read_json, sha256_file

POLLS_PER_SECOND: Final = 20
"""How often the memory of a stage is read."""
GIB: Final = 2**30
BATCH_SIZE: Final = 64
WINDOW_FRAMES: Final = 64
MAX_WINDOWS: Final = 64 * BATCH_SIZE
ROUNDS: Final = 4
"""Repetitions of the window benchmark; the fastest counts."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class StageRun:
    """Ingest and feature extraction of one corpus."""

    hours: float
    """Length of the motion."""
    ingest: float
    """Duration of ingest, seconds."""
    features: float
    """Duration of feature extraction, seconds."""
    processor: float
    """Processor time of both, seconds of one core, including the start of all processes."""
    peak_memory: float
    """Largest resident memory of all processes of a stage, bytes; shared pages count repeatedly."""


def measure_data(corpora: Sequence[Path], folder: Path, *, workers: int) -> Iterator[Measurement]:
    """Measure one corpus, or a small and a large one to compare.

    Args:
        corpora: Roots in BEATX layout. Most quantities are measured on the last one.
        folder: Scratch space, about as large as the corpora.
        workers: Processes of ingest and feature extraction.

    Yields:
        Measurements as soon as they are known.

    Raises:
        InputError: A stage failed; its own message is on standard error.

    """
    runs = []
    for number, root in enumerate(corpora):
        work = folder / f"work-{number}"
        write_snapshot(root, work / "snapshot.json", workers=workers)
        runs.append(_run_stages(root, work, workers))
        yield from _speed(runs[-1])
    small, large = runs[0], runs[-1]
    if len(runs) > 1:
        yield Measurement(
            f"resident memory, {large.hours:.1f} h relative to {small.hours:.1f} h",
            large.peak_memory / small.peak_memory,
            "times",
            target=1.25,
        )
    yield from _check_twice(corpora[-1], work / "rows", large.hours, workers)
    yield _store_size(work / "cold" / "clips", read_json(work / "snapshot.json"))
    yield from _ingest_one_change(corpora[-1], work, large, workers)
    yield from _window_rates(work / "cold" / "features", folder / "cache")


def _run_stages(root: Path, work: Path, workers: int) -> StageRun:
    start = _processor_seconds()
    ingest, ingest_memory = _run_ingest(root, work, "cold", workers)
    features, features_memory = _run_stage("features", out=str(work / "cold"), workers=workers)
    processor = _processor_seconds() - start
    seconds = pandas.read_parquet(work / "cold" / "clips" / MANIFEST)["motion_seconds"].sum()
    return StageRun(
        hours=float(seconds) / 3600,
        ingest=ingest,
        features=features,
        processor=processor,
        peak_memory=max(ingest_memory, features_memory),
    )


def _run_ingest(root: Path, work: Path, name: str, workers: int) -> tuple[float, float]:
    return _run_stage(
        "ingest",
        root=str(root),
        snapshot=str(work / "snapshot.json"),
        out=str(work / name),
        scratch=str(work / "scratch"),
        workers=workers,
    )


def _run_stage(stage: str, **arguments: Any) -> tuple[float, float]:
    """Run a stage in a separate process; return its seconds and its peak memory in bytes."""
    peak = 0.0
    with psutil.Popen(
        [sys.executable, "-m", "mambatalk.bench.stages", stage, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            peak = max(peak, _resident_bytes(process))
            time.sleep(1 / POLLS_PER_SECOND)
        output = process.stdout.read()
    if process.returncode:
        raise InputError(
            f"bench, stage {stage}",
            f"expected exit code 0, found {process.returncode}",
            "see the message above",
        )
    return float(output), peak


def _processor_seconds() -> float:
    """Return the processor time of all child processes that have ended, and of their children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _resident_bytes(process: psutil.Process) -> float:
    total = 0.0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        # A process that ends while it is read counts as much as was read until then.
        pass
    return total


def _speed(run: StageRun) -> Iterator[Measurement]:
    seconds = 3600 * run.hours
    size = f"{run.hours:.1f} h"
    yield Measurement(f"ingest, {size}", seconds / run.ingest, "x real time")
    yield Measurement(f"features, {size}", seconds / run.features, "x real time")
    yield Measurement(
        f"ingest and features, {size}",
        seconds / (run.ingest + run.features),
        "x real time",
        target=500,
        higher_is_better=True,
    )
    yield Measurement(f"processor time, {size}", run.processor, "s of one core")
    yield Measurement(
        f"resident memory of all processes, {size}", run.peak_memory / GIB, "GiB", target=2
    )


def _check_twice(root: Path, cache: Path, hours: float, workers: int) -> Iterator[Measurement]:
    """Check a corpus, and check it again unchanged."""
    before = _processor_seconds()
    first, peak = _run_stage("check", root=str(root), cache=str(cache), workers=workers)
    processor = _processor_seconds() - before
    second, _ = _run_stage("check", root=str(root), cache=str(cache), workers=workers)
    size = f"{hours:.1f} h"
    yield Measurement(
        f"check, {size}", 3600 * hours / first, "x real time", target=1500, higher_is_better=True
    )
    yield Measurement(f"processor time of the check, {size}", processor, "s of one core")
    yield Measurement(f"resident memory of the check, {size}", peak / GIB, "GiB", target=2)
    yield Measurement(f"check of an unchanged corpus, {size}", second, "s", target=10)


def _store_size(store: Path, snapshot: dict[str, Any]) -> Measurement:
    folders = {folder for folder, _ in FOLDERS.values()}
    corpus_bytes = sum(
        file["size"] for path, file in snapshot["files"].items() if path.split("/")[0] in folders
    )
    store_bytes = sum(path.stat().st_size for path in store.iterdir())
    return Measurement(
        "size of the clip store", store_bytes / corpus_bytes, "of the corpus", target=0.6
    )


def _ingest_one_change(
    root: Path, work: Path, cold: StageRun, workers: int
) -> Iterator[Measurement]:
    """Change one clip in a copy of the corpus and ingest it again."""
    changed = work / "changed"
    shutil.copytree(root, changed, copy_function=_link)
    _change_first_clip(changed)
    before = _shard_digests(work / "cold" / "clips")
    (work / "snapshot.json").unlink()
    write_snapshot(changed, work / "snapshot.json", workers=workers)
    seconds, _ = _run_ingest(changed, work, "again", workers)
    after = _shard_digests(work / "again" / "clips")
    rewritten = sum(before.get(name) != digest for name, digest in after.items())
    yield Measurement("ingest after one clip changed", seconds, "s")
    yield Measurement(
        "ingest after one clip changed, relative to the first", seconds / cold.ingest, "", 0.1
    )
    yield Measurement("shards rewritten", rewritten, f"of {len(after)}", target=1)


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(Path(source).resolve())


def _change_first_clip(root: Path) -> None:
    """Move the body of the first clip by 10 cm along every axis."""
    path = min((root / FOLDERS["motion"][0]).iterdir())
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["trans"] = arrays["trans"] + 0.1
    # Remove the link first, or the file of the original corpus would be overwritten.
    path.unlink()
    np.savez(path, allow_pickle=False, **arrays)


def _shard_digests(store: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in store.glob("shard-*.parquet")}


def _window_rates(features: Path, cache: Path) -> Iterator[Measurement]:
    """Measure how fast batches of 64 windows of 64 frames are read in random order.

    Decoding into the cache is not measured.
    """
    store = open_features(features, cache)
    rows = windows(store, "train", length=WINDOW_FRAMES, stride=20, audio=True, rules=CORRECTED)
    np.random.default_rng(0).shuffle(rows)
    rows = rows[:MAX_WINDOWS]

    def read_motion(batch: Rows) -> None:
        gather_batch(store, batch, WINDOW_FRAMES, audio=False)

    def read_waveforms(batch: Rows) -> None:
        read_motion(batch)
        gather_waveforms(store, batch, WINDOW_FRAMES)

    def read_channels(batch: Rows) -> None:
        gather_batch(store, batch, WINDOW_FRAMES, audio=True)

    for name, read, target in (
        ("motion and words", read_motion, 40_000),
        ("motion, words and waveforms", read_waveforms, 40_000),
        ("motion, words and audio channels, on the CPU", read_channels, None),
    ):
        rate = _windows_per_second(read, rows)
        yield Measurement(f"windows: {name}", rate, "per second", target, higher_is_better=True)


def _windows_per_second(read: Callable[[Rows], None], rows: Rows) -> float:
    best = 0.0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for first in range(0, len(rows), BATCH_SIZE):
            read(rows[first : first + BATCH_SIZE])
        best = max(best, len(rows) / (time.perf_counter() - start))
    return best
