"""A clip, and the row of Arrow that the clip store holds of it, sound as FLAC.

Without pandas, so that worker processes start fast.
"""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from numpy.typing import NDArray

from mambatalk.clips.schema import CLIP
from mambatalk.corpus.readers import Facts, Interval, Semantic, Tiers
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import EXPRESSION_DIM, FPS, JOINT_COUNT, SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip as recorded; motion at 30 frames a second, sound at 16 kHz."""

    clip_id: str
    motion: SmplxMotion
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
        """The frames from `first` up to `last` with their sound and words, under the id with a
        suffix.
        """
        start, end = (frame * SAMPLE_RATE // FPS for frame in (first, last))
        file = io.BytesIO()
        soundfile.write(file, self.wave[start:end], SAMPLE_RATE, format="FLAC", subtype="PCM_24")
        return replace(
            self,
            clip_id=self.clip_id + suffix,
            motion=self.motion[first:last],
            audio=file.getvalue(),
            words=_shift(self.words, first / FPS),
            phones=_shift(self.phones, first / FPS),
            semantics=None,
        )


def clip_row(
    clip_id: str,
    motion: SmplxMotion,
    audio: bytes,
    tiers: Tiers | None,
    semantics: list[Semantic] | None,
) -> pa.Table:
    """One row of the store (schema.CLIP)."""
    columns = {
        "clip_id": [clip_id],
        "poses": _list(motion.poses.T),
        "trans": _list(motion.trans.T),
        "expressions": _list(motion.expressions.T),
        "betas": _list(motion.betas),
        "audio": [audio],
        "words": [_rows(tiers.words if tiers else None)],
        "phones": [_rows(tiers.phones if tiers else None)],
        "semantics": [_rows(semantics)],
    }
    return pa.table(
        [
            pa.array(values, field.type) if isinstance(values, list) else values
            for field, values in zip(CLIP, columns.values(), strict=True)
        ],
        CLIP,
    )


def encode_flac(wave: NDArray[np.float32], facts: Facts) -> bytes:
    """Sound (S,) at 16 kHz as FLAC: exact for int16 files at 16 kHz mono, else 24 bits (error at
    most 1.2e-7).

    Samples past full scale are cut there; the manifest's `clipped_share` counts them.
    """
    exact = facts.subtype == "PCM_16" and facts.rate == SAMPLE_RATE and facts.channels == 1
    file = io.BytesIO()
    soundfile.write(file, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16" if exact else "PCM_24")
    return file.getvalue()


def clip_of(table: pa.Table) -> Clip:
    """Return the clip that a row of the store holds."""
    row = {name: table[name][0] for name in table.column_names}

    def frames(name: str, channels: int) -> NDArray[Any]:
        return np.array(row[name].values.to_numpy().reshape(channels, -1).T, order="C")

    def items(name: str, kind: type) -> list[Any] | None:
        rows = row[name].as_py()
        return None if rows is None else [kind(**item) for item in rows]

    motion = SmplxMotion(
        poses=frames("poses", 3 * JOINT_COUNT),
        trans=frames("trans", 3),
        expressions=frames("expressions", EXPRESSION_DIM),
        betas=row["betas"].values.to_numpy(),
    )
    return Clip(
        clip_id=row["clip_id"].as_py(),
        motion=motion,
        audio=row["audio"].as_py(),
        words=items("words", Interval),
        phones=items("phones", Interval),
        semantics=items("semantics", Semantic),
    )


def load_clip(shard: Path, row_group: int) -> Clip:
    """Read the clip at a place that `ClipStore.place` gave."""
    return clip_of(pq.ParquetFile(shard).read_row_group(row_group))


def _list(values: NDArray[Any]) -> pa.Array:
    flat = pa.array(values.ravel())
    return pa.ListArray.from_arrays(pa.array([0, len(flat)], pa.int32()), flat)


def _rows(items: list[Any] | None) -> list[dict[str, Any]] | None:
    return None if items is None else [vars(item) for item in items]


def _shift(items: list[Interval] | None, seconds: float) -> list[Interval] | None:
    return (
        None
        if items is None
        else [
            Interval(item.start - seconds, item.end - seconds, item.text)
            for item in items
            if item.end > seconds
        ]
    )
