"""Generated motion beside ground truth: a film with sound, and a still of a few moments."""

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
from mambatalk.rendering.scene import Scene, shared_camera
from mambatalk.rendering.strip import Waveform, label_band
from mambatalk.rendering.video import film

Picture = NDArray[np.uint8]

LABELS: Final = (("generated", (84, 132, 196)), ("ground truth", (204, 186, 164)))
"""What each figure is, and its colour."""
STILLS: Final = 6


def render_comparison(
    out: str | Path,
    *,
    generated: SmplxMotion,
    truth: SmplxMotion,
    body: Body,
    wave: NDArray[np.float32],
    seconds: float,
    size: int,
) -> None:
    """Write an mp4 of both motions side by side with their sound, its waveform and a cursor below.

    Args:
        out: The mp4.
        generated: SmplxMotion at 30 fps, drawn left.
        truth: The recording, drawn right.
        body: Whose mesh; with the stand-in the film says so.
        wave: Sound (S,) at 16 kHz.
        seconds: Length at most; the shorter motion ends the film.
        size: Height of one figure in pixels.

    Raises:
        InputError: A motion has no frames, or ffmpeg fails.

    """
    pair = _Pair(generated, truth, body, frames=_frames(generated, truth, seconds, out), size=size)
    length = pair.frames / FPS
    heard = np.zeros(pair.frames * SAMPLE_RATE // FPS, np.float32)
    heard[: len(wave)] = wave[: len(heard)]
    band = label_band(list(LABELS), width=2 * pair.width, height=_even(0.09 * size), note=pair.note)
    strip = Waveform(heard, width=2 * pair.width, height=_even(0.16 * size), seconds=length)
    height = len(band) + pair.height + strip.height
    with film(out, width=2 * pair.width, height=height, wave=heard) as stream:
        for k, shots in enumerate(zip(*pair.shots(np.arange(pair.frames)), strict=True)):
            picture = np.concatenate(
                [band, np.concatenate(shots, axis=1), strip.at((k + 0.5) / pair.frames)]
            )
            stream.write(picture.tobytes())


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

    Raises:
        InputError: A motion has no frames.

    """
    pair = _Pair(generated, truth, body, frames=_frames(generated, truth, seconds, out), size=size)
    moments = ((np.arange(STILLS) + 0.5) / STILLS * pair.frames).astype(np.int64)
    rows = [np.concatenate(list(shots), axis=1) for shots in pair.shots(moments)]
    bands = [
        label_band(
            [label],
            width=STILLS * pair.width,
            height=_even(0.09 * size),
            note=pair.note if k == 0 else "",
        )
        for k, label in enumerate(LABELS)
    ]
    picture = np.concatenate([part for pieces in zip(bands, rows, strict=True) for part in pieces])
    with atomic_file(out) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


class _Pair:
    """Two scenes before one camera and on one floor, that of the recording."""

    def __init__(
        self,
        generated: SmplxMotion,
        truth: SmplxMotion,
        body: Body,
        *,
        frames: int,
        size: int,
    ) -> None:
        self.frames = frames
        self.width, self.height = _even(0.84 * size), _even(size)
        self.note = "stand-in body" if body.kind == "stand-in" else ""
        self._scenes = [Scene(motion[:frames], body) for motion in (generated, truth)]
        self._floor = self._scenes[1].floor()
        self._boxes = [scene.box() for scene in self._scenes]
        self._camera = shared_camera(self._boxes, self._floor, width=self.width, height=self.height)

    def shots(self, picked: NDArray[np.int64]) -> list[Iterator[Picture]]:
        """An iterator over pictures for each scene."""
        return [
            scene.shots(
                picked, centre=box.centre, camera=self._camera, floor=self._floor, colour=colour
            )
            for scene, box, (_, colour) in zip(self._scenes, self._boxes, LABELS, strict=True)
        ]


def _frames(generated: SmplxMotion, truth: SmplxMotion, seconds: float, out: str | Path) -> int:
    frames = min(len(generated), len(truth), round(seconds * FPS))
    if frames < 1:
        raise InputError(
            out,
            "expected motions and a length of at least one frame, found no frame to draw",
            "check the result file and render.seconds",
        )
    return frames


def _even(pixels: float) -> int:
    return 2 * round(pixels / 2)
