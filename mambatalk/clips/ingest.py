"""Corpus to clip store: every file read once, held against the snapshot, and measured.

Clips are read by an executor and written by this process, shard by shard, so that the store's bytes
depend on nothing but the corpus. What is missing or unreadable is a fact in the manifest, not a
crash: the checks judge it. Clips and shards that an earlier run made from the same files are taken
    from its scratch folder and not read again.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from mambatalk.clips.duplicates import twin_columns
from mambatalk.clips.reading import Job, Row, empty_row, not_listed, read_clip
from mambatalk.clips.schema import CLIP
from mambatalk.clips.scratch import ScratchShards, code_digest, open_scratch
from mambatalk.clips.shards import ShardWriter, assign
from mambatalk.clips.speakers import speaker_columns
from mambatalk.clips.store import MANIFEST
from mambatalk.corpus.layout import (
    KINDS,
    MAX_TABLE_BYTES,
    SPLIT_TABLE,
    ClipId,
    Split,
    check_root,
    clip_ids,
    clip_path,
    read_split,
)
from mambatalk.corpus.snapshot import read_snapshot
from mambatalk.errors import InputError
from mambatalk.executors import Lost, open_executor
from mambatalk.files import atomic_file, digest, load_bytes

FLOATS = ("poses", "trans", "expressions", "betas")
FEW_CLIPS = 4
"""So few clips are read faster than processes start."""

Read = tuple[Row, pa.Table | None] | Lost


def ingest(
    root: str | Path,
    snapshot: str | Path,
    out: str | Path,
    *,
    speakers: Sequence[int],
    clips_per_shard: int,
    workers: int = 1,
    scratch: Path | None = None,
) -> None:
    """Write a clip store into the folder `out`.

    Args:
        root: Language folder in BEATX layout.
        snapshot: What `mambatalk snapshot` wrote of it.
        out: An empty folder.
        speakers: Speaker ids to take; none takes all.
        clips_per_shard: Clips to a Parquet file, at most, on average.
        workers: Processes that read clips, where no cluster does; the result does not depend on it.
        scratch: Folder in which shards are kept for the next run; none keeps nothing.

    Raises:
        InputError: `root` is no corpus, a file is not as the snapshot says, or no clip is left.

    """
    root, out = check_root(root).resolve(), Path(out)
    listed = read_snapshot(snapshot)["files"]
    splits = _split_table(root, listed)
    jobs = _jobs(root, splits, listed, speakers)
    shards = assign(jobs, clips_per_shard)
    with open_scratch(scratch) if scratch else nullcontext() as earlier:
        rows = _take_whole(shards, jobs, out, earlier) if earlier else {}
        rows |= _write_rest(
            {
                file: jobs_in
                for file, names in shards.items()
                if (jobs_in := [jobs[name] for name in names if name not in rows])
            },
            out,
            earlier,
            workers,
        )
    table = pd.DataFrame([rows[name] | {"split": splits.get(name)} for name in jobs])
    table["copies"] = table.groupby("content")["clip_id"].transform("size").astype("float64")
    table["splits_of_content"] = (
        table.groupby("content")["split"].transform("nunique").astype("float64")
    )
    table = table.assign(**twin_columns(table), **speaker_columns(table))
    with atomic_file(out / MANIFEST) as temporary:
        table.to_parquet(temporary, index=False)


def _split_table(root: Path, listed: Mapping[str, Any]) -> dict[str, Split]:
    """The split table that the snapshot names: with another one clips would change sides without a
    word.
    """
    path = root / SPLIT_TABLE
    data, _ = load_bytes(path, where=None, limit=MAX_TABLE_BYTES)
    if sha256(data).hexdigest() != listed.get(SPLIT_TABLE, {}).get("sha256"):
        raise not_listed(path, "other bytes than the snapshot's")
    return read_split(data, where=str(path))


def _jobs(
    root: Path, splits: Iterable[str], listed: Mapping[str, Any], speakers: Sequence[int]
) -> dict[str, Job]:
    """Clips to read by id, in order."""
    clips = [
        clip for clip in clip_ids(root, splits, listed) if not speakers or clip.speaker in speakers
    ]
    if not clips:
        raise InputError(
            root,
            "expected at least one,"
            f" found {'no clip' + (f' of speakers {list(speakers)}' if speakers else '')}",
            "check ingest.speakers and the split table",
        )
    return {str(clip): Job(root, clip, _listed_files(listed, clip)) for clip in clips}


def _listed_files(listed: Mapping[str, Any], clip: ClipId) -> dict[str, Any]:
    names = [clip_path("", clip, kind).as_posix() for kind in KINDS]
    return {name: listed[name] for name in names if name in listed}


def _take_whole(
    shards: Mapping[str, Sequence[str]], jobs: Mapping[str, Job], out: Path, earlier: ScratchShards
) -> dict[str, Row]:
    """Put shards of which no clip has changed into `out`: the rows of their clips."""
    rows: dict[str, Row] = {}
    for file, names in shards.items():
        kept = earlier.whole([_key(jobs[name]) for name in names], out / file)
        if kept is not None:
            rows |= {
                name: _placed(one.row, file, one.row_group)
                for name, one in zip(names, kept, strict=True)
            }
    return rows


def _write_rest(
    shards: Mapping[str, Sequence[Job]], out: Path, earlier: ScratchShards | None, workers: int
) -> dict[str, Row]:
    """Write shards from clips that are read now, and from those that an earlier run has read: the
    rows of all.
    """
    kept = {
        job: one
        for jobs in shards.values()
        for job in jobs
        if earlier and (one := earlier.clip(_key(job)))
    }
    todo = [job for jobs in shards.values() for job in jobs if job not in kept]
    rows: dict[str, Row] = {}
    with open_executor(workers if len(todo) > FEW_CLIPS else 1) as executor:
        fresh = executor.map(read_clip, todo)
        for file, jobs in shards.items():
            read = (
                (job, (kept[job].row, kept[job].table(CLIP)) if job in kept else next(fresh))
                for job in jobs
            )
            rows |= _write_shard(out / file, read, earlier)
    return rows


def _write_shard(
    path: Path, clips: Iterable[tuple[Job, Read]], earlier: ScratchShards | None
) -> dict[str, Row]:
    """Write one shard and keep it for later runs: the rows of its clips."""
    rows, keys, places = [], [], []
    with ShardWriter(path, CLIP, floats=FLOATS) as shard:
        for job, read in clips:
            row, clip = (_lost(job, read), None) if isinstance(read, Lost) else read
            rows.append(row)
            keys.append(None if isinstance(read, Lost) else _key(job))
            places.append(None if clip is None else shard.add(clip))
    if earlier:
        earlier.keep(path, keys, places, rows)
    return {
        row["clip_id"]: _placed(row, path.name, place)
        for row, place in zip(rows, places, strict=True)
    }


def _placed(row: Row, file: str, place: int | None) -> Row:
    return row | {"shard": None if place is None else file, "row_group": place}


def _lost(job: Job, lost: Lost) -> Row:
    return empty_row(job) | {
        "fault": f"{job.clip}: found {lost.reason}; expected a clip; look at its files"
    }


def _key(job: Job) -> str | None:
    """Digest of what a clip is made from; none where its files do not look like the snapshot's."""
    for kind in KINDS:
        path, entry = clip_path(job.root, job.clip, kind), job.entry(kind)
        if (entry and entry["size"]) != (path.stat().st_size if path.is_file() else None):
            return None
    return digest(
        [code_digest(), str(job.clip), {path: file["sha256"] for path, file in job.listed.items()}]
    )
