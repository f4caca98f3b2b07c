"""Corpus to clip store: every file read once, held against the snapshot, and measured.

Clips are read by processes and written by one, in order of their ids, so that the store's bytes do not depend on how
many there are. What is missing or unreadable is a fact in the manifest, not a crash: the checks judge it.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mambatalk.data.clips import MANIFEST, clip_row, encode_flac
from mambatalk.data.corpus import (
    KINDS,
    SPLIT_TABLE,
    ClipId,
    Kind,
    check_root,
    clip_ids,
    clip_path,
    language_of,
    read_split,
)
from mambatalk.data.readers import read_motion, read_semantics, read_textgrid, read_wav
from mambatalk.data.schema import CLIP
from mambatalk.data.statistics import motion_statistics, sound_statistics, word_statistics
from mambatalk.errors import UserError
from mambatalk.files import atomic_file, read_json

FLOATS = ("poses", "trans", "expressions", "betas")
FEW_CLIPS = 4
"""So few clips are read faster than processes start."""
MOTION_COLUMNS = ("frames", "fps", "motion_seconds", "not_finite", "max_angle", "max_joint_speed",
                  "max_joint_acceleration", "frozen_seconds", "max_translation_speed", "translation_range",
                  "max_expression", "max_beta")

Result = tuple[dict[str, Any], dict[str, Any] | None]
"""A clip's row of the manifest, and its row of the store where it could be read."""


@dataclass(frozen=True)
class Job:
    """One clip to read."""

    root: Path
    clip: ClipId
    split: str | None
    listed: Mapping[str, Mapping[str, Any]]
    """The snapshot's entries of this clip's files, by path."""


def ingest(root: str | Path, snapshot: str | Path, out: str | Path, *, speakers: Sequence[int], clips_per_shard: int,
           workers: int = 1) -> None:
    """Write a clip store into the folder `out`.

    Args:
        root: Language folder in BEATX layout.
        snapshot: What `mambatalk snapshot` wrote of it.
        out: An empty folder.
        speakers: Speaker ids to take; none takes all.
        clips_per_shard: Clips to a Parquet file.
        workers: Processes that read clips; the result does not depend on it.

    Raises:
        UserError: `root` is no corpus, a file is not as the snapshot says, or no clip is left.

    """
    root, out = check_root(root), Path(out)
    listed = read_json(snapshot)["files"]
    splits = read_split(root / SPLIT_TABLE)
    clips = [clip for clip in clip_ids(root) if not speakers or clip.speaker in speakers]
    if not clips:
        raise UserError(root, found="no clip" + (f" of speakers {list(speakers)}" if speakers else ""),
                        expected="at least one", do="check ingest.speakers and the split table")
    jobs = [Job(root, clip, splits.get(str(clip)), _listed_files(listed, root, clip)) for clip in clips]
    manifest = []
    with _Shards(out, clips_per_shard) as shards:
        for row, data in _read_all(jobs, workers):
            manifest.append({**row, **shards.add(data)})
    table = pd.DataFrame(manifest)
    table["copies"] = table.groupby("content")["clip_id"].transform("size").astype("float64")
    table["splits_of_content"] = table.groupby("content")["split"].transform("nunique").astype("float64")
    with atomic_file(out / MANIFEST) as temporary:
        table.to_parquet(temporary, index=False)


def read_clip(job: Job) -> Result:
    """Read and measure one clip.

    Raises:
        UserError: A file is not the one the snapshot names.

    """
    clip = job.clip
    row: dict[str, Any] = {
        "clip_id": str(clip), "speaker": clip.speaker, "name": clip.name, "recording_type": clip.recording_type,
        "start": clip.start, "end": clip.end, "language": language_of(clip), "split": job.split,
        **dict.fromkeys(MOTION_COLUMNS), "audio_seconds": None, "words": None, "fault": None, "content": None,
    }
    files = {kind: _checked_bytes(job, kind) for kind in KINDS}
    row |= {f"has_{kind}": files[kind] is not None for kind in KINDS}
    row |= {f"{kind}_sha256": _sha256(data) for kind, data in files.items()}
    try:
        data = _parse(clip, files, row)
    except UserError as error:
        row["fault"] = str(error)
        return row, None
    row["content"] = _sha256((files["motion"] or b"") + (files["wave"] or b""))
    row["length_gap"] = row["audio_seconds"] - row["motion_seconds"]
    return row, data


def _parse(clip: ClipId, files: Mapping[Kind, bytes | None], row: dict[str, Any]) -> dict[str, Any]:
    """Parse a clip's files, adding what they say to `row`."""
    motion = read_motion(_needed(clip, files, "motion"), where=str(clip_path("", clip, "motion")))
    row |= motion_statistics(motion)
    wave, facts = read_wav(_needed(clip, files, "wave"), where=str(clip_path("", clip, "wave")))
    row |= sound_statistics(wave, facts)
    tiers = semantics = None
    if files["textgrid"] is not None:
        tiers = read_textgrid(files["textgrid"], where=str(clip_path("", clip, "textgrid")))
        row |= word_statistics(tiers.words, wave)
    if files["semantics"] is not None:
        semantics = read_semantics(files["semantics"], where=str(clip_path("", clip, "semantics")))
    words, phones = (tiers.words, tiers.phones) if tiers else (None, None)
    return clip_row(str(clip), motion, encode_flac(wave, facts), words, phones, semantics)


def _needed(clip: ClipId, files: Mapping[Kind, bytes | None], kind: Kind) -> bytes:
    data = files[kind]
    if data is None:
        raise UserError(clip_path("", clip, kind), found="no such file", expected="motion and sound of every clip",
                        do="fetch the file, or take the clip out of the split table")
    return data


def _listed_files(listed: Mapping[str, Any], root: Path, clip: ClipId) -> dict[str, Any]:
    names = [clip_path(root, clip, kind).relative_to(root).as_posix() for kind in KINDS]
    return {name: listed[name] for name in names if name in listed}


def _checked_bytes(job: Job, kind: Kind) -> bytes | None:
    path = clip_path(job.root, job.clip, kind)
    listed = job.listed.get(path.relative_to(job.root).as_posix())
    if listed is None and not path.exists():
        return None
    found = path.read_bytes() if path.is_file() else None
    if listed is None or _sha256(found) != listed["sha256"]:
        raise UserError(path, found="no such file" if found is None else "other bytes than the snapshot's",
                        expected="the corpus the snapshot describes", do="make a new snapshot: mambatalk snapshot ROOT")
    return found


def _sha256(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def _read_all(jobs: list[Job], workers: int) -> Iterator[Result]:
    if workers <= 1 or len(jobs) <= FEW_CLIPS:
        yield from map(read_clip, jobs)
        return
    # Spawned, since a fork of a process whose libraries have threads can hang.
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        yield from ordered_map(pool, read_clip, jobs, ahead=2 * workers)


def ordered_map(pool: Executor, function: Callable[[Job], Result], items: Iterable[Job], *, ahead: int
                ) -> Iterator[Result]:
    """Results in the order of `items`, at most `ahead` of them in memory."""
    waiting: deque[Any] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class _Shards:
    """Parquet files of so many clips each, opened as they are needed."""

    def __init__(self, folder: Path, clips_per_shard: int) -> None:
        self._folder, self._size, self._count = folder, clips_per_shard, 0
        self._writer: Any = None

    def __enter__(self) -> "_Shards":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, data: dict[str, Any] | None) -> dict[str, Any]:
        """Write a clip and say where it lies; nothing of one that could not be read."""
        if data is None:
            return {"shard": None, "row_group": None}
        shard, row_group = divmod(self._count, self._size)
        name = f"shard-{shard:05d}.parquet"
        if row_group == 0:
            self.__exit__()
            self._writer = pq.ParquetWriter(
                self._folder / name, CLIP, compression="zstd", use_dictionary=False,
                column_encoding={f"{column}.list.element": "BYTE_STREAM_SPLIT" for column in FLOATS})
        self._writer.write_table(pa.Table.from_pylist([data], CLIP))
        self._count += 1
        return {"shard": name, "row_group": row_group}
