"""Read recordings of any common format in pieces, as 16 kHz mono, however long they are.

PyAV (the libraries of ffmpeg) decodes: wav, flac, mp3, ogg, opus, m4a, and the sound of videos.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from mambatalk.errors import InputError
from mambatalk.files import path_errors
from mambatalk.motion.skeleton import SAMPLE_RATE

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

MAX_SECONDS: Final = 2 * 3600 + 60
"""Two hours, and a minute of tolerance."""
MISSING_SECONDS: Final = 0.5
"""A file whose header states this much more than can be decoded is truncated."""
MISSING_BYTES: Final = 4096
"""Headers of complete wav files are wrong by up to this many bytes."""
STREAMED_SIZE: Final = 2**31 - 1
"""Writers that do not know the size of a file state this many bytes or more."""
HINT: Final = "convert or record the file again"


class Recording:
    """The sound of an audio or video file.

    Args:
        path: The file. The format is detected from its content, not from its name.
        name: Name in messages. If None, the path.
        max_seconds: Longest duration in seconds.

    """

    def __init__(
        self, path: str | Path, *, name: str | None = None, max_seconds: float = MAX_SECONDS
    ) -> None:
        self.path = Path(path)
        self.name = name or str(path)
        self.max_seconds = max_seconds
        self.truncated_at: float | None = None
        """Seconds after which a truncated file ends; known after `chunks` has read it."""

    def waveform(self) -> NDArray[np.float32]:
        """Read the whole recording (S,) at 16 kHz.

        Raises:
            InputError: As `chunks`.

        """
        return np.concatenate(list(self.chunks()))

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """Read consecutive pieces (s,) at 16 kHz; channels are averaged.

        Damaged packets are skipped, as players do.

        Raises:
            InputError: The file is missing, holds no sound that can be decoded, samples that are
                not finite, or is too long.

        """
        import av

        with path_errors(self.name, expected="a readable file"), self.path.open("rb") as file:
            header = file.read(8)
            size = file.seek(0, os.SEEK_END)
        if not header:
            raise InputError(self.name, "expected audio, found an empty file", HINT)
        samples = 0
        try:
            with av.open(str(self.path), metadata_errors="replace") as container:
                if not container.streams.audio:
                    raise InputError(
                        self.name,
                        "expected audio, found a file without sound",
                        "give a recording of speech",
                    )
                stream = container.streams.audio[0]
                for chunk in _resampled(_blocks(container, stream)):
                    samples += len(chunk)
                    self._check(chunk, samples)
                    yield chunk
                stated = _stated_seconds(container, stream)
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                self.name, f"expected audio, found a file that cannot be decoded ({reason})", HINT
            ) from None
        if not samples:
            raise InputError(self.name, "expected audio, found no sound in the file", HINT)
        seconds = samples / SAMPLE_RATE
        if stated - seconds > MISSING_SECONDS or _is_short_riff(header, size):
            self.truncated_at = seconds

    def _check(self, chunk: NDArray[np.float32], samples: int) -> None:
        if not np.isfinite(chunk).all():
            raise InputError(
                self.name, "expected finite samples, found NaN or infinity", "export it again"
            )
        if samples > self.max_seconds * SAMPLE_RATE:
            raise InputError(
                self.name,
                f"expected at most {self.max_seconds / 60:g} minutes, found more",
                "cut the recording into shorter ones",
            )


def read_audio(path: str | Path) -> NDArray[np.float32]:
    """Read a recording of any common format as a waveform (S,), mono at 16 kHz.

    Raises:
        InputError: As `Recording.chunks`.

    """
    return Recording(path).waveform()


def _stated_seconds(container: "InputContainer", stream: "AudioStream") -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6


def _is_short_riff(header: bytes, size: int) -> bool:
    """Return whether a wav file is shorter than its header states; ffmpeg does not compare them."""
    stated = int.from_bytes(header[4:], "little")
    return header[:4] == b"RIFF" and size + MISSING_BYTES < stated < STREAMED_SIZE


def _blocks(
    container: "InputContainer", stream: "AudioStream"
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the sample rate and mono samples (s,) of each decoded frame."""
    import av

    resampler = av.AudioResampler(format="fltp")
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        for frame in frames:
            for planar in resampler.resample(frame):
                yield planar.sample_rate, planar.to_ndarray().mean(axis=0, dtype=np.float32)


def _resampled(blocks: Iterator[tuple[int, NDArray[np.float32]]]) -> Iterator[NDArray[np.float32]]:
    """Resample blocks to 16 kHz with soxr, as the readers of the corpus do."""
    first = next(blocks, None)
    if first is None:
        return
    rate, block = first
    if rate == SAMPLE_RATE:
        yield block
        yield from (other for _, other in blocks)
        return
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    yield stream.resample_chunk(block)
    for _, other in blocks:
        yield stream.resample_chunk(other)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
