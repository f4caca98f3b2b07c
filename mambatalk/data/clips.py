"""The clip store: a corpus in a few Parquet files, one row and one row group per clip, and a manifest of facts."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from numpy.typing import NDArray

from mambatalk.data.readers import Interval, Semantic
from mambatalk.errors import UserError
from mambatalk.motion.skeleton import EXPRESSION_DIM, FPS, JOINT_COUNT, SAMPLE_RATE

MANIFEST = "manifest.parquet"


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip as recorded; motion at 30 frames a second, sound at 16 kHz."""

    clip_id: str
    poses: NDArray[np.float32]
    """Axis-angle (n, 165), radians."""
    trans: NDArray[np.float64]
    """(n, 3), metres."""
    expressions: NDArray[np.float32]
    """(n, 100)."""
    betas: NDArray[np.float32]
    """(300,)."""
    audio: bytes
    """FLAC."""
    words: list[Interval] | None
    """None where the corpus has no TextGrid."""
    phones: list[Interval] | None
    semantics: list[Semantic] | None

    @property
    def wave(self) -> NDArray[np.float32]:
        """Sound (S,)."""
        return soundfile.read(io.BytesIO(self.audio), dtype="float32")[0]

    def cut(self, first: int, last: int, *, suffix: str = "") -> "Clip":
        """The frames from `first` up to `last` with their sound and words, under the id with a suffix."""
        start, end = (frame * SAMPLE_RATE // FPS for frame in (first, last))
        file = io.BytesIO()
        soundfile.write(file, self.wave[start:end], SAMPLE_RATE, format="FLAC", subtype="PCM_24")
        return replace(
            self, clip_id=self.clip_id + suffix, poses=self.poses[first:last], trans=self.trans[first:last],
            expressions=self.expressions[first:last], audio=file.getvalue(), words=_shift(self.words, first / FPS),
            phones=_shift(self.phones, first / FPS), semantics=None)


class ClipStore:
    """A folder that `ingest` wrote."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / MANIFEST).is_file():
            raise UserError(self.folder, found=f"no {MANIFEST}", expected="a clip store", do="run the stage ingest")
        self.manifest = pd.read_parquet(self.folder / MANIFEST)
        """One row per clip, sorted by id."""
        self._places = self.manifest.set_index("clip_id")[["shard", "row_group"]]
        self._shards: dict[Path, pq.ParquetFile] = {}

    def read(self, clip_id: str) -> Clip:
        """Read one clip.

        Raises:
            UserError: The store has no data of it.

        """
        return _clip(self.columns(clip_id))

    def clips(self, clip_ids: list[str]) -> Iterator[Clip]:
        """Clips one by one, in the order given."""
        return (self.read(clip_id) for clip_id in clip_ids)

    def columns(self, clip_id: str, names: list[str] | None = None) -> pa.Table:
        """Columns of one clip (schema.CLIP), all by default; nothing else is read.

        Raises:
            UserError: The store has no data of it.

        """
        shard, row_group = self.place(clip_id)
        if shard not in self._shards:
            self._shards[shard] = pq.ParquetFile(shard)
        return self._shards[shard].read_row_group(row_group, columns=names)

    def place(self, clip_id: str) -> tuple[Path, int]:
        """File and row group of a clip.

        Raises:
            UserError: The store has no data of it.

        """
        shard, row_group = self._places.loc[clip_id] if clip_id in self._places.index else (None, None)
        if shard is None or row_group is None:
            raise UserError(self.folder, found=f"no data of clip {clip_id}", expected="a clip that was read",
                            do="look at its fault in the manifest")
        return self.folder / shard, int(row_group)


def load_clip(shard: Path, row_group: int) -> Clip:
    """Read the clip at a place that `ClipStore.place` gave."""
    return _clip(pq.ParquetFile(shard).read_row_group(row_group))


def _shift(items: list[Interval] | None, seconds: float) -> list[Interval] | None:
    return None if items is None else [
        Interval(item.start - seconds, item.end - seconds, item.text) for item in items if item.end > seconds]


def _clip(table: pa.Table) -> Clip:
    row = {name: table[name][0] for name in table.column_names}

    def frames(name: str, channels: int) -> NDArray[Any]:
        return np.array(row[name].values.to_numpy().reshape(channels, -1).T, order="C")

    def items(name: str, kind: type) -> list[Any] | None:
        return None if row[name].as_py() is None else [kind(**item) for item in row[name].as_py()]

    return Clip(
        clip_id=row["clip_id"].as_py(), poses=frames("poses", 3 * JOINT_COUNT), trans=frames("trans", 3),
        expressions=frames("expressions", EXPRESSION_DIM), betas=row["betas"].values.to_numpy(),
        audio=row["audio"].as_py(),
        words=items("words", Interval), phones=items("phones", Interval), semantics=items("semantics", Semantic))
