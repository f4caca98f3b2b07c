"""Encode pictures and audio as mp4 (H.264, AAC)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.errors import InputError
from mambatalk.files import atomic_file
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE

Picture = NDArray[np.uint8]

# The same pictures give the same bytes: one thread, no version of the encoder in the file, and no
# macroblock-tree rate control, whose result in libx264 varied from run to run in one process
# (5 different files of 6; with asm=0 or mbtree=0 one). Without it a file of CRF 21 is half as large
# again, hence CRF 23; the pictures of both settings were not compared.
_CONTAINER: Final = {"movflags": "+faststart", "fflags": "+bitexact"}
_VIDEO: Final = {
    "preset": "veryfast",
    "crf": "23",
    "threads": "1",
    "flags": "+bitexact",
    "x264-params": "mbtree=0",
}
_AUDIO: Final = {"flags": "+bitexact"}
_AUDIO_BITS_PER_SECOND: Final = 96_000


@contextmanager
def open_video(
    path: str | Path, *, width: int, height: int, waveform: NDArray[np.float32]
) -> Iterator[Callable[[Picture], None]]:
    """Open a video at 30 frames per second and yield the function that adds a picture.

    The file appears when the block ends without an error.

    Args:
        path: The mp4 to write.
        width: Width in pixels, even.
        height: Height in pixels, even.
        waveform: Audio (S,) at 16 kHz, as long as the video.

    Yields:
        A function that takes one picture (height, width, 3) in RGB.

    Raises:
        InputError: The file cannot be encoded or written.

    """
    import av

    with atomic_file(path) as temporary:
        try:
            with av.open(str(temporary), "w", format="mp4", options=_CONTAINER) as container:
                video = container.add_stream("libx264", rate=FPS, options=_VIDEO)
                video.width = width
                video.height = height
                video.pix_fmt = "yuv420p"
                audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options=_AUDIO)
                audio.bit_rate = _AUDIO_BITS_PER_SECOND

                def add(picture: Picture) -> None:
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    container.mux(video.encode(frame))

                yield add
                container.mux(video.encode())
                container.mux(audio.encode(_audio_frame(waveform)))
                container.mux(audio.encode())
        except av.FFmpegError as error:
            raise InputError(
                path,
                f"expected a file to write an mp4 to, found that encoding fails ({error})",
                "check the disk and the folder",
            ) from error


def _audio_frame(waveform: NDArray[np.float32]) -> Any:
    import av

    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(waveform, np.float32)[None], format="fltp", layout="mono"
    )
    frame.sample_rate = SAMPLE_RATE
    frame.pts = 0
    return frame
