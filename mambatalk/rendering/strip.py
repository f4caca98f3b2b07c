"""Labels above the figures and the waveform below them, with a cursor that moves with the sound."""

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
    """A band (height, width, 3) with one label centred over each of equal columns, a dot of its
    colour before it.
    """
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=round(0.5 * height))
    column = width / len(labels)
    for k, (text, colour) in enumerate(labels):
        length, dot = draw.textlength(text, font=font), 0.32 * height
        left = (k + 0.5) * column - (length + 1.6 * dot) / 2
        draw.ellipse((left, height / 2 - dot / 2, left + dot, height / 2 + dot / 2), fill=colour)
        draw.text((left + 1.6 * dot, height / 2), text, font=font, fill=INK, anchor="lm")
    if note:
        draw.text(
            (width - 0.3 * height, height / 2),
            note,
            font=ImageFont.load_default(size=round(0.34 * height)),
            fill=FAINT,
            anchor="rm",
        )
    return np.asarray(image)


class Waveform:
    """A strip (height, width, 3) of a wave (S,), the part already heard in a darker colour."""

    def __init__(
        self, wave: NDArray[np.float32], *, width: int, height: int, seconds: float
    ) -> None:
        self.width, self.height, self.seconds = width, height, seconds
        self._ahead, self._played = (
            _bars(wave, width, height, colour) for colour in (AHEAD, PLAYED)
        )
        self._font = ImageFont.load_default(size=max(round(0.18 * height), 10))

    def at(self, share: float) -> Picture:
        """The strip when `share` of the sound has been heard."""
        x = int(round(share * (self.width - 1)))
        picture = np.concatenate([self._played[:, :x], self._ahead[:, x:]], axis=1)
        picture[:, max(x - 1, 0) : x + 1] = CURSOR
        image = Image.fromarray(picture)
        text = f"{share * self.seconds:.1f} / {self.seconds:.1f} s"
        ImageDraw.Draw(image).text((8, 5), text, font=self._font, fill=INK)
        return np.asarray(image)


def _bars(wave: NDArray[np.float32], width: int, height: int, colour: Colour) -> Picture:
    """The loudest sample of each column, up and down from the middle."""
    edges = np.linspace(0, len(wave), width + 1).astype(np.int64)
    loud = np.array(
        [np.abs(wave[a:b]).max(initial=0) for a, b in zip(edges, edges[1:], strict=False)]
    )
    loud = loud / max(float(loud.max()), 1e-6)
    off = np.abs(np.arange(height) + 0.5 - height / 2)[:, None]
    inside = off <= np.maximum(0.42 * height * loud, 0.6)
    return np.where(
        inside[..., None], np.array(colour, np.uint8), np.array(PAPER, np.uint8)
    ).astype(np.uint8)
