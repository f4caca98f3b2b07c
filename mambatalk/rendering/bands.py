"""The bands around the figures: labels above, and below the words and a waveform with a cursor."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mambatalk.corpus.textgrid import Interval

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

PAPER: Colour = (247, 248, 250)
INK: Colour = (38, 44, 54)
FAINT: Colour = (120, 128, 140)
AHEAD: Colour = (178, 186, 198)
PLAYED: Colour = (64, 84, 112)
CURSOR: Colour = (214, 76, 58)
PAUSE: Final = 0.6
"""Seconds of silence at which a caption ends."""
HELD: Final = 1.0
"""Longest time in seconds that a caption stays after its last word."""


def label_band(
    labels: list[tuple[str, Colour]], *, width: int, height: int, note: str = ""
) -> Picture:
    """Draw labels above columns of equal width (height, width, 3).

    Args:
        labels: Text of each column, and the colour of the dot in front of it.
        width: Width in pixels.
        height: Height in pixels.
        note: Small text at the right end.

    """
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=round(0.5 * height))
    column = width / len(labels)
    dot = 0.32 * height
    for k, (text, colour) in enumerate(labels):
        length = draw.textlength(text, font=font)
        left = (k + 0.5) * column - (length + 1.6 * dot) / 2
        draw.ellipse((left, height / 2 - dot / 2, left + dot, height / 2 + dot / 2), fill=colour)
        draw.text((left + 1.6 * dot, height / 2), text, font=font, fill=INK, anchor="lm")
    if note:
        small = ImageFont.load_default(size=round(0.34 * height))
        place = (width - 0.3 * height, height / 2)
        draw.text(place, note, font=small, fill=FAINT, anchor="rm")
    return np.asarray(image)


class Note:
    """Small text in the upper left corner of pictures.

    Args:
        text: The text. A light outline keeps it legible over a figure.
        scale: Size of the text relative to 12 pixels.

    """

    def __init__(self, text: str, *, scale: float) -> None:
        font = ImageFont.load_default(size=12 * scale)
        place = (7 * scale, 5 * scale)
        right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox(
            place, text, font=font, stroke_width=1.5 * scale
        )[2:]
        image = Image.new("RGBA", (math.ceil(right), math.ceil(bottom)), (*PAPER, 0))
        ImageDraw.Draw(image).text(
            place, text, font=font, fill=INK, stroke_width=1.5 * scale, stroke_fill=PAPER
        )
        # Drawn once, because a video has the same notes in every frame.
        self._image = image

    def write(self, picture: Picture) -> None:
        """Write the text into a picture (height, width, 3), in place."""
        corner = picture[: self._image.height, : self._image.width]
        image = Image.fromarray(corner)
        image.paste(self._image, (0, 0), self._image)
        corner[:] = np.asarray(image)


class WaveformBand:
    """A band (height, width, 3) with a waveform, darker where it has been played.

    Args:
        waveform: Audio (S,) at any rate.
        width: Width in pixels.
        height: Height in pixels.
        seconds: Duration, which is printed.

    """

    def __init__(
        self, waveform: NDArray[np.float32], *, width: int, height: int, seconds: float
    ) -> None:
        self.width = width
        self.height = height
        self.seconds = seconds
        self._ahead, self._played = (
            _bars(waveform, width, height, colour) for colour in (AHEAD, PLAYED)
        )
        self._font = ImageFont.load_default(size=max(round(0.18 * height), 12))

    def at(self, share: float) -> Picture:
        """Draw the band when this share of the audio has been played."""
        x = int(round(share * (self.width - 1)))
        image = Image.fromarray(np.concatenate([self._played[:, :x], self._ahead[:, x:]], axis=1))
        text = f"{share * self.seconds:.1f} / {self.seconds:.1f} s"
        ImageDraw.Draw(image).text(
            (8, 5), text, font=self._font, fill=INK, stroke_width=3, stroke_fill=PAPER
        )
        picture = np.array(image)
        picture[:, max(x - 1, 0) : x + 1] = CURSOR
        return picture


class Captions:
    """The words that are spoken (height, width, 3), line by line, the current one in colour.

    Args:
        words: Words with their times. Those without text are pauses.
        width: Width in pixels.
        height: Height in pixels.

    """

    def __init__(self, words: Sequence[Interval], *, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._font = ImageFont.load_default(size=max(round(0.62 * height), 8))
        self._space = self._font.getlength(" ")
        longest = width - 2 * self._space
        spoken = []
        for word in sorted(words, key=lambda word: word.start):
            if text := self._fitting(" ".join(word.text.split()), longest):
                spoken.append(_Word(text, word.start, word.end, self._font.getlength(text)))
        self._lines: list[list[_Word]] = []
        for phrase in _phrases(spoken):
            self._lines += self._even_lines(phrase, longest)
        self._starts = [line[0].start for line in self._lines]

    def at(self, seconds: float) -> Picture:
        """Draw the line of a time; nothing in a long pause."""
        image = Image.new("RGB", (self.width, self.height), PAPER)
        number = bisect_right(self._starts, seconds) - 1
        if number < 0:
            return np.asarray(image)
        line = self._lines[number]
        if seconds >= line[-1].end + HELD:
            return np.asarray(image)
        draw = ImageDraw.Draw(image)
        left = (self.width - self._length(line)) / 2
        for word in line:
            colour = INK if seconds >= word.end else CURSOR if seconds >= word.start else FAINT
            draw.text((left, self.height / 2), word.text, font=self._font, fill=colour, anchor="lm")
            left += word.length + self._space
        return np.asarray(image)

    def _even_lines(self, phrase: "list[_Word]", longest: float) -> "list[list[_Word]]":
        """Divide a phrase into as few lines as fit, none of them much shorter than the others."""
        lines = self._filled_lines(phrase, longest)
        while len(lines) > 1:
            longest -= self._space
            shorter = self._filled_lines(phrase, longest)
            if len(shorter) > len(lines):
                break
            lines = shorter
        return lines

    def _filled_lines(self, phrase: "list[_Word]", longest: float) -> "list[list[_Word]]":
        lines = [phrase[:1]]
        for word in phrase[1:]:
            if self._length([*lines[-1], word]) > longest:
                lines.append([])
            lines[-1].append(word)
        return lines

    def _length(self, line: "list[_Word]") -> float:
        return sum(word.length for word in line) + self._space * (len(line) - 1)

    def _fitting(self, text: str, longest: float) -> str:
        """Return a word, cut if it alone is longer than a line."""
        if self._font.getlength(text) <= longest:
            return text
        kept = len(text)
        while kept and self._font.getlength(text[:kept] + "...") > longest:
            kept -= 1
        return text[:kept] + "..."


@dataclass(frozen=True)
class _Word:
    text: str
    start: float
    """Seconds."""
    end: float
    """Seconds."""
    length: float
    """Pixels."""


def _phrases(words: list[_Word]) -> list[list[_Word]]:
    """Divide words where the speaker pauses."""
    phrases: list[list[_Word]] = []
    for word in words:
        if not phrases or word.start - phrases[-1][-1].end >= PAUSE:
            phrases.append([])
        phrases[-1].append(word)
    return phrases


def _bars(waveform: NDArray[np.float32], width: int, height: int, colour: Colour) -> Picture:
    """Draw the largest amplitude of each column, upwards and downwards from the middle."""
    edges = np.linspace(0, len(waveform), width + 1).astype(np.int64)
    columns = zip(edges, edges[1:], strict=False)
    peaks = np.array([np.abs(waveform[first:last]).max(initial=0) for first, last in columns])
    peaks = peaks / max(float(peaks.max()), 1e-6)
    from_middle = np.abs(np.arange(height) + 0.5 - height / 2)[:, None]
    inside = from_middle <= np.maximum(0.42 * height * peaks, 0.6)
    bar, paper = np.array(colour, np.uint8), np.array(PAPER, np.uint8)
    return np.where(inside[..., None], bar, paper).astype(np.uint8)
