"""Reading of one clip: verify its files, measure them and build its row of the clip store.

Worker processes import this module. It imports neither pandas nor PyTorch, so that they start in a
fraction of a second.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mambatalk.clips.alignment import lag_statistics
from mambatalk.clips.labels import label_statistics, semantic_label_statistics
from mambatalk.clips.noise import bounded
from mambatalk.clips.row import clip_row, encode_flac
from mambatalk.clips.statistics import (
    ABSURD_SAMPLE,
    audio_statistics,
    joint_speed,
    motion_statistics,
    semantic_statistics,
    word_statistics,
)
from mambatalk.corpus import semantics, textgrid, wave
from mambatalk.corpus.layout import KINDS, ClipId, Kind, clip_path, language_of
from mambatalk.corpus.semantics import SemanticAnnotation
from mambatalk.corpus.textgrid import Tiers
from mambatalk.corpus.wave import AudioFormat
from mambatalk.errors import InputError
from mambatalk.files import path_errors, sha256_file
from mambatalk.motion.clip import MAX_FILE_BYTES as MAX_MOTION_BYTES
from mambatalk.motion.clip import SmplxMotion

REQUIRED_COLUMNS: Final = (
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
    "clock_fits",
    "motion_fingerprint",
    "audio_fingerprint",
    "motion_landmarks",
    "audio_landmarks",
    "shape_fingerprint",
    "voice",
    "foot_height",
    "pose_mean",
    "expression_spread",
)
"""Measured columns that the manifest has even if no clip could be read."""

SIZE_LIMITS: Final[Mapping[Kind, int]] = MappingProxyType(
    {
        "motion": MAX_MOTION_BYTES,
        "wave": wave.MAX_FILE_BYTES,
        "textgrid": textgrid.MAX_FILE_BYTES,
        "semantics": semantics.MAX_FILE_BYTES,
    }
)

Row: TypeAlias = dict[str, Any]
"""Row of the manifest, without the columns that depend on other clips: numbers, strings, None and
lists of numbers.
"""
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ClipJob:
    """One clip to read."""

    root: Path
    clip: ClipId
    listed: Mapping[str, Mapping[str, Any]]
    """Entries of this clip's files in the snapshot, by path."""

    def entry(self, kind: Kind) -> Mapping[str, Any] | None:
        """Return size and sha256 of the file of a kind; None if it is not in the snapshot."""
        return self.listed.get(clip_path("", self.clip, kind).as_posix())


def read_clip(job: ClipJob) -> tuple[Row, pa.Table | None]:
    """Read and measure one clip.

    Returns:
        The row of the manifest and the row of the store. If the clip cannot be read, the first
        states the reason in `fault` and the second is None.

    Raises:
        InputError: A file differs from the snapshot.

    """
    row = empty_row(job)
    try:
        _check_sizes(job)
    except InputError as error:
        return row | {"fault": str(error)}, None

    files = {kind: _verified_bytes(job, kind) for kind in KINDS}
    return _measure(job, files, row, _store_row)


def measure_clip(place: tuple[Path, ClipId]) -> Row:
    """Measure a clip whose files no snapshot describes; its row of the store is not made.

    Args:
        place: Root of the corpus, and the clip.

    Returns:
        The row of the manifest, equal to that of `read_clip`.

    Raises:
        InputError: A file cannot be opened.

    """
    job, files = _load_files(*place)
    row = empty_row(job)
    try:
        _check_sizes(job)
    except InputError as error:
        return row | {"fault": str(error)}
    return _measure(job, files, row, lambda content: None)[0]


def list_clip_files(root: Path, clip: ClipId) -> ClipJob:
    """Return the job of reading a clip as it is on disk now.

    Raises:
        InputError: A file cannot be opened.

    """
    return _load_files(root, clip)[0]


def empty_row(job: ClipJob) -> Row:
    """Return the row of a clip before any of its files is opened."""
    clip = job.clip
    entries = {kind: job.entry(kind) for kind in KINDS}
    return {
        "clip_id": str(clip),
        "speaker": clip.speaker,
        "name": clip.name,
        "recording_type": clip.recording_type,
        "start": clip.start,
        "end": clip.end,
        "language": language_of(clip),
        **dict.fromkeys(REQUIRED_COLUMNS),
        "audio_seconds": None,
        "words": None,
        "fault": None,
        "content": None,
        **{f"has_{kind}": entry is not None for kind, entry in entries.items()},
        **{f"{kind}_sha256": entry["sha256"] if entry else None for kind, entry in entries.items()},
    }


@dataclass(frozen=True)
class _Content:
    """The parsed files of a clip."""

    clip: ClipId
    motion: SmplxMotion
    waveform: NDArray[np.float32]
    audio_format: AudioFormat
    tiers: Tiers | None
    annotations: list[SemanticAnnotation] | None


def _measure(
    job: ClipJob, files: Mapping[Kind, bytes | None], row: Row, make: Callable[[_Content], T]
) -> tuple[Row, T | None]:
    """Return the row with all measurements, and the result of `make` for the content.

    If the clip cannot be read, `fault` of the row states the reason and the second result is None.
    """
    made = None
    try:
        made = make(_parse(job.clip, files, row))
    except InputError as error:
        row["fault"] = str(error)
    except Exception as error:
        # An unexpected error in one clip must not end a run over thousands.
        log.exception("clip %s", job.clip)
        row["fault"] = f"{job.clip}: {type(error).__name__}: {error}"
    # NumPy scalars would not survive the JSON of the cache.
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in row.items()
    }
    return plain, made


def _parse(clip: ClipId, files: Mapping[Kind, bytes | None], row: Row) -> _Content:
    """Parse the files of a clip and add the measurements to `row`."""
    locations = {kind: str(clip_path("", clip, kind)) for kind in KINDS}
    motion_bytes = _required(files["motion"], locations["motion"])
    motion = SmplxMotion.read(motion_bytes, where=locations["motion"])
    speed = joint_speed(bounded(motion.poses))
    row |= motion_statistics(motion, speed)

    wave_bytes = _required(files["wave"], locations["wave"])
    waveform, audio_format = wave.read_wav(wave_bytes, where=locations["wave"])
    row |= audio_statistics(waveform, audio_format)
    waveform = np.clip(waveform, -ABSURD_SAMPLE, ABSURD_SAMPLE)

    tiers = None
    if files["textgrid"] is not None:
        tiers = textgrid.read_textgrid(files["textgrid"], where=locations["textgrid"])
        row |= word_statistics(tiers.words, waveform)
        row |= label_statistics(clip, tiers, waveform)
    words = tiers.words if tiers else None
    row |= lag_statistics(speed, bounded(motion.expressions), words, waveform)

    annotations = None
    if files["semantics"] is not None:
        annotations = semantics.read_semantics(files["semantics"], where=locations["semantics"])
        row |= semantic_statistics(annotations, row["audio_seconds"])
        row |= semantic_label_statistics(annotations)

    row["content"] = _sha256((row["motion_sha256"] + row["wave_sha256"]).encode())
    row["length_gap"] = row["audio_seconds"] - row["motion_seconds"]
    row["length_ratio"] = row["motion_seconds"] / row["audio_seconds"]
    return _Content(clip, motion, waveform, audio_format, tiers, annotations)


def _store_row(content: _Content) -> pa.Table:
    audio = encode_flac(content.waveform, content.audio_format)
    return clip_row(str(content.clip), content.motion, audio, content.tiers, content.annotations)


def _load_files(root: Path, clip: ClipId) -> tuple[ClipJob, dict[Kind, bytes | None]]:
    """Read the files of a clip; files that are too large are hashed and not kept."""
    files: dict[Kind, bytes | None] = dict.fromkeys(KINDS)
    listed: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        path = clip_path(root, clip, kind)
        if not path.is_file():
            continue
        with path_errors(path, expected="a readable file"):
            size = path.stat().st_size
            data = path.read_bytes() if size <= SIZE_LIMITS[kind] else None
        sha256 = sha256_file(path) if data is None else _sha256(data)
        listed[clip_path("", clip, kind).as_posix()] = {
            "size": size if data is None else len(data),
            "sha256": sha256,
        }
        files[kind] = data
    return ClipJob(root, clip, listed), files


def _required(data: bytes | None, location: str) -> bytes:
    if data is None:
        raise InputError(
            location,
            "expected motion and audio for every clip, found no such file",
            "add the file, or remove the clip from the split table",
        )
    return data


def _verified_bytes(job: ClipJob, kind: Kind) -> bytes | None:
    """Read a file and compare it with the snapshot; None if neither has it."""
    path = clip_path(job.root, job.clip, kind)
    entry = job.entry(kind)
    exists = path.is_file()
    if entry is None and not exists:
        return None
    if not exists:
        raise snapshot_mismatch(path, "no such file")
    if entry is None or path.stat().st_size != entry["size"]:
        raise snapshot_mismatch(path, "different content")
    data = path.read_bytes()
    if _sha256(data) != entry["sha256"]:
        raise snapshot_mismatch(path, "different content")
    return data


def snapshot_mismatch(path: Path, found: str) -> InputError:
    """Return the error for a file that differs from the snapshot."""
    return InputError(
        path,
        f"expected the file that the snapshot describes, found {found}",
        "write a new snapshot: mambatalk snapshot ROOT --out FILE",
    )


def _check_sizes(job: ClipJob) -> None:
    """Refuse a clip with a file that is too large, before it is read into memory."""
    for kind in KINDS:
        entry = job.entry(kind)
        if entry and entry["size"] > SIZE_LIMITS[kind]:
            raise InputError(
                clip_path("", job.clip, kind),
                f"expected at most {SIZE_LIMITS[kind]} bytes, found {entry['size']} bytes",
                "check that this is the right file",
            )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
