"""Pictures and sound to mp4 (H.264, AAC) through the ffmpeg that imageio-ffmpeg carries."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
from numpy.typing import NDArray

from mambatalk.errors import InputError
from mambatalk.files import atomic_file
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE


@contextmanager
def film(
    path: str | Path, *, width: int, height: int, wave: NDArray[np.float32]
) -> Iterator[IO[bytes]]:
    """Yield a stream that takes frames as RGB bytes (height, width, 3), 30 a second; the file
    appears at the end.

    Args:
        path: The mp4.
        width: Pixels, even.
        height: Pixels, even.
        wave: Sound (S,) at 16 kHz, as long as the film.

    Raises:
        InputError: ffmpeg fails.

    """
    with atomic_file(path) as target, tempfile.TemporaryDirectory() as folder:
        sound, log = Path(folder) / "sound.wav", Path(folder) / "log"
        soundfile.write(sound, wave, SAMPLE_RATE)
        with log.open("wb") as errors:
            process = subprocess.Popen(
                _command(target, sound, width, height), stdin=subprocess.PIPE, stderr=errors
            )
        assert process.stdin is not None
        try:
            yield process.stdin
            process.stdin.close()
        except BrokenPipeError:  # ffmpeg has ended and says why below.
            pass
        except BaseException:
            process.kill()
            raise
        finally:
            code = process.wait()
        if code:
            raise InputError(
                path,
                "expected an mp4,"
                f" found a film that ffmpeg cannot write ({log.read_text(errors='replace')[-300:]})",
                "check the disk and the folder",
            )


def _command(target: Path, sound: Path, width: int, height: int) -> list[str]:
    import imageio_ffmpeg

    return [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-y",
        "-loglevel",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{width}x{height}",
        "-r",
        str(FPS),
        "-i",
        "-",
        "-i",
        str(sound),
        # One thread and no version in the file: the same film every time.
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-crf",
        "21",
        "-pix_fmt",
        "yuv420p",
        "-threads",
        "1",
        "-c:a",
        "aac",
        "-b:a",
        "96k",
        "-map_metadata",
        "-1",
        "-fflags",
        "+bitexact",
        "-flags:v",
        "+bitexact",
        "-flags:a",
        "+bitexact",
        "-movflags",
        "+faststart",
        str(target),
    ]
