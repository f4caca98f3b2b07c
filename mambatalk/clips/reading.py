"""One clip from its files: each read once, held against the snapshot, measured, and made a row of
the clip store.

What worker processes import to ingest; without pandas and torch they start in a fraction of a
second.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from mambatalk.clips.alignment import lag_statistics
from mambatalk.clips.row import clip_row, encode_flac
from mambatalk.clips.statistics import (
    motion_statistics,
    semantic_statistics,
    sound_statistics,
    word_statistics,
)
from mambatalk.corpus import semantics as readers_semantics
from mambatalk.corpus import textgrid as readers_textgrid
from mambatalk.corpus import wave as readers_wave
from mambatalk.corpus.layout import KINDS, ClipId, Kind, clip_path, language_of
from mambatalk.corpus.readers import read_semantics, read_textgrid, read_wav
from mambatalk.errors import InputError
from mambatalk.motion.clip import MAX_FILE_BYTES as MAX_MOTION_BYTES
from mambatalk.motion.clip import SmplxMotion

MOTION_COLUMNS = (
    "frames",
    "fps",
    "motion_seconds",
    "not_finite",
    "max_angle",
    "max_joint_speed",
    "max_joint_acceleration",
    "frozen_seconds",
    "max_translation_speed",
    "translation_range",
    "max_expression",
    "max_beta",
    "mouth_lag",
    "motion_print",
    "sound_print",
    "shape_print",
)

LIMITS: Mapping[Kind, int] = MappingProxyType(
    {
        "motion": MAX_MOTION_BYTES,
        "wave": readers_wave.MAX_FILE_BYTES,
        "textgrid": readers_textgrid.MAX_FILE_BYTES,
        "semantics": readers_semantics.MAX_FILE_BYTES,
    }
)

Row: TypeAlias = dict[str, Any]
"""A clip's row of the manifest, as far as the clip alone decides it: numbers, texts and None."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Job:
    """One clip to read."""

    root: Path
    clip: ClipId
    listed: Mapping[str, Mapping[str, Any]]
    """The snapshot's entries of this clip's files, by path."""

    def entry(self, kind: Kind) -> Mapping[str, Any] | None:
        """What the snapshot says of the file of a kind: size and sha256."""
        return self.listed.get(clip_path("", self.clip, kind).as_posix())


def read_clip(job: Job) -> tuple[Row, pa.Table | None]:
    """Read and measure one clip: its row of the manifest, and its row of the store where it could
    be read.

    Raises:
        InputError: A file is not the one the snapshot names.

    """
    row = empty_row(job)
    try:
        _check_sizes(job)
    except InputError as error:
        return row | {"fault": str(error)}, None
    files = {kind: _checked_bytes(job, kind) for kind in KINDS}
    try:
        data = _parse(job.clip, files, row)
    except InputError as error:
        return row | {"fault": str(error)}, None
    except Exception as error:  # One clip that nobody foresaw does not end a run over thousands.
        log.exception("clip %s", job.clip)
        return row | {
            "fault": f"{job.clip}: found {type(error).__name__}: {error}; expected a clip"
        }, None
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in row.items()
    }, data


def empty_row(job: Job) -> Row:
    """What is known of a clip before a file of it is opened."""
    clip = job.clip
    listed = {kind: job.entry(kind) for kind in KINDS}
    return {
        "clip_id": str(clip),
        "speaker": clip.speaker,
        "name": clip.name,
        "recording_type": clip.recording_type,
        "start": clip.start,
        "end": clip.end,
        "language": language_of(clip),
        **dict.fromkeys(MOTION_COLUMNS),
        "audio_seconds": None,
        "words": None,
        "fault": None,
        "content": None,
        **{f"has_{kind}": entry is not None for kind, entry in listed.items()},
        **{f"{kind}_sha256": entry["sha256"] if entry else None for kind, entry in listed.items()},
    }


def _parse(clip: ClipId, files: Mapping[Kind, bytes | None], row: Row) -> pa.Table:
    """Parse a clip's files, adding what they say to `row`."""
    motion = SmplxMotion.read(_needed(clip, files, "motion"), where=_name(clip, "motion"))
    row |= motion_statistics(motion)
    wave, header = read_wav(_needed(clip, files, "wave"), where=_name(clip, "wave"))
    row |= sound_statistics(wave, header)
    tiers = semantics = None
    if files["textgrid"] is not None:
        tiers = read_textgrid(files["textgrid"], where=_name(clip, "textgrid"))
        row |= word_statistics(tiers.words, wave)
    row |= lag_statistics(motion.poses, tiers.words if tiers else None, wave)
    if files["semantics"] is not None:
        semantics = read_semantics(files["semantics"], where=_name(clip, "semantics"))
        row |= semantic_statistics(semantics, row["audio_seconds"])
    row["content"] = _sha256((row["motion_sha256"] + row["wave_sha256"]).encode())
    row["length_gap"] = row["audio_seconds"] - row["motion_seconds"]
    row["length_ratio"] = row["motion_seconds"] / row["audio_seconds"]
    return clip_row(str(clip), motion, encode_flac(wave, header), tiers, semantics)


def _needed(clip: ClipId, files: Mapping[Kind, bytes | None], kind: Kind) -> bytes:
    data = files[kind]
    if data is None:
        raise InputError(
            _name(clip, kind),
            "expected motion and sound of every clip, found no such file",
            "fetch the file, or take the clip out of the split table",
        )
    return data


def _checked_bytes(job: Job, kind: Kind) -> bytes | None:
    path, entry = clip_path(job.root, job.clip, kind), job.entry(kind)
    if entry is None and not path.is_file():
        return None
    size = path.stat().st_size if path.is_file() else None
    found = path.read_bytes() if entry and size == entry["size"] else None
    if entry is None or found is None or _sha256(found) != entry["sha256"]:
        raise not_listed(
            path, "no such file" if size is None else "other bytes than the snapshot's"
        )
    return found


def not_listed(path: Path, found: str) -> InputError:
    """The error of a file that is not what the snapshot says."""
    return InputError(
        path,
        f"expected the corpus the snapshot describes, found {found}",
        "make a new snapshot: mambatalk snapshot ROOT",
    )


def _check_sizes(job: Job) -> None:
    """Refuse a clip with a file that no reader would take, before it is in memory."""
    for kind in KINDS:
        entry = job.entry(kind)
        if entry and entry["size"] > LIMITS[kind]:
            raise InputError(
                _name(job.clip, kind),
                f"expected at most {LIMITS[kind]}, found {entry['size']} bytes",
                "check that this is the file",
            )


def _name(clip: ClipId, kind: Kind) -> str:
    return str(clip_path("", clip, kind))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
