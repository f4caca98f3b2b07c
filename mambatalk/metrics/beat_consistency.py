"""Beat consistency (BC): whether the body's beats fall on the sound's onsets."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.metrics.beats import (
    MARGIN,
    BeatRule,
    alignment,
    check_mean_velocity,
    motion_beats,
    sound_beats,
)
from mambatalk.metrics.diversity import fold
from mambatalk.metrics.variant import AnyVariant, ClipMean, check_clip, check_variant

RULES: Mapping[AnyVariant, BeatRule] = MappingProxyType(
    {
        "published": BeatRule(
            threshold=0.3, folded=True, aligned=False, ends_with_motion=False, padded=False
        ),
        "corrected": BeatRule(
            threshold=0.3, folded=False, aligned=True, ends_with_motion=True, padded=True
        ),
        "evaltools": BeatRule(
            threshold=0.1, folded=False, aligned=False, ends_with_motion=True, padded=False
        ),
    }
)


class BeatConsistency(ClipMean):
    """Nearness of each onset to the nearest beat of 13 upper-body joints, in [0, 1]; clips weighted
    by frames - 120.

    A beat is a local minimum of a joint's speed (order 7) that exceeds a share of that joint's mean
    speed. Higher is not better: moving more finds an onset more often, and published methods lie
    above ground truth.

    A clip of 120 frames or fewer, or one without onsets, has no value and leaves the mean in every
    variant (the published code divides by zero there).

    Args:
        mean_velocity: Mean speed of each joint (55,) in metres a second, over training clips.
        variant: `published` measures folded positions (see `L1Diversity`), reads the speed of a
            beat 60 frames before it, and cuts the sound 2 s before the end of the file, not of the
            motion. `evaltools`, the newer public evaluator, has threshold 0.1 in place of 0.3,
            positions as they are, sound cut with the motion, and still the wrong speed. `corrected`
            mends all three, so that silence appended to the sound changes nothing.

    Source: published metrics (`alignment`); paper, section 4 (BC).

    """

    def __init__(
        self, mean_velocity: NDArray[np.floating], *, variant: AnyVariant = "corrected"
    ) -> None:
        super().__init__()
        self.variant = check_variant(variant, get_args(AnyVariant))
        self.rule = RULES[self.variant]
        self.mean_velocity = check_mean_velocity(np.asarray(mean_velocity, np.float64))

    def update(self, joints: Tensor, wave: NDArray[np.float32]) -> None:
        """Add one clip: joints (n, 55, 3) in metres, translation 0, 30 fps, beside its sound (S,)
        at 16 kHz.

        Raises:
            InputError: They are not one clip, or not finite.

        """
        check_clip("joints", joints)
        if wave.ndim != 1 or not np.isfinite(wave).all():
            raise InputError(
                "sound",
                "expected one channel (S,) in [-1, 1],"
                f" found shape {wave.shape}, or a value that is not finite",
                "mix it down, and read it with read_wav",
            )
        frames = len(joints)
        if frames > 2 * MARGIN:
            self.add(
                beat_consistency(joints, wave, self.mean_velocity, self.rule), frames - 2 * MARGIN
            )


def beat_consistency(
    joints: Tensor, wave: NDArray[np.float32], mean_velocity: NDArray[np.float64], rule: BeatRule
) -> float:
    """BC of one clip of more than 120 frames; NaN without onsets."""
    seen = fold(joints) if rule.folded else joints
    beats = motion_beats(seen.detach().cpu().to(torch.float64).numpy(), mean_velocity, rule)
    return alignment(sound_beats(wave, len(joints), rule), beats)
