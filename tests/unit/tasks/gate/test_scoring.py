"""Few clips are cut into parts, which hold the same motion and speech."""

import numpy as np
import pytest

from mambatalk.evaluation.score import TruthClip
from tasks.gate.scoring import cut
from tests.helpers.motions import clicks, smooth_motion


@pytest.mark.parametrize(
    ("frames", "wanted", "expected"), [(600, 3, 3), (600, 9, 3), (600, 1, 1), (100, 3, 1)]
)
def test_a_clip_is_cut_into_parts_of_at_least_six_seconds(
    frames: int, wanted: int, expected: int
) -> None:
    truth = TruthClip(name="clip", motion=smooth_motion(0, frames), waveform=clicks(frames))
    # Generated motion may be a few frames shorter.
    generated = smooth_motion(1, frames - 2)
    parts = list(cut(truth, {"model": generated}, wanted))
    assert len(parts) == expected
    lengths = [len(part.motion) for part, _ in parts]
    assert max(lengths) - min(lengths) <= 1
    for part, motions in parts:
        assert len(part.motion) == len(motions["model"])
        assert abs(len(part.waveform) - len(part.motion) * 16_000 / 30) <= 1
    together = np.concatenate([motions["model"].poses for _, motions in parts])
    np.testing.assert_array_equal(together, generated.poses)
    together = np.concatenate([part.waveform for part, _ in parts])
    np.testing.assert_array_equal(together, truth.waveform[: len(together)])
