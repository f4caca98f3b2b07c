"""Which clips a sample of some length holds: speaker, id, split, length."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mambatalk.corpus.layout import ClipId, Split
from mambatalk.errors import InputError
from mambatalk.motion.skeleton import FPS
from mambatalk.sample.style import Style

CLIP_SECONDS: Final = 25.0
FEWEST_CLIPS: Final = 12
SHORTEST_SECONDS: Final = 5.0


@dataclass(frozen=True)
class ClipPlan:
    """One clip to be made."""

    clip: ClipId
    split: Split
    seconds: float
    style: Style
    seed: tuple[int, ...]


def plan_clips(styles: list[Style], *, hours: float, seed: int) -> list[ClipPlan]:
    """Share out `hours` of motion: speakers in turn, lengths from 0.6 to 1.5 of their mean, all
    four splits.

    Raises:
        InputError: Less than a minute, for the splits would be empty.

    """
    least = FEWEST_CLIPS * SHORTEST_SECONDS / 3600
    if hours < least:
        raise InputError(
            "hours", f"expected at least {least:.3f}, found {hours}", "ask for a longer sample"
        )
    count = max(FEWEST_CLIPS, round(hours * 3600 / CLIP_SECONDS))
    share = np.random.default_rng([seed, 1]).uniform(0.6, 1.5, count)
    seconds = np.round(share / share.sum() * hours * 3600 * FPS) / FPS
    numbers = dict.fromkeys((style.speaker for style in styles), 0)
    plans = []
    for k, split in enumerate(_splits(count)):
        style = styles[k % len(styles)]
        numbers[style.speaker] += 1
        number = numbers[style.speaker]
        clip = ClipId(style.speaker, style.name, 1 if split == "additional" else 0, number, number)
        plans.append(ClipPlan(clip, split, float(seconds[k]), style, (seed, style.speaker, number)))
    return plans


def _splits(count: int) -> list[Split]:
    """Test clips first, so that small samples have every speaker among them, then val, additional
    and train.
    """
    test, val, additional = (
        max(4, round(0.2 * count)),
        max(3, round(0.1 * count)),
        max(1, round(0.05 * count)),
    )
    parts: list[tuple[Split, int]] = [("test", test), ("val", val), ("additional", additional)]
    return [
        split
        for split, size in [*parts, ("train", count - test - val - additional)]
        for _ in range(size)
    ]
