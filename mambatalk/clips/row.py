"""A clip and its row in the clip store.

This module does not import pandas, so that worker processes start fast.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from numpy.typing import NDArray

from mambatalk.clips.schema import CLIP
from mambatalk.corpus.semantics import SemanticAnnotation
from mambatalk.corpus.textgrid import Interval, Tiers
from mambatalk.corpus.wave import AudioFormat
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import EXPRESSION_DIM, FPS, JOINT_COUNT, SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip as recorded, with motion at 30 frames per second and audio at 16 kHz."""

    clip_id: str
    motion: SmplxMotion
    audio: bytes
    """Waveform encoded as FLAC."""
    words: list[Interval] | None
    """Words; None if the clip has no TextGrid."""
    phones: list[Interval] | None
    """Phones; None if the clip has no TextGrid."""
    semantics: list[SemanticAnnotation] | None
    """Semantic annotations; None if the clip has none."""

    @property
    def waveform(self) -> NDArray[np.float32]:
        """Decoded audio (S,) at 16 kHz."""
        return soundfile.read(io.BytesIO(self.audio), dtype="float32")[0]

    def cut(self, first: int, last: int, *, suffix: str = "") -> "Clip":
        """Return frames `first` to `last` (exclusive) with their audio and words.

        Args:
            first: First frame.
            last: Frame after the last one.
            suffix: Appended to the clip id.

        """
        start = first * SAMPLE_RATE // FPS
        end = last * SAMPLE_RATE // FPS
        file = io.BytesIO()
        soundfile.write(
            file, self.waveform[start:end], SAMPLE_RATE, format="FLAC", subtype="PCM_24"
        )
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
    semantics: list[SemanticAnnotation] | None,
) -> pa.Table:
    """Build the row of a clip in the store (schema.CLIP).

    Args:
        clip_id: Id of the clip.
        motion: Motion as read from its file.
        audio: Waveform encoded as FLAC.
        tiers: Words and phones. None if the clip has no TextGrid.
        semantics: Annotations. None if the clip has none.

    """
    values = {
        "clip_id": [clip_id],
        "poses": _list_array(motion.poses.T),
        "trans": _list_array(motion.trans.T),
        "expressions": _list_array(motion.expressions.T),
        "betas": _list_array(motion.betas),
        "audio": [audio],
        "words": [_as_dicts(tiers.words if tiers else None)],
        "phones": [_as_dicts(tiers.phones if tiers else None)],
        "semantics": [_as_dicts(semantics)],
    }
    columns = []
    for field in CLIP:
        value = values[field.name]
        columns.append(pa.array(value, field.type) if isinstance(value, list) else value)
    return pa.table(columns, CLIP)


def encode_flac(waveform: NDArray[np.float32], audio_format: AudioFormat) -> bytes:
    """Encode a waveform (S,) at 16 kHz as FLAC.

    Audio from int16 files at 16 kHz mono is stored exactly; other audio with 24 bits (error at
    most 1.2e-7). Samples beyond full scale are clipped; the manifest's `clipped_share` counts them.
    """
    exact = (
        audio_format.encoding == "PCM_16"
        and audio_format.sample_rate == SAMPLE_RATE
        and audio_format.channels == 1
    )
    file = io.BytesIO()
    subtype = "PCM_16" if exact else "PCM_24"
    soundfile.write(file, waveform, SAMPLE_RATE, format="FLAC", subtype=subtype)
    return file.getvalue()


def clip_from_row(table: pa.Table) -> Clip:
    """Return the clip in a row of the store."""
    row = {name: table[name][0] for name in table.column_names}

    def by_frame(name: str, channels: int) -> NDArray[Any]:
        by_channel = row[name].values.to_numpy().reshape(channels, -1)
        return np.array(by_channel.T, order="C")

    def items(name: str, kind: type) -> list[Any] | None:
        values = row[name].as_py()
        return None if values is None else [kind(**value) for value in values]

    motion = SmplxMotion(
        poses=by_frame("poses", 3 * JOINT_COUNT),
        trans=by_frame("trans", 3),
        expressions=by_frame("expressions", EXPRESSION_DIM),
        betas=row["betas"].values.to_numpy(),
    )
    return Clip(
        clip_id=row["clip_id"].as_py(),
        motion=motion,
        audio=row["audio"].as_py(),
        words=items("words", Interval),
        phones=items("phones", Interval),
        semantics=items("semantics", SemanticAnnotation),
    )


def load_clip(shard: Path, row_group: int) -> Clip:
    """Read the clip at a place returned by `ClipStore.place`."""
    return clip_from_row(pq.ParquetFile(shard).read_row_group(row_group))


def _list_array(values: NDArray[Any]) -> pa.Array:
    flat = pa.array(values.ravel())
    return pa.ListArray.from_arrays(pa.array([0, len(flat)], pa.int32()), flat)


def _as_dicts(items: Sequence[Any] | None) -> list[dict[str, Any]] | None:
    return None if items is None else [vars(item) for item in items]


def _shift(items: list[Interval] | None, seconds: float) -> list[Interval] | None:
    """Move intervals to an earlier time and drop those that end before the new start."""
    if items is None:
        return None
    return [
        Interval(item.start - seconds, item.end - seconds, item.text)
        for item in items
        if item.end > seconds
    ]
