"""A clip as the clip store holds it: one row of Arrow, sound as FLAC."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from numpy.typing import NDArray

from mambatalk.data.readers import Facts, Motion, Semantic, Tiers
from mambatalk.data.schema import CLIP
from mambatalk.motion.skeleton import SAMPLE_RATE


def clip_row(clip_id: str, motion: Motion, audio: bytes, tiers: Tiers | None, semantics: list[Semantic] | None
             ) -> pa.Table:
    """One row of the store (schema.CLIP)."""
    columns = {
        "clip_id": [clip_id], "poses": _list(motion.poses.T), "trans": _list(motion.trans.T),
        "expressions": _list(motion.expressions.T), "betas": _list(motion.betas), "audio": [audio],
        "words": [_rows(tiers.words if tiers else None)], "phones": [_rows(tiers.phones if tiers else None)],
        "semantics": [_rows(semantics)],
    }
    return pa.table([pa.array(values, field.type) if isinstance(values, list) else values
                     for field, values in zip(CLIP, columns.values(), strict=True)], CLIP)


def encode_flac(wave: NDArray[np.float32], facts: Facts) -> bytes:
    """Sound (S,) at 16 kHz as FLAC: exact for int16 files at 16 kHz mono, else 24 bits (error at most 1.2e-7).

    Samples past full scale are cut there; the manifest's `clipped_share` counts them.
    """
    exact = facts.subtype == "PCM_16" and facts.rate == SAMPLE_RATE and facts.channels == 1
    file = io.BytesIO()
    soundfile.write(file, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16" if exact else "PCM_24")
    return file.getvalue()


def _list(values: NDArray[Any]) -> pa.Array:
    flat = pa.array(values.ravel())
    return pa.ListArray.from_arrays(pa.array([0, len(flat)], pa.int32()), flat)


def _rows(items: list[Any] | None) -> list[dict[str, Any]] | None:
    return None if items is None else [vars(item) for item in items]
