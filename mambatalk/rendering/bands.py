"""The bands around the figures: labels above, and below the waveform with a moving cursor."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

PAPER: Colour = (247, 248, 250)
INK: Colour = (38, 44, 54)
FAINT: Colour = (120, 128, 140)
AHEAD: Colour = (178, 186, 198)
PLAYED: Colour = (64, 84, 112)
CURSOR: Colour = (214, 76, 58)


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


def write_note(picture: Picture, text: str, *, scale: float) -> Picture:
    """Return a copy of a picture (height, width, 3) with small text in its upper left corner.

    Args:
        picture: The picture.
        text: The text. A light outline keeps it legible over a figure.
        scale: Size of the text relative to 12 pixels.

    """
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text(
        (7 * scale, 5 * scale),
        text,
        font=ImageFont.load_default(size=12 * scale),
        fill=INK,
        stroke_width=1.5 * scale,
        stroke_fill=PAPER,
    )
    return np.asarray(image)


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
        self._font = ImageFont.load_default(size=max(round(0.18 * height), 10))

    def at(self, share: float) -> Picture:
        """Draw the band when this share of the audio has been played."""
        x = int(round(share * (self.width - 1)))
        picture = np.concatenate([self._played[:, :x], self._ahead[:, x:]], axis=1)
        picture[:, max(x - 1, 0) : x + 1] = CURSOR
        image = Image.fromarray(picture)
        text = f"{share * self.seconds:.1f} / {self.seconds:.1f} s"
        ImageDraw.Draw(image).text((8, 5), text, font=self._font, fill=INK)
        return np.asarray(image)


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
