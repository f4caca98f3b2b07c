"""Beat consistency (BC): whether the beats of the body coincide with onsets of the audio."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.metrics.beats import (
    MARGIN,
    BeatRule,
    alignment,
    audio_beats,
    check_mean_velocity,
    motion_beats,
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
    """Nearness of each onset to the nearest beat of 13 upper-body joints, in [0, 1].

    A beat is a local minimum of a joint's speed (order 7) that exceeds 0.3 times the joint's mean
    speed. Clips are weighted by frames - 120. Higher is not better: more movement is more often
    near an onset, and published methods have higher values than ground truth.

    A clip of at most 120 frames, or without onsets, has no value and is left out of the mean in
    every variant. The published code divides by zero there.

    Args:
        mean_velocity: Mean speed of each joint (55,) in metres per second over training clips.
        variant: `published` measures folded positions (see `fold`), reads the speed of a beat 60
            frames before it, and cuts the audio 2 s before the end of the file instead of the
            motion. `evaltools`, the newer public evaluator, has threshold 0.1 instead of 0.3,
            unfolded positions, audio that is cut with the motion, and the same wrong speed.
            `corrected` has none of the three errors, so that silence appended to the audio does not
            change the result.

    Raises:
        InputError: The mean speeds have another shape or are not positive.

    Formula: mean over joints and onsets of `exp(-d^2 / (2 * 0.3^2))`, d being the seconds from the
    onset to the joint's nearest beat.

    Source: published metrics (`alignment`); paper, section 4 (BC).

    """

    def __init__(
        self, mean_velocity: NDArray[np.floating], *, variant: AnyVariant = "corrected"
    ) -> None:
        super().__init__()
        self.variant = check_variant(variant, get_args(AnyVariant))
        self.rule = RULES[self.variant]
        self.mean_velocity = check_mean_velocity(np.asarray(mean_velocity, np.float64))

    def update(self, joints: Tensor, waveform: NDArray[np.float32]) -> None:
        """Add one clip.

        Args:
            joints: Joints (n, 55, 3) in metres at 30 fps, translation 0.
            waveform: Audio (S,) at 16 kHz.

        Raises:
            ValueError: The shapes are not those of one clip, or a value is not finite.

        """
        check_clip("joints", joints)
        if waveform.ndim != 1 or not np.isfinite(waveform).all():
            raise ValueError(
                "waveform: expected one finite channel (S,),"
                f" found shape {waveform.shape} or a value that is not finite"
            )
        value = beat_consistency(joints, waveform, self.mean_velocity, self.rule)
        # A clip of at most two margins has no positive weight and is left out.
        self.add(value, len(joints) - 2 * MARGIN)


def beat_consistency(
    joints: Tensor,
    waveform: NDArray[np.float32],
    mean_velocity: NDArray[np.float64],
    rule: BeatRule,
) -> float:
    """Return BC of one clip; NaN without onsets.

    Args:
        joints: Joints (n, 55, 3) in metres at 30 fps.
        waveform: Audio (S,) at 16 kHz.
        mean_velocity: Mean speed of each joint (55,) in metres per second.
        rule: The variant.

    """
    positions = fold(joints) if rule.folded else joints
    array = positions.detach().cpu().to(torch.float64).numpy()
    beats = motion_beats(array, mean_velocity, rule)
    return alignment(audio_beats(waveform, len(joints), rule), beats)
