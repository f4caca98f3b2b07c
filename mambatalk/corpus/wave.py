"""Sound files: whatever libsndfile knows, whatever its suffix says, as 16 kHz mono float32."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from mambatalk.errors import InputError
from mambatalk.files import Source, load_bytes
from mambatalk.motion.skeleton import SAMPLE_RATE

MAX_FILE_BYTES: Final = 2**29
MAX_SAMPLES: Final = 2**27
"""Samples over all channels: two hours of mono at 16 kHz, 23 minutes of stereo at 48 kHz."""
MAX_CHANNELS: Final = 8
RATES: Final = range(8_000, 192_001)
BLOCK: Final = 2**18
STREAMED: Final = 2**32 - 1
"""The size that a wav's writer gives which did not know it yet."""
AMISS: Final = 4096
"""Bytes, about 0.1 s, by which headers are wrong in files that are whole."""
SILENT_FORMATS: Final = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd")


@dataclass(frozen=True)
class Facts:
    """What the file itself holds, before mixing and resampling."""

    rate: int
    """Samples a second."""
    channels: int
    format: str
    """Container by libsndfile's name: WAV, WAVEX, MP3, FLAC, ..."""
    subtype: str
    """Encoding by libsndfile's name: PCM_16, PCM_24, FLOAT, ..."""
    frames: int
    """Samples of one channel."""


def read_wav(source: Source, *, where: str | None = None) -> tuple[NDArray[np.float32], Facts]:
    """Read sound as (S,) float32 at 16 kHz; channels are averaged, other rates resampled by soxr
    (high quality).

    The content decides, not the name: a real corpus has float32 PCM among its int16 files and MP3
    under `.wav`.

    Args:
        source: Path, or the file's bytes.
        where: Name for errors; the path by default.

    Raises:
        InputError: No sound file, a damaged or empty one, or a rate, a channel count or a length no
            speech has.

    """
    data, name = load_bytes(source, where=where, limit=MAX_FILE_BYTES)
    _check_whole(data, name)
    try:
        with _quiet(data), soundfile.SoundFile(_Bytes(data)) as file:
            _check_header(file, name)
            facts_of = (file.samplerate, file.channels, file.format, file.subtype)
            mono = _read_blocks(file, name)
    except InputError:
        raise
    except (soundfile.SoundFileError, RuntimeError, OSError, ValueError, TypeError) as error:
        # libsndfile's own words: soundfile's would hold an address in memory, another one each
        # time.
        reason = getattr(error, "error_string", str(error)).strip() or type(error).__name__
        raise InputError(
            name,
            f"expected a wav, 16 kHz mono at best, found no readable sound ({reason})",
            "fetch or convert the file again",
        ) from None
    facts = Facts(*facts_of, frames=len(mono))
    if facts.rate != SAMPLE_RATE:
        mono = soxr.resample(mono, facts.rate, SAMPLE_RATE, quality="HQ")
    if not len(mono):
        raise InputError(name, "expected sound, found no samples", "fetch the file again")
    return np.ascontiguousarray(mono, dtype=np.float32), facts


class _Bytes(io.BytesIO):
    """A file that stays where it is when a damaged header sends libsndfile to before its beginning.

    An error raised there would not be caught, but printed.
    """

    def seek(self, offset: int, whence: int = 0, /) -> int:
        with suppress(ValueError):
            super().seek(offset, whence)
        return self.tell()


@contextmanager
def _quiet(data: bytes) -> Iterator[None]:
    """Keep the MP3 decoder, which is tried on all that no other format knows, from writing to
    standard error.
    """
    if data.startswith(SILENT_FORMATS):
        yield
        return
    standard = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(standard, 2)
        os.close(standard)


def _check_whole(data: bytes, name: str) -> None:
    """Refuse a wav that was cut off, which libsndfile reads as if it were a shorter one."""
    if data[:4] not in (b"RIFF", b"RIFX", b"RF64"):
        return
    order: Literal["big", "little"] = "big" if data[:4] == b"RIFX" else "little"
    start = 12
    while start + 8 <= len(data):
        chunk, size = data[start : start + 4], int.from_bytes(data[start + 4 : start + 8], order)
        there = len(data) - start - 8
        if chunk == b"data" and size != STREAMED and size - there > AMISS:
            raise InputError(
                name,
                f"expected all of them, found {there} of {size} bytes of sound",
                "fetch the file again",
            )
        start += 8 + size + size % 2


def _check_header(file: soundfile.SoundFile, name: str) -> None:
    if file.samplerate not in RATES:
        raise InputError(
            name,
            f"expected {RATES[0]} to {RATES[-1]}, found {file.samplerate} samples a second",
            "convert the file to 16 kHz",
        )
    if file.channels > MAX_CHANNELS:
        raise InputError(
            name,
            f"expected 1 to {MAX_CHANNELS}, found {file.channels} channels",
            "mix the file down to mono",
        )


def _read_blocks(file: soundfile.SoundFile, name: str) -> NDArray[np.float32]:
    """All samples (frames,), mixed block by block, so that memory follows what is there, not what a
    header says.
    """
    blocks: list[NDArray[np.float32]] = []
    total = 0
    while len(block := file.read(BLOCK // file.channels, dtype="float32", always_2d=True)):
        blocks.append(block[:, 0] if file.channels == 1 else block.mean(axis=1, dtype=np.float32))
        total += block.size
        if total > MAX_SAMPLES:
            raise InputError(
                name,
                f"expected a clip of speech, found more than {MAX_SAMPLES} samples",
                "cut the recording into clips",
            )
    mono = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not np.isfinite(mono).all():
        raise InputError(
            name, "expected numbers, found NaN or infinity in the sound", "export the file again"
        )
    return mono
