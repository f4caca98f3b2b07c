"""Generated motion, alone or beside ground truth: a video with audio, a preview and a still."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambatalk.console import Progress
from mambatalk.corpus.textgrid import Interval
from mambatalk.errors import InputError
from mambatalk.files import atomic_file
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.rendering.bands import PAPER, Captions, Note, WaveformBand, label_band
from mambatalk.rendering.panel import GAP, Panel, even
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
PREVIEW_HEIGHT: Final = 376
PREVIEW_QUALITY: Final = 60
WIDTH: Final = 16 / 9
"""Width of a video relative to its height."""
LABEL_HEIGHT: Final = 0.072
WAVEFORM_HEIGHT: Final = 0.128
CAPTION_HEIGHT: Final = 0.056
"""Heights of the bands relative to that of the video. Captions take theirs from the waveform."""
STILL_LABEL_HEIGHT: Final = 0.09
"""Relative to the height of a figure."""
RENDERER: Final = "software renderer of mambatalk"
"""What draws the figures, without a display, a GPU or OpenGL."""
MAX_THREADS: Final = 4


def render_video(
    out: str | Path,
    *,
    generated: SmplxMotion,
    truth: SmplxMotion | None,
    body: Body,
    waveform: NDArray[np.float32],
    seconds: float,
    height: int,
    words: Sequence[Interval] = (),
    progress: Progress | None = None,
) -> None:
    """Write an mp4 of the motions side by side, with audio, its words and a waveform below.

    Args:
        out: The mp4 to write.
        generated: Motion at 30 fps, drawn on the left.
        truth: The recorded motion, drawn on the right. If None, draw the generated one alone.
        body: Body model. The stand-in body is named in the video.
        waveform: Audio (S,) at 16 kHz.
        seconds: Longest duration. The video ends with the shorter motion.
        height: Height of the video in pixels; its width is 16/9 of it.
        words: Words of the speech with their times, which are written below the figures.
        progress: Called with the number of finished frames and the total.

    Raises:
        InputError: A motion has no frames, or the video cannot be written.

    """
    motions = _motions(generated, truth)
    frames = _frames(motions, seconds, out)
    film = _Film([motion[:frames] for motion in motions], body, waveform, words, height=height)
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
    words: Sequence[Interval] = (),
) -> None:
    """Write the first four seconds of the video without audio, as an animated WebP for a README.

    Args:
        out: The webp to write.
        generated: Motion at 30 fps, drawn on the left.
        truth: The recorded motion, drawn on the right. If None, draw the generated one alone.
        body: Body model.
        waveform: Audio (S,) at 16 kHz, drawn below.
        words: Words of the speech with their times.

    Raises:
        InputError: A motion has no frames, or the file cannot be written.

    """
    motions = _motions(generated, truth)
    frames = _frames(motions, PREVIEW_SECONDS, out)
    film = _Film(
        [motion[:frames] for motion in motions], body, waveform, words, height=PREVIEW_HEIGHT
    )
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
    panels = _panels([generated[:frames], truth[:frames]], body, height=even(size))
    moments = ((np.arange(STILLS) + 0.5) / STILLS * frames).astype(np.int64)
    gap = panels[0].gap
    rows: list[Picture] = []
    for label, panel in zip(LABELS, panels, strict=True):
        pictures = list(panel.pictures(moments))
        for moment, picture in zip(moments, pictures, strict=True):
            Note(f"{moment / FPS:.1f} s", scale=NOTE_SCALE).write(picture)
        row = _beside(pictures, 2 * gap)
        note = _note(body) if not rows else ""
        height = even(STILL_LABEL_HEIGHT * size)
        rows.append(label_band([label], width=row.shape[1], height=height, note=note))
        rows.append(row)
    with atomic_file(out) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary, format="PNG")


class _Film:
    """The figures side by side, labels above, and below words and the waveform with its cursor.

    Args:
        motions: The generated motion, and the recorded one, as long, if there is one.
        body: Body model.
        waveform: Audio (S,) at 16 kHz. It is cut, or extended by silence, to the motion.
        words: Words with their times. If empty, the waveform takes their place.
        height: Height in pixels.

    """

    def __init__(
        self,
        motions: list[SmplxMotion],
        body: Body,
        waveform: NDArray[np.float32],
        words: Sequence[Interval],
        *,
        height: int,
    ) -> None:
        self._frames = len(motions[0])
        self.waveform = np.zeros(self._frames * SAMPLE_RATE // FPS, np.float32)
        self.waveform[: len(waveform)] = waveform[: len(self.waveform)]
        self.height = even(height)
        self.width = even(WIDTH * height)

        label_height = even(LABEL_HEIGHT * height)
        caption_height = even(CAPTION_HEIGHT * height) if words else 0
        waveform_height = even(WAVEFORM_HEIGHT * height) - caption_height
        figure_height = self.height - label_height - caption_height - waveform_height
        self._gap = 2 * even(GAP * figure_height)
        panel_width = (self.width - self._gap * (len(motions) - 1)) // len(motions)
        self._panels = _panels(motions, body, height=figure_height, width=panel_width)
        self._labels = label_band(
            list(LABELS[: len(motions)]), width=self.width, height=label_height, note=_note(body)
        )
        self._captions = None
        if words:
            self._captions = Captions(words, width=self.width, height=caption_height)
        self._band = WaveformBand(
            self.waveform,
            width=self.width,
            height=waveform_height,
            seconds=self._frames / FPS,
        )

    def pictures(self, frames: NDArray[np.int64]) -> Iterator[Picture]:
        """Yield the pictures (height, width, 3) of the given frames."""
        meshes = zip(*(panel.meshes(frames) for panel in self._panels), strict=True)
        with ThreadPoolExecutor(drawing_threads()) as pool:
            drawn = (
                pool.submit(self._picture, frame, vertices)
                for frame, vertices in zip(frames, meshes, strict=True)
            )
            yield from _in_order(drawn, ahead=drawing_threads())

    def _picture(self, frame: np.int64, meshes: tuple[NDArray[np.float32], ...]) -> Picture:
        picture = np.full((self.height, self.width, 3), PAPER, np.uint8)
        top = len(self._labels)
        picture[:top] = self._labels
        left = 0
        for panel, vertices in zip(self._panels, meshes, strict=True):
            picture[top : top + panel.height, left : left + panel.width] = panel.draw(
                frame, vertices
            )
            left += panel.width + self._gap
        top += self._panels[0].height
        if self._captions:
            picture[top : top + self._captions.height] = self._captions.at((frame + 0.5) / FPS)
            top += self._captions.height
        picture[top:] = self._band.at((frame + 0.5) / self._frames)
        return picture


def drawing_threads() -> int:
    """Return how many threads draw the frames of a video."""
    return min(os.cpu_count() or 1, MAX_THREADS)


def _in_order(futures: Iterable[Future[Picture]], *, ahead: int) -> Iterator[Picture]:
    """Yield results in order.

    Args:
        futures: Futures; each one starts its work when it is taken from the iterable.
        ahead: Number of futures that are started before the oldest result is taken.

    """
    waiting: deque[Future[Picture]] = deque()
    for future in futures:
        waiting.append(future)
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    for future in waiting:
        yield future.result()


def _motions(generated: SmplxMotion, truth: SmplxMotion | None) -> list[SmplxMotion]:
    return [generated] if truth is None else [generated, truth]


def _panels(
    motions: list[SmplxMotion], body: Body, *, height: int, width: int | None = None
) -> list[Panel]:
    """Return the panels of the motions, on the floor of the last one and in its scale.

    The last one is the recording, if there is one.
    """
    scenes = [Scene(motion, body) for motion in motions]
    floor, stature = scenes[-1].floor(), scenes[-1].stature()
    return [
        Panel(scene, colour=colour, floor=floor, stature=stature, height=height, width=width)
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
