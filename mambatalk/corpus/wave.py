"""Reader of audio files: every format of libsndfile, as 16 kHz mono float32."""

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
SAMPLE_RATES: Final = range(8_000, 192_001)
BLOCK: Final = 2**18
UNKNOWN_SIZE: Final = 2**32 - 1
"""Size of the data chunk that a wav writer states when it streams and does not know the size."""
MAX_MISSING_BYTES: Final = 4096
"""Headers of complete files are wrong by up to this many bytes (about 0.1 s)."""
QUIET_FORMATS: Final = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd")
"""First bytes of the formats whose decoders write nothing to standard error."""


@dataclass(frozen=True)
class AudioFormat:
    """Format of an audio file, before channels are averaged and the rate is changed."""

    sample_rate: int
    """Samples per second."""
    channels: int
    container: str
    """Container as named by libsndfile: WAV, WAVEX, MP3, FLAC, ..."""
    encoding: str
    """Encoding as named by libsndfile: PCM_16, PCM_24, FLOAT, ..."""
    frames: int
    """Samples per channel."""


def read_wav(
    source: Source, *, where: str | None = None
) -> tuple[NDArray[np.float32], AudioFormat]:
    """Read audio as a mono waveform at 16 kHz.

    Channels are averaged and other sample rates are resampled with soxr (high quality). The format
    is detected from the content, not from the file name: BEATX has float32 PCM among its int16
    files, and MP3 under `.wav`.

    Args:
        source: Path, or the file's bytes.
        where: Location shown in error messages. If None, use the path.

    Returns:
        Waveform (S,) float32 at 16 kHz, and the format of the file.

    Raises:
        InputError: The file is not audio, is damaged or empty, or has a sample rate, a number of
            channels or a length outside the accepted range.

    """
    data, name = load_bytes(source, where=where, limit=MAX_FILE_BYTES)
    _check_not_truncated(data, name)
    try:
        with _decoder_output_hidden(data), soundfile.SoundFile(_ClampedBytesIO(data)) as file:
            _check_header(file, name)
            header = (file.samplerate, file.channels, file.format, file.subtype)
            waveform = _read_blocks(file, name)
    except InputError:
        raise
    except (soundfile.SoundFileError, RuntimeError, OSError, ValueError, TypeError) as error:
        # Use the message of libsndfile: soundfile adds a memory address that changes every time.
        reason = getattr(error, "error_string", str(error)).strip() or type(error).__name__
        raise InputError(
            name,
            f"expected audio, preferably a 16 kHz mono wav, found an unreadable file ({reason})",
            "download or convert the file again",
        ) from None

    audio_format = AudioFormat(*header, frames=len(waveform))
    if audio_format.sample_rate != SAMPLE_RATE:
        waveform = soxr.resample(waveform, audio_format.sample_rate, SAMPLE_RATE, quality="HQ")
    if not len(waveform):
        raise InputError(
            name, "expected audio, found no samples", "download or convert the file again"
        )
    return np.ascontiguousarray(waveform, dtype=np.float32), audio_format


class _ClampedBytesIO(io.BytesIO):
    """A file that ignores seeks to invalid positions.

    Damaged headers make libsndfile seek before the start. An exception raised in its callback
    would be printed instead of caught.
    """

    def seek(self, offset: int, whence: int = 0, /) -> int:
        with suppress(ValueError):
            super().seek(offset, whence)
        return self.tell()


@contextmanager
def _decoder_output_hidden(data: bytes) -> Iterator[None]:
    """Hide what the MP3 decoder writes to standard error.

    libsndfile tries the MP3 decoder on every file that no other format recognises.
    """
    if data.startswith(QUIET_FORMATS):
        yield
        return
    stderr_copy = os.dup(2)
    with open(os.devnull, "wb") as null_device:
        os.dup2(null_device.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr_copy, 2)
        os.close(stderr_copy)


def _check_not_truncated(data: bytes, name: str) -> None:
    """Refuse a truncated wav, which libsndfile would read as a shorter file."""
    if data[:4] not in (b"RIFF", b"RIFX", b"RF64"):
        return
    byte_order: Literal["big", "little"] = "big" if data[:4] == b"RIFX" else "little"
    start = 12
    while start + 8 <= len(data):
        chunk = data[start : start + 4]
        size = int.from_bytes(data[start + 4 : start + 8], byte_order)
        available = len(data) - start - 8
        if chunk == b"data" and size != UNKNOWN_SIZE and size - available > MAX_MISSING_BYTES:
            raise InputError(
                name,
                f"expected {size} bytes of audio, found {available} bytes",
                "download or copy the file again",
            )
        start += 8 + size + size % 2


def _check_header(file: soundfile.SoundFile, name: str) -> None:
    if file.samplerate not in SAMPLE_RATES:
        raise InputError(
            name,
            f"expected a sample rate from {SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} Hz,"
            f" found {file.samplerate} Hz",
            "convert the file to 16 kHz",
        )
    if file.channels > MAX_CHANNELS:
        raise InputError(
            name,
            f"expected 1 to {MAX_CHANNELS} channels, found {file.channels}",
            "mix the file down to mono",
        )


def _read_blocks(file: soundfile.SoundFile, name: str) -> NDArray[np.float32]:
    """Read all samples as mono (frames,).

    Reading in blocks bounds memory by the samples that exist, not by the count in the header.
    """
    blocks: list[NDArray[np.float32]] = []
    total = 0
    while len(block := file.read(BLOCK // file.channels, dtype="float32", always_2d=True)):
        blocks.append(block[:, 0] if file.channels == 1 else block.mean(axis=1, dtype=np.float32))
        total += block.size
        if total > MAX_SAMPLES:
            raise InputError(
                name,
                f"expected at most {MAX_SAMPLES} samples, found more",
                "cut the recording into clips",
            )
    waveform = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not np.isfinite(waveform).all():
        raise InputError(
            name, "expected finite samples, found NaN or infinity", "export the file again"
        )
    return waveform
