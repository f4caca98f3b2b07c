"""The sample's speakers: voice, body shape and manner of each."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.motion.skeleton import BETAS_DIM
from mambatalk.sample.speech import Voice

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
class Style:
    """One speaker."""

    speaker: int
    name: str
    voice: Voice
    hand: str
    """Hand that beats: right, left or both."""
    amplitude: float
    """Size of beats and gestures; 1 is plain."""
    elbow: tuple[float, float]
    """Rest flexion of the left and right elbow, radians."""
    spread: float
    """Angle of the hanging upper arms away from the body, radians."""
    stance: float
    """Distance between the ankles, metres."""
    turn: float
    """Heading, radians; 0 faces z."""
    betas: NDArray[np.float32]


def speaker_styles(count: int) -> list[Style]:
    """The first `count` speakers; who they are depends on nothing else."""
    return [_style(k) for k in range(count)]


def _style(k: int) -> Style:
    random = np.random.default_rng([k, 77])
    betas = (0.05 * random.standard_normal(BETAS_DIM)).astype(np.float32)
    betas[:2] = random.uniform(-1, 1, 2)
    hand = _HANDS[k % 3]
    base = float(random.uniform(0.75, 1.15))
    lead = {"right": (-0.35, 0.15), "left": (0.15, -0.35), "both": (0.0, 0.0)}[hand]
    variant = _VARIANTS[k % len(_VARIANTS)]
    voice = Voice(f"en-us+{variant}", _RATES[k % 5], _PITCHES[(k + k // 10) % 5])
    return Style(
        speaker=k + 1,
        name=_NAMES[k % len(_NAMES)],
        voice=voice,
        hand=hand,
        amplitude=(1.0, 1.2, 0.85)[k % 3] * float(random.uniform(0.95, 1.05)),
        elbow=(base + lead[0], base + lead[1]),
        spread=float(random.uniform(0.12, 0.28)),
        stance=float(random.uniform(0.20, 0.28)),
        turn=float(random.uniform(-0.15, 0.15)),
        betas=betas,
    )
