"""Generated motion beside ground truth: a video with audio, and a still of a few moments."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambatalk.errors import InputError
from mambatalk.files import atomic_file
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.rendering.bands import WaveformBand, label_band
from mambatalk.rendering.scene import Scene, shared_camera
from mambatalk.rendering.video import open_video

Picture = NDArray[np.uint8]

LABELS: Final = (("generated", (84, 132, 196)), ("ground truth", (204, 186, 164)))
"""Label of each figure, and its colour."""
STILLS: Final = 6
FIGURE_WIDTH: Final = 0.84
LABEL_HEIGHT: Final = 0.09
WAVEFORM_HEIGHT: Final = 0.16
"""Sizes relative to the height of a figure."""


def render_video(
    out: str | Path,
    *,
    generated: SmplxMotion,
    truth: SmplxMotion,
    body: Body,
    waveform: NDArray[np.float32],
    seconds: float,
    size: int,
) -> None:
    """Write an mp4 of both motions side by side, with audio and a waveform with a cursor below.

    Args:
        out: The mp4 to write.
        generated: Motion at 30 fps, drawn on the left.
        truth: The recorded motion, drawn on the right.
        body: Body model. The stand-in body is named in the video.
        waveform: Audio (S,) at 16 kHz.
        seconds: Longest duration. The video ends with the shorter motion.
        size: Height of one figure in pixels.

    Raises:
        InputError: A motion has no frames, or the video cannot be written.

    """
    frames = _frames(generated, truth, seconds, out)
    pair = _Pair(generated[:frames], truth[:frames], body, size=size)
    width = 2 * pair.width
    audio = np.zeros(frames * SAMPLE_RATE // FPS, np.float32)
    audio[: len(waveform)] = waveform[: len(audio)]

    labels = label_band(
        list(LABELS), width=width, height=_even(LABEL_HEIGHT * size), note=pair.note
    )
    band = WaveformBand(
        audio, width=width, height=_even(WAVEFORM_HEIGHT * size), seconds=frames / FPS
    )
    height = len(labels) + pair.height + band.height
    with open_video(out, width=width, height=height, waveform=audio) as add_picture:
        for k, figures in enumerate(zip(*pair.pictures(np.arange(frames)), strict=True)):
            cursor = (k + 0.5) / frames
            rows = [labels, np.concatenate(figures, axis=1), band.at(cursor)]
            add_picture(np.concatenate(rows))


def render_still(
    out: str | Path,
    *,
    generated: SmplxMotion,
    truth: SmplxMotion,
    body: Body,
    seconds: float,
    size: int,
) -> None:
    """Write a png of six moments spread over the first `seconds`, generated above ground truth.

    Args:
        out: The png to write.
        generated: Motion at 30 fps.
        truth: The recorded motion.
        body: Body model.
        seconds: Longest duration that the moments are chosen from.
        size: Height of one figure in pixels.

    Raises:
        InputError: A motion has no frames, or the file cannot be written.

    """
    frames = _frames(generated, truth, seconds, out)
    pair = _Pair(generated[:frames], truth[:frames], body, size=size)
    moments = ((np.arange(STILLS) + 0.5) / STILLS * frames).astype(np.int64)
    parts = []
    for k, (label, pictures) in enumerate(zip(LABELS, pair.pictures(moments), strict=True)):
        parts.append(
            label_band(
                [label],
                width=STILLS * pair.width,
                height=_even(LABEL_HEIGHT * size),
                note=pair.note if k == 0 else "",
            )
        )
        parts.append(np.concatenate(list(pictures), axis=1))
    with atomic_file(out) as temporary:
        Image.fromarray(np.concatenate(parts)).save(temporary, format="PNG")


class _Pair:
    """Two scenes with one camera, on the floor of the recording."""

    def __init__(
        self, generated: SmplxMotion, truth: SmplxMotion, body: Body, *, size: int
    ) -> None:
        self.width = _even(FIGURE_WIDTH * size)
        self.height = _even(size)
        self.note = "stand-in body" if body.kind == "stand-in" else ""
        self._scenes = [Scene(motion, body) for motion in (generated, truth)]
        self._floor = self._scenes[1].floor()
        self._boxes = [scene.box() for scene in self._scenes]
        self._camera = shared_camera(self._boxes, self._floor, width=self.width, height=self.height)

    def pictures(self, frames: NDArray[np.int64]) -> list[Iterator[Picture]]:
        """Return an iterator over the pictures of the given frames for each scene."""
        return [
            scene.pictures(
                frames, centre=box.centre, camera=self._camera, floor=self._floor, colour=colour
            )
            for scene, box, (_, colour) in zip(self._scenes, self._boxes, LABELS, strict=True)
        ]


def _frames(generated: SmplxMotion, truth: SmplxMotion, seconds: float, out: str | Path) -> int:
    frames = min(len(generated), len(truth), round(seconds * FPS))
    if frames < 1:
        raise InputError(
            out,
            "expected motions and a duration of at least one frame, found no frame to draw",
            "check the result file and render.seconds",
        )
    return frames


def _even(pixels: float) -> int:
    """Round to an even number of pixels, which H.264 with 4:2:0 chroma requires."""
    return 2 * round(pixels / 2)
