"""What training reads: features decoded once from Parquet into flat arrays that are memory-mapped.

The arrays lie under a cache folder (`MAMBATALK_CACHE`, by default runs/cache) in a folder named by
the digest of the features, outside DVC, and can be deleted at any time. Pages are shared between
processes and given back under pressure, so that a corpus of any size trains in little memory of its
own.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile
from filelock import FileLock
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from mambatalk.audio.channels import ENVELOPE_WINDOW, LOOK_AHEAD
from mambatalk.errors import InputError
from mambatalk.files import atomic_directory, cache_folder, read_json
from mambatalk.motion.skeleton import EXPRESSION_DIM, MOTION_DIM, SAMPLE_RATE

AGAIN = "run the stage features again"


@dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """One clip and where its rows lie in the flat arrays."""

    clip_id: str
    speaker: int
    speaker_index: int
    split: str
    frames: int
    first_frame: int
    samples: int
    first_sample: int
    """Of the wave; `LOOK_AHEAD` samples of padding follow each clip's wave."""
    wave_mean: float
    wave_std: float
    has_text: bool
    betas: NDArray[np.float32]
    ctc: NDArray[np.uint8] | None


class FeatureStore:
    """Flat, read-only arrays over all clips, frames in order at 30 a second and samples at 16
    kHz.
    """

    def __init__(self, arrays: Path, clips: list[ClipInfo], notes: dict[str, object]) -> None:
        self.clips = clips
        self.notes = notes
        self.motion: NDArray[np.float32] = np.load(arrays / "motion.npy", mmap_mode="r")
        self.expressions: NDArray[np.float32] = np.load(arrays / "expressions.npy", mmap_mode="r")
        self.words: NDArray[np.int32] = np.load(arrays / "words.npy", mmap_mode="r")
        self.samples: NDArray[np.float32] = np.load(arrays / "wave.npy", mmap_mode="r")

    def frames(self, clip: ClipInfo) -> slice:
        """Rows of a clip in `motion` (N, 337), `expressions` (N, 100) and `words` (N,)."""
        return slice(clip.first_frame, clip.first_frame + clip.frames)

    def wave(self, clip: ClipInfo) -> NDArray[np.float32]:
        """A clip's whole sound (S,)."""
        return self.samples[clip.first_sample : clip.first_sample + clip.samples]

    def of_split(self, split: str) -> list[ClipInfo]:
        """Clips of a split, in order.

        Raises:
            InputError: There are none.

        """
        clips = [clip for clip in self.clips if clip.split == split]
        if not clips:
            raise InputError(
                "features",
                f"expected at least one, found no clip in split {split}",
                "check train_test_split.csv and what check_clips left out",
            )
        return clips


def open_features(directory: str | Path, cache_root: str | Path | None = None) -> FeatureStore:
    """Open a features folder, decoding it into the cache first if that has not been done.

    Raises:
        InputError: The folder holds no features, or its files do not fit each other.

    """
    directory = Path(directory)
    notes = read_json(directory / "features.json")
    clips = clip_table(directory)
    arrays = Path(cache_root or cache_folder()) / Path(notes["digest"]).name
    arrays.parent.mkdir(parents=True, exist_ok=True)
    # One process at a time decodes: the auto-encoders' stages start side by side.
    with FileLock(arrays.with_suffix(".lock")):
        if not arrays.is_dir():
            with atomic_directory(arrays) as temporary:
                _decode(directory, clips, temporary)
    return FeatureStore(arrays, clips, notes)


def clip_table(directory: Path) -> list[ClipInfo]:
    """Read a features folder's clips without their sound."""
    columns = [
        name for name in pq.read_schema(directory / "clips.parquet").names if name != "audio"
    ]
    clips, frame, sample = [], 0, 0
    for row in pq.read_table(directory / "clips.parquet", columns=columns).to_pylist():
        clips.append(
            ClipInfo(
                clip_id=row["clip_id"],
                speaker=row["speaker"],
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
    frames = sum(clip.frames for clip in clips)
    samples = sum(clip.samples + LOOK_AHEAD for clip in clips)
    motion = open_memmap(out / "motion.npy", "w+", np.float32, (frames, MOTION_DIM))
    expressions = open_memmap(out / "expressions.npy", "w+", np.float32, (frames, EXPRESSION_DIM))
    words = open_memmap(out / "words.npy", "w+", np.int32, (frames,))
    wave = open_memmap(out / "wave.npy", "w+", np.float32, (samples,))
    places = pq.ParquetFile(directory / "clips.parquet")
    columns = ["shard", "row_group", "audio"]
    rows = (row for batch in places.iter_batches(1, columns=columns) for row in batch.to_pylist())
    shards: dict[str, pq.ParquetFile] = {}
    for clip, row in zip(clips, rows, strict=True):
        if row["shard"] not in shards:
            shards = {row["shard"]: pq.ParquetFile(directory / row["shard"])}
        table = shards[row["shard"]].read_row_group(row["row_group"])
        _check_length(clip, "frames", len(table), clip.frames)
        place = slice(clip.first_frame, clip.first_frame + clip.frames)
        motion[place] = _matrix(table["motion"], MOTION_DIM)
        expressions[place] = _matrix(table["expressions"], EXPRESSION_DIM)
        words[place] = table["word"].to_numpy()
        wave[clip.first_sample : clip.first_sample + clip.samples + LOOK_AHEAD] = _padded_wave(
            clip, row["audio"]
        )
    for array in (motion, expressions, words, wave):
        array.flush()


def _matrix(column: Any, width: int) -> NDArray[np.float32]:
    return column.combine_chunks().flatten().to_numpy().reshape(-1, width)


def _padded_wave(clip: ClipInfo, flac: bytes) -> NDArray[np.float32]:
    """A clip's sound, then its last envelope value: a maximum over windows that reach past the end
    stays there.
    """
    try:
        wave, rate = soundfile.read(io.BytesIO(flac), dtype="float32")
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"features, clip {clip.clip_id}",
            f"expected FLAC, found sound that does not decode ({error})",
            AGAIN,
        ) from None
    if rate != SAMPLE_RATE:
        raise InputError(
            f"features, clip {clip.clip_id}",
            f"expected {SAMPLE_RATE} Hz, found sound at {rate} Hz",
            AGAIN,
        )
    _check_length(clip, "samples", len(wave), clip.samples)
    return np.concatenate(
        [wave, np.full(LOOK_AHEAD, np.abs(wave[-ENVELOPE_WINDOW:]).max(initial=0), np.float32)]
    )


def _check_length(clip: ClipInfo, what: str, found: int, expected: int) -> None:
    if found != expected:
        raise InputError(
            f"features, clip {clip.clip_id}",
            f"expected the {expected} of clips.parquet, found {found} {what}",
            AGAIN,
        )
