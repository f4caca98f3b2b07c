"""Ingest: corpus to clip store.

An executor reads the clips and this process writes them, shard by shard, so the bytes of the store
depend only on the corpus. A missing or unreadable file does not stop the run; it is recorded in the
manifest, and the data checks decide. Clips and shards that an earlier run made from the same files
come from a cache (`shard_cache.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from mambatalk.clips.manifest import MANIFEST, build_manifest
from mambatalk.clips.reading import ClipJob, Row, empty_row, read_clip, snapshot_mismatch
from mambatalk.clips.schema import CLIP, CLIP_FLOATS
from mambatalk.clips.shard_cache import ShardCache, code_digest, open_shard_cache
from mambatalk.clips.shards import ShardWriter, assign_shards
from mambatalk.console import Progress
from mambatalk.corpus.layout import (
    KINDS,
    MAX_TABLE_BYTES,
    SPLIT_TABLE,
    ClipId,
    Split,
    check_root,
    clip_path,
    list_clips,
    read_split_table,
)
from mambatalk.corpus.snapshot import read_snapshot
from mambatalk.errors import InputError
from mambatalk.executors import FailedItem, open_executor
from mambatalk.files import atomic_file, digest, load_bytes

MIN_PARALLEL_CLIPS = 5
"""Fewer clips are read faster in this process than new processes start."""

ReadResult = tuple[Row, pa.Table | None] | FailedItem


def ingest(
    root: str | Path,
    snapshot: str | Path,
    out: str | Path,
    *,
    speakers: Sequence[int],
    clips_per_shard: int,
    workers: int = 1,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a clip store into the folder `out`.

    Args:
        root: Language folder in BEATX layout.
        snapshot: File that `mambatalk snapshot` wrote for this corpus.
        out: An empty folder.
        speakers: Speaker ids to include. Empty selects all speakers.
        clips_per_shard: Largest average number of clips per Parquet file.
        workers: Number of processes that read clips, unless a Dask cluster is configured. The
            result does not depend on it.
        cache: Folder that keeps shards for the next run. If None, nothing is kept.
        progress: Called after each clip.

    Raises:
        InputError: `root` is not a corpus, a file differs from the snapshot, or no clip is
            selected.

    """
    root = check_root(root).resolve()
    out = Path(out)
    listed = read_snapshot(snapshot)["files"]
    splits = _verified_splits(root, listed)
    jobs = _list_jobs(root, splits, listed, speakers)
    shards = assign_shards(jobs, clips_per_shard)
    report = _CountedProgress(progress, len(jobs))

    with open_shard_cache(cache) if cache else nullcontext() as earlier:
        keys: dict[ClipJob, str | None] = {}
        rows: dict[str, Row] = {}
        if earlier:
            keys = {job: _cache_key(job) for job in jobs.values()}
            rows = _reuse_shards(shards, jobs, keys, out, earlier)
            report.advance(len(rows))
        to_write = {
            file: [jobs[name] for name in names]
            for file, names in shards.items()
            if names[0] not in rows
        }
        rows |= _write_shards(to_write, keys, out, earlier, workers, report)

    table = build_manifest([rows[name] for name in jobs], splits)
    with atomic_file(out / MANIFEST) as temporary:
        table.to_parquet(temporary, index=False)


class _CountedProgress:
    """Adds up finished clips for a progress callback."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def advance(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _verified_splits(root: Path, listed: Mapping[str, Any]) -> dict[str, Split]:
    """Read the split table if it is the one in the snapshot.

    With another table, test clips could become training clips unnoticed.
    """
    path = root / SPLIT_TABLE
    data, _ = load_bytes(path, where=None, limit=MAX_TABLE_BYTES)
    if sha256(data).hexdigest() != listed.get(SPLIT_TABLE, {}).get("sha256"):
        raise snapshot_mismatch(path, "different content")
    return read_split_table(data, where=str(path))


def select_clips(
    root: Path, splits: Iterable[str], listed: Iterable[str], speakers: Sequence[int]
) -> list[ClipId]:
    """Return the clips of some speakers in sorted order.

    Args:
        root: Language folder.
        splits: Clip ids of the split table.
        listed: Paths of a snapshot.
        speakers: Speaker ids. Empty selects all speakers.

    Raises:
        InputError: No clip is selected.

    """
    clips = [
        clip
        for clip in list_clips(root, splits, listed)
        if not speakers or clip.speaker in speakers
    ]
    if not clips:
        selection = f" of speakers {list(speakers)}" if speakers else ""
        raise InputError(
            root,
            f"expected at least one clip{selection}, found none",
            "check ingest.speakers and the split table",
        )
    return clips


def _list_jobs(
    root: Path, splits: Iterable[str], listed: Mapping[str, Any], speakers: Sequence[int]
) -> dict[str, ClipJob]:
    """Return the clips to read by id, in sorted order."""
    clips = select_clips(root, splits, listed, speakers)
    return {str(clip): ClipJob(root, clip, _listed_files(listed, clip)) for clip in clips}


def _listed_files(listed: Mapping[str, Any], clip: ClipId) -> dict[str, Any]:
    names = [clip_path("", clip, kind).as_posix() for kind in KINDS]
    return {name: listed[name] for name in names if name in listed}


def _reuse_shards(
    shards: Mapping[str, Sequence[str]],
    jobs: Mapping[str, ClipJob],
    keys: Mapping[ClipJob, str | None],
    out: Path,
    earlier: ShardCache,
) -> dict[str, Row]:
    """Copy the shards in which no clip has changed to `out`; return the rows of their clips."""
    rows: dict[str, Row] = {}
    for file, names in shards.items():
        shard_keys = [keys[jobs[name]] for name in names]
        cached = earlier.restore_shard(shard_keys, out / file)
        if cached is not None:
            for name, clip in zip(names, cached, strict=True):
                rows[name] = _with_place(clip.row, file, clip.row_group)
    return rows


def _write_shards(
    shards: Mapping[str, Sequence[ClipJob]],
    keys: Mapping[ClipJob, str | None],
    out: Path,
    earlier: ShardCache | None,
    workers: int,
    report: _CountedProgress,
) -> dict[str, Row]:
    """Write shards from cached clips and from clips that are read now; return all rows."""
    jobs = [job for members in shards.values() for job in members]
    cached = {}
    if earlier:
        found = {job: earlier.find_clip(keys[job]) for job in jobs}
        cached = {job: clip for job, clip in found.items() if clip is not None}
    to_read = [job for job in jobs if job not in cached]

    rows: dict[str, Row] = {}
    with open_executor(workers if len(to_read) >= MIN_PARALLEL_CLIPS else 1) as executor:
        # Results arrive in the order of `to_read`, which is the order in which they are written.
        results = executor.map(read_clip, to_read)
        for file, members in shards.items():
            clips: Iterable[tuple[ClipJob, ReadResult]] = (
                (job, (cached[job].row, cached[job].table(CLIP)))
                if job in cached
                else (job, next(results))
                for job in members
            )
            rows |= _write_shard(out / file, clips, keys, earlier, report)
    return rows


def _write_shard(
    path: Path,
    clips: Iterable[tuple[ClipJob, ReadResult]],
    keys: Mapping[ClipJob, str | None],
    earlier: ShardCache | None,
    report: _CountedProgress,
) -> dict[str, Row]:
    """Write one shard, add it to the cache and return the rows of its clips."""
    rows: list[Row] = []
    shard_keys: list[str | None] = []
    row_groups: list[int | None] = []
    with ShardWriter(path, CLIP, floats=CLIP_FLOATS) as shard:
        for job, result in clips:
            if isinstance(result, FailedItem):
                row, table = row_of_failure(job, result), None
                shard_keys.append(None)
            else:
                row, table = result
                shard_keys.append(keys.get(job))
            rows.append(row)
            row_groups.append(None if table is None else shard.add(table))
            report.advance(1)
    if earlier:
        earlier.add_shard(path, shard_keys, row_groups, rows)
    return {
        row["clip_id"]: _with_place(row, path.name, row_group)
        for row, row_group in zip(rows, row_groups, strict=True)
    }


def _with_place(row: Row, file: str, row_group: int | None) -> Row:
    return row | {"shard": None if row_group is None else file, "row_group": row_group}


def row_of_failure(job: ClipJob, failure: FailedItem) -> Row:
    """Return the row of a clip whose worker died."""
    return empty_row(job) | {
        "fault": f"{job.clip}: expected a readable clip, found that {failure.reason};"
        " check the files of the clip"
    }


def _cache_key(job: ClipJob) -> str | None:
    """Return the digest of a clip's files and of the code that reads them.

    None if a file's size differs from the snapshot, so that the clip is read and the error raised.
    """
    for kind in KINDS:
        path = clip_path(job.root, job.clip, kind)
        entry = job.entry(kind)
        listed_size = entry["size"] if entry else None
        actual_size = path.stat().st_size if path.is_file() else None
        if listed_size != actual_size:
            return None
    hashes = {path: file["sha256"] for path, file in job.listed.items()}
    return digest([code_digest(), str(job.clip), hashes])
