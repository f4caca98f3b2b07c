"""The speakers of the sample: voice, body shape and style of movement."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.motion.skeleton import BETAS_DIM
from mambatalk.sample.espeak import Voice

_NAMES: Final = (
    "ada",
    "bruno",
    "celia",
    "dario",
    "edith",
    "felix",
    "greta",
    "hugo",
    "ines",
    "jonas",
)
_VARIANTS: Final = ("f1", "m3", "Annie", "m7", "belinda", "m1", "Alicia", "m4", "steph", "m8")
_RATES: Final = (150, 165, 140, 172, 156)
_PITCHES: Final = (55, 38, 62, 45, 50)
_HANDS: Final = ("right", "left", "both")


@dataclass(frozen=True)
class SpeakerStyle:
    """One speaker."""

    speaker_id: int
    """Id in the corpus, from 1."""
    name: str
    voice: Voice
    hand: str
    """Hand of the beats: right, left or both."""
    amplitude: float
    """Size of beats and gestures relative to the motion rules."""
    elbow: tuple[float, float]
    """Flexion of the left and right elbow at rest, radians."""
    spread: float
    """Angle of the hanging upper arms away from the body, radians."""
    stance: float
    """Distance between the ankles, metres."""
    turn: float
    """Heading, radians; at 0 the body faces z."""
    betas: NDArray[np.float32]
    """Shape parameters (300,)."""


def speaker_styles(count: int) -> list[SpeakerStyle]:
    """Return the first `count` speakers; the same for every sample and seed."""
    return [_style(k) for k in range(count)]


def _style(k: int) -> SpeakerStyle:
    random = np.random.default_rng([k, 77])
    betas = (0.05 * random.standard_normal(BETAS_DIM)).astype(np.float32)
    betas[:2] = random.uniform(-1, 1, 2)
    hand = _HANDS[k % 3]
    elbow = float(random.uniform(0.75, 1.15))
    # The hand of the beats is held higher.
    offset = {"right": (-0.35, 0.15), "left": (0.15, -0.35), "both": (0.0, 0.0)}[hand]
    variant = _VARIANTS[k % len(_VARIANTS)]
    voice = Voice(f"en-us+{variant}", _RATES[k % 5], _PITCHES[(k + k // 10) % 5])
    return SpeakerStyle(
        speaker_id=k + 1,
        name=_NAMES[k % len(_NAMES)],
        voice=voice,
        hand=hand,
        amplitude=(1.0, 1.2, 0.85)[k % 3] * float(random.uniform(0.95, 1.05)),
        elbow=(elbow + offset[0], elbow + offset[1]),
        spread=float(random.uniform(0.12, 0.28)),
        stance=float(random.uniform(0.20, 0.28)),
        turn=float(random.uniform(-0.15, 0.15)),
        betas=betas,
    )
