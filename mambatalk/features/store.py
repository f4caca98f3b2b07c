"""The feature store: memory-mapped arrays of all clips, decoded once from Parquet.

The arrays are outside DVC, in a folder of the cache (`MAMBATALK_CACHE`, by default runs/cache) that
is named by the digest of the features, and can be deleted at any time. Their pages are shared
between processes and released when memory is short, so that training on a corpus of any size needs
little memory. A process that opens them compares them with their checksums, and decodes them again
if a byte has changed.
"""

import io
import logging
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import soundfile
from filelock import FileLock
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from mambatalk.audio.channels import ENVELOPE_WINDOW, LOOK_AHEAD
from mambatalk.errors import InputError
from mambatalk.features.checksums import find_damage, write_checksums
from mambatalk.files import atomic_directory, cache_folder, read_json
from mambatalk.motion.skeleton import EXPRESSION_DIM, MOTION_DIM, SAMPLE_RATE

RERUN_HINT: Final = "run the stage features again"
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """One clip and its place in the arrays of the store."""

    clip_id: str
    speaker_id: int
    """Id in the corpus."""
    speaker_index: int
    """Row of the speaker embedding."""
    split: str
    frames: int
    first_frame: int
    samples: int
    first_sample: int
    """`LOOK_AHEAD` samples of padding follow the waveform of each clip."""
    wave_mean: float
    wave_std: float
    has_text: bool
    betas: NDArray[np.float32]
    """Shape parameters (300,)."""
    ctc: NDArray[np.uint8] | None
    """CTC token ids at the rate of the CTC model; None without a CTC model."""


class FeatureStore:
    """Read-only arrays of all clips, with frames at 30 per second and audio at 16 kHz.

    `motion` (N, 337), `expressions` (N, 100) and `words` (N,) have one row per frame, and `samples`
    is the audio of all clips with padding after each.

    Args:
        arrays: Folder with the decoded arrays.
        clips: Clips in the order of the arrays.

    """

    def __init__(self, arrays: Path, clips: list[ClipInfo]) -> None:
        self.clips = clips
        self.motion: NDArray[np.float32] = np.load(arrays / "motion.npy", mmap_mode="r")
        self.expressions: NDArray[np.float32] = np.load(arrays / "expressions.npy", mmap_mode="r")
        self.words: NDArray[np.int32] = np.load(arrays / "words.npy", mmap_mode="r")
        self.samples: NDArray[np.float32] = np.load(arrays / "wave.npy", mmap_mode="r")

    def with_statistics(self, mean: float, std: float) -> "FeatureStore":
        """Return the same store with this mean and deviation of the audio for every clip."""
        store = copy(self)
        store.clips = [replace(clip, wave_mean=mean, wave_std=std) for clip in self.clips]
        return store

    def frames(self, clip: ClipInfo) -> slice:
        """Return the rows of a clip in the arrays `motion`, `expressions` and `words`."""
        return slice(clip.first_frame, clip.first_frame + clip.frames)

    def waveform(self, clip: ClipInfo) -> NDArray[np.float32]:
        """Return the waveform (S,) of a clip at 16 kHz."""
        return self.samples[clip.first_sample : clip.first_sample + clip.samples]

    def clips_in_split(self, split: str) -> list[ClipInfo]:
        """Return the clips of a split in the order of the arrays.

        Raises:
            InputError: The split has no clip.

        """
        clips = [clip for clip in self.clips if clip.split == split]
        if not clips:
            raise InputError(
                "features",
                f"expected at least one clip in split {split}, found none",
                "check train_test_split.csv and the clips that check_clips quarantined",
            )
        return clips


def open_features(directory: str | Path, cache_root: str | Path | None = None) -> FeatureStore:
    """Open a features folder; decode it into the cache if it is not there yet, or damaged there.

    Args:
        directory: Features folder.
        cache_root: Folder of the cache. If None, the default cache folder.

    Raises:
        InputError: The folder has no features, or its files do not match.

    """
    directory = Path(directory)
    clips = read_clips(directory)
    features_digest = read_json(directory / "features.json")["digest"]
    arrays = Path(cache_root or cache_folder()) / Path(features_digest).name
    arrays.parent.mkdir(parents=True, exist_ok=True)
    # Only one process decodes: the stages of the auto-encoders start at the same time.
    with FileLock(arrays.with_suffix(".lock")):
        damage = find_damage(arrays) if arrays.is_dir() else None
        if damage:
            log.warning("%s: found %s; decoding the features again", arrays, damage)
        if damage or not arrays.is_dir():
            with atomic_directory(arrays) as temporary:
                _decode(directory, clips, temporary)
                write_checksums(temporary)
    return FeatureStore(arrays, clips)


def read_clips(directory: Path) -> list[ClipInfo]:
    """Read the clips of a features folder without their audio."""
    path = directory / "clips.parquet"
    columns = [name for name in pq.read_schema(path).names if name != "audio"]
    clips = []
    frame = 0
    sample = 0
    for row in pq.read_table(path, columns=columns).to_pylist():
        clips.append(
            ClipInfo(
                clip_id=row["clip_id"],
                speaker_id=row["speaker"],
                speaker_index=row["speaker_index"],
                split=row["split"],
                frames=row["frames"],
                first_frame=frame,
                samples=row["samples"],
                first_sample=sample,
                wave_mean=row["wave_mean"],
                wave_std=row["wave_std"],
                has_text=row["has_text"],
                betas=np.array(row["betas"], np.float32),
                ctc=None if row["ctc"] is None else np.array(row["ctc"], np.uint8),
            )
        )
        frame += row["frames"]
        sample += row["samples"] + LOOK_AHEAD
    return clips


def _decode(directory: Path, clips: list[ClipInfo], out: Path) -> None:
    """Write the arrays of a features folder."""
    frames = sum(clip.frames for clip in clips)
    samples = sum(clip.samples + LOOK_AHEAD for clip in clips)
    motion = open_memmap(out / "motion.npy", "w+", np.float32, (frames, MOTION_DIM))
    expressions = open_memmap(out / "expressions.npy", "w+", np.float32, (frames, EXPRESSION_DIM))
    words = open_memmap(out / "words.npy", "w+", np.int32, (frames,))
    wave = open_memmap(out / "wave.npy", "w+", np.float32, (samples,))

    shard_name = ""
    shard: pq.ParquetFile
    for clip, row in zip(clips, _iterate_audio(directory), strict=True):
        # The clips of a shard are consecutive, so that one open file is enough.
        if row["shard"] != shard_name:
            shard_name = row["shard"]
            shard = pq.ParquetFile(directory / shard_name)
        table = shard.read_row_group(row["row_group"])
        _check_length(clip, "frames", len(table), clip.frames)

        frames_of_clip = slice(clip.first_frame, clip.first_frame + clip.frames)
        motion[frames_of_clip] = _matrix(table["motion"], MOTION_DIM)
        expressions[frames_of_clip] = _matrix(table["expressions"], EXPRESSION_DIM)
        words[frames_of_clip] = table["word"].to_numpy()
        end = clip.first_sample + clip.samples + LOOK_AHEAD
        wave[clip.first_sample : end] = _decode_audio(clip, row["audio"])
    for array in (motion, expressions, words, wave):
        array.flush()


def _iterate_audio(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield shard, row group and FLAC bytes of every clip, one at a time to save memory."""
    file = pq.ParquetFile(directory / "clips.parquet")
    for batch in file.iter_batches(1, columns=["shard", "row_group", "audio"]):
        yield from batch.to_pylist()


def _matrix(column: Any, width: int) -> NDArray[np.float32]:
    return column.combine_chunks().flatten().to_numpy().reshape(-1, width)


def _decode_audio(clip: ClipInfo, flac: bytes) -> NDArray[np.float32]:
    """Return the waveform of a clip with `LOOK_AHEAD` samples of padding.

    The padding is the last value of the envelope, a moving maximum, so that the envelope of the
    clip is the same with and without it.
    """
    try:
        wave, rate = soundfile.read(io.BytesIO(flac), dtype="float32")
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"features, clip {clip.clip_id}",
            f"expected FLAC audio, found data that cannot be decoded ({error})",
            RERUN_HINT,
        ) from None
    if rate != SAMPLE_RATE:
        raise InputError(
            f"features, clip {clip.clip_id}",
            f"expected audio at {SAMPLE_RATE} Hz, found {rate} Hz",
            RERUN_HINT,
        )
    _check_length(clip, "samples", len(wave), clip.samples)
    last_envelope = np.abs(wave[-ENVELOPE_WINDOW:]).max(initial=0)
    return np.concatenate([wave, np.full(LOOK_AHEAD, last_envelope, np.float32)])


def _check_length(clip: ClipInfo, what: str, found: int, expected: int) -> None:
    """Raise an InputError if a length differs from the one in clips.parquet."""
    if found != expected:
        raise InputError(
            f"features, clip {clip.clip_id}",
            f"expected {expected} {what} as in clips.parquet, found {found}",
            RERUN_HINT,
        )
