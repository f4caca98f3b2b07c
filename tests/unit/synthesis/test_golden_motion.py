"""The output of synthesis does not change unnoticed."""

import numpy as np

from mambatalk.motion.skeleton import PARTS
from tests.helpers.golden_motion import (
    FILE,
    TOLERANCE,
    golden_result,
    largest_difference,
    read_golden,
)

ADVICE = "if the motion is meant to change: python -m tests.helpers.golden_motion"


def test_the_same_speech_gives_the_motion_of_before() -> None:
    codes, motion = golden_result()
    golden_codes, golden = read_golden()
    for part in PARTS:
        changed = np.flatnonzero(codes[part] != golden_codes[part])
        assert not len(changed), f"{part}: other codes from frame {changed[0]} on; {ADVICE}"
    difference = largest_difference(motion, golden)
    assert max(difference.values()) <= TOLERANCE, f"{difference}; {ADVICE}"


def test_the_golden_motion_moves_and_is_small() -> None:
    codes, motion = read_golden()
    assert FILE.stat().st_size < 100_000
    assert len(motion) == 75
    assert all(len(np.unique(codes[part])) > 3 for part in PARTS)
    assert motion.poses.std(axis=0).max() > 0.05
