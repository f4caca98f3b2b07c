"""Motion rules of jaw and face: functions of the current phone."""

from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from mambatalk.corpus.textgrid import Interval
from mambatalk.motion.skeleton import EXPRESSION_DIM
from mambatalk.sample.curves import Curve

JAW_OPEN: Final = 0.24
"""Jaw rotation of the most open vowel, radians."""
WIDE: Final = 0.8
"""Openness from which a vowel counts as an event."""
_EVENT_SPACING: Final = 0.25
"""Smallest time between two events, seconds."""
_RATE: Final = 240
"""Rate at which phones are smoothed, Hz."""
_SMOOTHING: Final = 0.035
"""Standard deviation of the Gaussian over phones, seconds."""
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
    """Return how far an ARPAbet phone opens the jaw, 0 to 1."""
    consonant = 0.0 if _SHAPE_OF.get(phone) == "closed" else 0.12
    return _OPENNESS.get(phone.rstrip("012"), consonant)


def jaw_angle(time: Curve, phones: list[Interval]) -> Curve:
    """Return the jaw rotation (n,) about x, radians, at times (n,) in seconds.

    The jaw is closed in silence.
    """
    values = [[openness(phone.text)] for phone in phones]
    return JAW_OPEN * _hold_and_smooth(time, phones, values, 1)[:, 0]


def expressions(time: Curve, phones: list[Interval], emphasis: Curve) -> Curve:
    """Return expression coefficients (n, 100) at times (n,) in seconds.

    Every mouth shape is one direction; the brows follow emphasis (n,).

    Args:
        time: Times (n,) in seconds.
        phones: ARPAbet phones without silences.
        emphasis: Emphasis (n,), at least 0.

    """
    one_hot = []
    for phone in phones:
        shape_of_phone = _SHAPE_OF.get(phone.text.rstrip("012"))
        one_hot.append([float(shape == shape_of_phone) for shape in _SHAPES])
    weights = _hold_and_smooth(time, phones, one_hot, len(_SHAPES))
    directions = _directions()
    return weights @ directions[:-1] + emphasis[:, None] * directions[-1]


def wide_vowels(phones: list[Interval]) -> list[float]:
    """Return the centres, in seconds, of the vowels that open the jaw wide.

    Of two vowels that are closer than 0.25 s only the first counts.
    """
    times: list[float] = []
    for phone in phones:
        centre = (phone.start + phone.end) / 2
        is_separate = not times or centre - times[-1] >= _EVENT_SPACING
        if openness(phone.text) >= WIDE and is_separate:
            times.append(centre)
    return times


def mouth_direction() -> NDArray[np.float64]:
    """Return the expression coefficients (100,) of the open mouth."""
    return _directions()[_SHAPES.index("open")]


def _hold_and_smooth(
    time: Curve, phones: list[Interval], values: list[list[float]], width: int
) -> Curve:
    """Hold each phone's values over its duration, smooth them, and sample the result.

    Args:
        time: Times (n,) to sample at, seconds.
        phones: Phones without silences; values are 0 in silence.
        values: `width` values per phone.
        width: Number of channels.

    Returns:
        Curves (n, width).

    """
    fine = np.zeros((round((time[-1] + 1) * _RATE), width))
    for phone, value in zip(phones, values, strict=True):
        fine[round(phone.start * _RATE) : round(phone.end * _RATE)] = value
    smooth = gaussian_filter1d(fine, _SMOOTHING * _RATE, axis=0)
    return smooth[np.round(time * _RATE).astype(int)]


def _directions() -> NDArray[np.float64]:
    """Return the expression directions (7, 100) of the mouth shapes and of the brows.

    As in recorded data, the first components are the largest.
    """
    random = np.random.default_rng(11)
    decay = 1 + np.arange(EXPRESSION_DIM) / 12
    directions = random.standard_normal((len(_SHAPES) + 1, EXPRESSION_DIM)) * 2.4 / decay
    # The first three components of the stand-in body are lower lip, mouth width and brows.
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
