"""Generated motion, alone or beside ground truth: a video with audio, a preview and a still."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambatalk.console import Progress
from mambatalk.errors import InputError
from mambatalk.files import atomic_file
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.rendering.bands import PAPER, WaveformBand, label_band, write_note
from mambatalk.rendering.panel import Panel, even
from mambatalk.rendering.scene import Scene
from mambatalk.rendering.video import open_video

Picture = NDArray[np.uint8]

LABELS: Final = (("generated", (84, 132, 196)), ("ground truth", (204, 186, 164)))
"""Label of each figure, and its colour."""
STILLS: Final = 4
NOTE_SCALE: Final = 1.6
"""Pages show a still much smaller than it is."""
PREVIEW_SECONDS: Final = 4.0
PREVIEW_STEP: Final = 2
"""A preview shows every second frame: 15 per second."""
PREVIEW_SIZE: Final = 300
"""Height of one figure in pixels."""
PREVIEW_QUALITY: Final = 60
LABEL_HEIGHT: Final = 0.09
WAVEFORM_HEIGHT: Final = 0.16
"""Sizes relative to the height of a figure."""


def render_video(
    out: str | Path,
    *,
    generated: SmplxMotion,
    truth: SmplxMotion | None,
    body: Body,
    waveform: NDArray[np.float32],
    seconds: float,
    size: int,
    progress: Progress | None = None,
) -> None:
    """Write an mp4 of the motions side by side, with audio and a waveform with a cursor below.

    Args:
        out: The mp4 to write.
        generated: Motion at 30 fps, drawn on the left.
        truth: The recorded motion, drawn on the right. If None, draw the generated one alone.
        body: Body model. The stand-in body is named in the video.
        waveform: Audio (S,) at 16 kHz.
        seconds: Longest duration. The video ends with the shorter motion.
        size: Height of one figure in pixels.
        progress: Called with the number of finished frames and the total.

    Raises:
        InputError: A motion has no frames, or the video cannot be written.

    """
    motions = _motions(generated, truth)
    frames = _frames(motions, seconds, out)
    film = _Film([motion[:frames] for motion in motions], body, waveform, size=size)
    with open_video(
        out, width=film.width, height=film.height, waveform=film.waveform
    ) as add_picture:
        for done, picture in enumerate(film.pictures(np.arange(frames)), start=1):
            add_picture(picture)
            if progress:
                progress(done, frames)


def render_preview(
    out: str | Path,
    *,
    generated: SmplxMotion,
    truth: SmplxMotion | None,
    body: Body,
    waveform: NDArray[np.float32],
) -> None:
    """Write the first four seconds of the video without audio, as an animated WebP for a README.

    Args:
        out: The webp to write.
        generated: Motion at 30 fps, drawn on the left.
        truth: The recorded motion, drawn on the right. If None, draw the generated one alone.
        body: Body model.
        waveform: Audio (S,) at 16 kHz, drawn below.

    Raises:
        InputError: A motion has no frames, or the file cannot be written.

    """
    motions = _motions(generated, truth)
    frames = _frames(motions, PREVIEW_SECONDS, out)
    film = _Film([motion[:frames] for motion in motions], body, waveform, size=PREVIEW_SIZE)
    moments = np.arange(0, frames, PREVIEW_STEP)
    first, *others = (Image.fromarray(picture) for picture in film.pictures(moments))
    with atomic_file(out) as temporary:
        first.save(
            temporary,
            format="WEBP",
            save_all=True,
            append_images=others,
            duration=round(1000 * PREVIEW_STEP / FPS),
            loop=0,
            quality=PREVIEW_QUALITY,
        )


def render_still(
    out: str | Path,
    *,
    generated: SmplxMotion,
    truth: SmplxMotion,
    body: Body,
    seconds: float,
    size: int,
) -> None:
    """Write a png of four moments spread over the first `seconds`, generated above ground truth.

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
    frames = _frames([generated, truth], seconds, out)
    panels = _panels([generated[:frames], truth[:frames]], body, size=size)
    moments = ((np.arange(STILLS) + 0.5) / STILLS * frames).astype(np.int64)
    gap = panels[0].gap
    rows: list[Picture] = []
    for label, panel in zip(LABELS, panels, strict=True):
        stamped = [
            write_note(picture, f"{moment / FPS:.1f} s", scale=NOTE_SCALE)
            for moment, picture in zip(moments, panel.pictures(moments), strict=True)
        ]
        row = _beside(stamped, 2 * gap)
        note = _note(body) if not rows else ""
        rows.append(
            label_band([label], width=row.shape[1], height=even(LABEL_HEIGHT * size), note=note)
        )
        rows.append(row)
    with atomic_file(out) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary, format="PNG")


class _Film:
    """The figures side by side, labels above, and the waveform with its cursor below.

    Args:
        motions: The generated motion, and the recorded one, as long, if there is one.
        body: Body model.
        waveform: Audio (S,) at 16 kHz. It is cut, or extended by silence, to the motion.
        size: Height of one figure in pixels.

    """

    def __init__(
        self,
        motions: list[SmplxMotion],
        body: Body,
        waveform: NDArray[np.float32],
        *,
        size: int,
    ) -> None:
        self._frames = len(motions[0])
        self.waveform = np.zeros(self._frames * SAMPLE_RATE // FPS, np.float32)
        self.waveform[: len(waveform)] = waveform[: len(self.waveform)]
        self._panels = _panels(motions, body, size=size)
        self._gap = 2 * self._panels[0].gap
        gaps = self._gap * (len(motions) - 1)
        self.width = sum(panel.width for panel in self._panels) + gaps
        self._labels = label_band(
            list(LABELS[: len(motions)]),
            width=self.width,
            height=even(LABEL_HEIGHT * size),
            note=_note(body),
        )
        self._band = WaveformBand(
            self.waveform,
            width=self.width,
            height=even(WAVEFORM_HEIGHT * size),
            seconds=self._frames / FPS,
        )
        self.height = len(self._labels) + self._panels[0].height + self._band.height

    def pictures(self, frames: NDArray[np.int64]) -> Iterator[Picture]:
        """Yield the pictures (height, width, 3) of the given frames."""
        drawn = zip(*(panel.pictures(frames) for panel in self._panels), strict=True)
        for frame, figures in zip(frames, drawn, strict=True):
            cursor = (frame + 0.5) / self._frames
            rows = [self._labels, _beside(list(figures), self._gap), self._band.at(cursor)]
            yield np.concatenate(rows)


def _motions(generated: SmplxMotion, truth: SmplxMotion | None) -> list[SmplxMotion]:
    return [generated] if truth is None else [generated, truth]


def _panels(motions: list[SmplxMotion], body: Body, *, size: int) -> list[Panel]:
    """Return the panels of the motions, on the floor of the last one and in its scale.

    The last one is the recording, if there is one.
    """
    scenes = [Scene(motion, body) for motion in motions]
    floor, stature = scenes[-1].floor(), scenes[-1].stature()
    return [
        Panel(scene, colour=colour, floor=floor, stature=stature, size=size)
        for scene, (_, colour) in zip(scenes, LABELS, strict=False)
    ]


def _beside(pictures: list[Picture], gap: int) -> Picture:
    """Join pictures from left to right, with gaps between them."""
    space = np.full((len(pictures[0]), gap, 3), PAPER, np.uint8)
    spaced = [part for picture in pictures for part in (space, picture)]
    return np.concatenate(spaced[1:], axis=1)


def _note(body: Body) -> str:
    return "stand-in body" if body.kind == "stand-in" else ""


def _frames(motions: list[SmplxMotion], seconds: float, out: str | Path) -> int:
    frames = min(*map(len, motions), round(seconds * FPS))
    if frames < 1:
        raise InputError(
            out,
            "expected motions and a duration of at least one frame, found no frame to draw",
            "check the result file and render.seconds",
        )
    return frames
