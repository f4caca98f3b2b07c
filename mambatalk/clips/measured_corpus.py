"""A corpus measured as it is on disk, for checks that need no clip store.

Each file is read once: it is not hashed for a snapshot first, and no row of a store is written. The
rows of earlier checks come from a cache (`row_cache.py`).
"""

import time
from collections.abc import Sequence
from pathlib import Path

from mambatalk.clips.ingest import MIN_PARALLEL_CLIPS, row_of_failure, select_clips
from mambatalk.clips.manifest import build_manifest
from mambatalk.clips.reading import Row, list_clip_files, measure_clip, read_clip
from mambatalk.clips.row import Clip, clip_from_row
from mambatalk.clips.row_cache import RowCache, file_stamps
from mambatalk.console import Progress
from mambatalk.corpus.layout import SPLIT_TABLE, check_root, parse_clip_id, read_split_table
from mambatalk.errors import InputError
from mambatalk.executors import FailedItem, open_executor


class MeasuredCorpus:
    """The clips of a corpus, read from its own files, and their manifest.

    Args:
        root: Language folder in BEATX layout.
        speakers: Speaker ids to include. Empty selects all speakers.
        workers: Number of processes that read clips, unless a Dask cluster is configured. The
            result does not depend on it.
        cache: Folder that keeps the rows for the next check. If None, nothing is kept.
        progress: Called after each clip.

    Raises:
        InputError: `root` is not a corpus, a file cannot be opened, or no clip is selected.

    """

    def __init__(
        self,
        root: str | Path,
        *,
        speakers: Sequence[int] = (),
        workers: int = 1,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._root = check_root(root).resolve()
        splits = read_split_table(self._root / SPLIT_TABLE)
        clips = select_clips(self._root, splits, (), speakers)
        start = time.time_ns()
        stamps = {str(clip): file_stamps(self._root, clip) for clip in clips}
        rows = RowCache(cache, self._root, speakers) if cache else None
        kept = rows.find_manifest(stamps, splits) if rows else None
        if kept is not None:
            self.manifest = kept
            return
        known: dict[str, Row] = rows.find(stamps) if rows else {}
        to_read = [clip for clip in clips if str(clip) not in known]

        done = len(known)
        try:
            with open_executor(workers if len(to_read) >= MIN_PARALLEL_CLIPS else 1) as executor:
                results = executor.map(measure_clip, [(self._root, clip) for clip in to_read])
                for clip, result in zip(to_read, results, strict=True):
                    if isinstance(result, FailedItem):
                        # Not kept, so that the next check tries again.
                        row = row_of_failure(list_clip_files(self._root, clip), result)
                        stamps.pop(str(clip))
                    else:
                        row = result
                    known[str(clip)] = row
                    done += 1
                    if progress is not None:
                        progress(done, len(clips))
        finally:
            # What was measured is kept even if the check is interrupted.
            if rows and to_read:
                rows.save(known, stamps, start)
        self.manifest = build_manifest([known[str(clip)] for clip in clips], splits)
        """One row per clip, sorted by clip id, without the places of a clip store."""
        if rows:
            rows.save_manifest(self.manifest, stamps, splits, start)

    def read(self, clip_id: str) -> Clip:
        """Read one clip.

        Raises:
            InputError: The clip cannot be read.

        """
        row, table = read_clip(list_clip_files(self._root, parse_clip_id(clip_id)))
        if table is None:
            raise InputError(clip_id, "expected a readable clip", str(row["fault"]))
        return clip_from_row(table)
