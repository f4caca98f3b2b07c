"""Speech of one clip as 16 kHz mono, whatever the file holds: 16, 24 or 32 bit, float, stereo, another rate, MP3."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from mambatalk.data.readers.source import Source, load, parsing
from mambatalk.errors import UserError
from mambatalk.motion.skeleton import SAMPLE_RATE

LIMIT = 1 << 31
_EXPECTED = "a sound file that libsndfile reads, 4 to 384 kHz, 1 to 8 channels, at most 3 hours"
_SECONDS = 3 * 3600
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Facts:
    """What the file was before it became 16 kHz mono."""

    rate: int
    """Samples a second."""
    channels: int
    subtype: str
    """libsndfile's word for the coding, such as PCM_16, PCM_24, FLOAT, MPEG_LAYER_III."""
    container: str
    """WAV, MP3, FLAC ...: what the bytes are, not what the name says."""
    seconds: float


def read_wav(source: Source, *, name: str = "data") -> tuple[NDArray[np.float32], Facts]:
    """Samples (S,) at 16 kHz in float32, channels averaged, and what the file was.

    Integer samples become [-1, 1); float samples keep their values.

    Raises:
        UserError: No sound in the file, or sound out of the bounds named in the message.

    """
    data, name = load(source, name, limit=LIMIT, expected=_EXPECTED)
    with parsing(name, expected=_EXPECTED), soundfile.SoundFile(io.BytesIO(data)) as file:
        if not 4000 <= file.samplerate <= 384_000 or not 1 <= file.channels <= 8:
            raise UserError(name, found=f"{file.samplerate} Hz, {file.channels} channels", expected=_EXPECTED,
                            do="convert the sound to 16 kHz mono")
        samples = _read_mono(file, name)
        rate, channels, subtype, container = file.samplerate, file.channels, file.subtype, file.format
    if not len(samples):
        raise UserError(name, found="no samples", expected=_EXPECTED, do="get the file again")
    facts = Facts(rate, channels, subtype, container, len(samples) / rate)
    return _resample(samples, rate), facts


def _read_mono(file: soundfile.SoundFile, name: str) -> NDArray[np.float32]:
    """Read block by block: a header may promise more than the file, or memory, holds."""
    blocks: list[NDArray[np.float32]] = []
    total = 0
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        blocks.append(block.mean(axis=1))
        total += len(block)
        if total > _SECONDS * file.samplerate:
            raise UserError(name, found="more than 3 hours of sound", expected=_EXPECTED, do="cut it into clips")
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _resample(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    if rate == SAMPLE_RATE:
        return samples
    return soxr.resample(samples, rate, SAMPLE_RATE, quality="VHQ")
