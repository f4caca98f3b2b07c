"""Jaw and expressions of the sample's law: functions of the phone that sounds."""

from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from mambatalk.corpus.textgrid import Interval
from mambatalk.motion.skeleton import EXPRESSION_DIM
from mambatalk.sample.curves import Curve

JAW_OPEN: Final = 0.24
"""Jaw rotation of the widest vowel, radians."""
WIDE: Final = 0.8
"""Openness from which a vowel is an event of its own."""
_RATE: Final = 240
_SMOOTH: Final = 0.035
"""Seconds by which lips and jaw smear phones."""
_OPENNESS: Final = MappingProxyType(
    {
        "AA": 1.0,
        "AE": 0.95,
        "AO": 0.85,
        "AW": 1.0,
        "AY": 1.0,
        "AH": 0.35,
        "EH": 0.5,
        "ER": 0.25,
        "EY": 0.4,
        "IH": 0.22,
        "IY": 0.18,
        "OW": 0.45,
        "OY": 0.55,
        "UH": 0.25,
        "UW": 0.15,
    }
)
_SHAPES: Final = ("open", "spread", "round", "closed", "teeth", "tongue")
_SHAPE_OF: Final = MappingProxyType(
    {
        **dict.fromkeys(("AA", "AE", "AW", "AY", "AH", "HH"), "open"),
        **dict.fromkeys(("IY", "IH", "EY", "EH", "Y"), "spread"),
        **dict.fromkeys(("AO", "OW", "OY", "UH", "UW", "W", "R", "ER"), "round"),
        **dict.fromkeys(("M", "B", "P"), "closed"),
        **dict.fromkeys(("F", "V", "S", "Z", "SH", "ZH", "CH", "JH"), "teeth"),
        **dict.fromkeys(("T", "D", "N", "L", "TH", "DH", "K", "G", "NG", "spn"), "tongue"),
    }
)


def openness(phone: str) -> float:
    """How far a phone opens the jaw, 0 to 1."""
    return _OPENNESS.get(phone.rstrip("012"), 0.0 if _SHAPE_OF.get(phone) == "closed" else 0.12)


def jaw_angle(time: Curve, phones: list[Interval]) -> Curve:
    """Jaw rotation (n,) about x in radians at times (n,) in seconds; closed in silence."""
    return JAW_OPEN * _held(time, phones, [[openness(phone.text)] for phone in phones], 1)[:, 0]


def expressions(time: Curve, phones: list[Interval], emphasis: Curve) -> Curve:
    """Expression coefficients (n, 100): one direction per mouth shape, and the brows on emphasis
    (n,).
    """
    shapes = [
        [float(_SHAPE_OF.get(phone.text.rstrip("012")) == shape) for shape in _SHAPES]
        for phone in phones
    ]
    weights = _held(time, phones, shapes, len(_SHAPES))
    directions = _directions()
    return weights @ directions[:-1] + emphasis[:, None] * directions[-1]


def wide_vowels(phones: list[Interval]) -> list[float]:
    """Centres, in seconds, of the vowels that open the jaw wide; of two closer than 0.25 s the
    first.
    """
    times: list[float] = []
    for phone in phones:
        centre = (phone.start + phone.end) / 2
        if openness(phone.text) >= WIDE and (not times or centre - times[-1] >= 0.25):
            times.append(centre)
    return times


def mouth_direction() -> NDArray[np.float64]:
    """Expression coefficients (100,) of the open mouth."""
    return _directions()[_SHAPES.index("open")]


def _held(time: Curve, phones: list[Interval], values: list[list[float]], width: int) -> Curve:
    """Values held over their phones and smoothed, read at the times asked for."""
    fine = np.zeros((round((time[-1] + 1) * _RATE), width))
    for phone, value in zip(phones, values, strict=True):
        fine[round(phone.start * _RATE) : round(phone.end * _RATE)] = value
    return gaussian_filter1d(fine, _SMOOTH * _RATE, axis=0)[np.round(time * _RATE).astype(int)]


def _directions() -> NDArray[np.float64]:
    """Directions (7, 100) of the mouth shapes and of the brows: the low components carry most, as
    in real data.
    """
    random = np.random.default_rng(11)
    directions = (
        random.standard_normal((len(_SHAPES) + 1, EXPRESSION_DIM))
        * 2.4
        / (1 + np.arange(EXPRESSION_DIM) / 12)
    )
    # The stand-in's first three components are the lower lip, the mouth's width and the brows.
    directions[:, :3] = [
        [2.6, 0.2, 0],
        [0.9, 1.8, 0],
        [1.1, -1.8, 0],
        [-0.6, 0, 0],
        [0.5, 0.9, 0],
        [0.9, 0.3, 0],
        [0, 0, 2.5],
    ]
    return directions
