"""Plan the clips of a sample: speaker, id, split and length of each."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mambatalk.corpus.layout import ClipId, Split
from mambatalk.errors import InputError
from mambatalk.motion.skeleton import FPS
from mambatalk.sample.style import SpeakerStyle

MEAN_SECONDS: Final = 25.0
"""Mean length of a clip in a sample of more than `MIN_CLIPS` clips."""
MIN_CLIPS: Final = 12
MIN_MEAN_SECONDS: Final = 5.0
"""Smallest mean length of a clip; shorter samples are rejected."""


@dataclass(frozen=True)
class ClipPlan:
    """One clip to generate."""

    clip: ClipId
    split: Split
    seconds: float
    style: SpeakerStyle
    seed: tuple[int, ...]
    """Seed of the clip's random generator."""


def plan_clips(styles: list[SpeakerStyle], *, hours: float, seed: int) -> list[ClipPlan]:
    """Distribute hours of motion over clips of all speakers and splits.

    Args:
        styles: Speakers, who take turns.
        hours: Total length of the motion.
        seed: Seed for the lengths, 0.6 to 1.5 times their mean.

    Raises:
        InputError: The sample is shorter than a minute, too short to fill every split.

    """
    minimum = MIN_CLIPS * MIN_MEAN_SECONDS / 3600
    if hours < minimum:
        raise InputError(
            "hours", f"expected at least {minimum:.3f}, found {hours}", "request a longer sample"
        )
    count = max(MIN_CLIPS, round(hours * 3600 / MEAN_SECONDS))
    share = np.random.default_rng([seed, 1]).uniform(0.6, 1.5, count)
    seconds = np.round(share / share.sum() * hours * 3600 * FPS) / FPS
    numbers = dict.fromkeys((style.speaker_id for style in styles), 0)
    plans = []
    for k, split in enumerate(_splits(count)):
        style = styles[k % len(styles)]
        speaker = style.speaker_id
        numbers[speaker] += 1
        number = numbers[speaker]
        recording_type = 1 if split == "additional" else 0
        clip = ClipId(speaker, style.name, recording_type, number, number)
        plans.append(ClipPlan(clip, split, float(seconds[k]), style, (seed, speaker, number)))
    return plans


def _splits(count: int) -> list[Split]:
    """Return the split of each clip.

    Test clips come first, so that every speaker has one even in a small sample.
    """
    sizes: dict[Split, int] = {
        "test": max(4, round(0.2 * count)),
        "val": max(3, round(0.1 * count)),
        "additional": max(1, round(0.05 * count)),
    }
    sizes["train"] = count - sum(sizes.values())
    return [split for split, size in sizes.items() for _ in range(size)]
