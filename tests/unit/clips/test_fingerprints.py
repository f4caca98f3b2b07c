"""Fingerprints are shared by copies and parts of a recording, and by nothing else."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mambatalk.clips.fingerprints import FRAMES_KEPT, audio_fingerprint, motion_fingerprint


def motion(seed: int, frames: int = 900) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.3, (frames, 165)).astype(np.float32)


def shared(one: NDArray[np.float32], other: NDArray[np.float32]) -> set[str]:
    return set(motion_fingerprint(one).split()) & set(motion_fingerprint(other).split())


def test_a_fingerprint_depends_on_the_content_only() -> None:
    poses = motion(0)
    assert motion_fingerprint(np.asfortranarray(poses)) == motion_fingerprint(poses)
    assert len(motion_fingerprint(poses).split()) == FRAMES_KEPT


@pytest.mark.parametrize("part", [slice(0, 300), slice(311, 600), slice(600, 900)])
def test_a_part_shares_frames_with_the_recording(part: slice) -> None:
    assert shared(motion(0), motion(0)[part])


def test_different_motion_shares_no_frame() -> None:
    assert not shared(motion(0), motion(1))
    assert not shared(motion(0), motion(0)[::-1])


def test_a_rest_pose_is_not_part_of_a_fingerprint() -> None:
    still = np.repeat(motion(0, 1), 300, axis=0)
    assert motion_fingerprint(still) == ""
    assert not shared(np.concatenate([still, motion(1)]), np.concatenate([still, motion(2)]))


@pytest.mark.parametrize("frames", [1, 2])
def test_a_very_short_clip_has_a_short_fingerprint(frames: int) -> None:
    assert len(motion_fingerprint(motion(0, frames)).split()) == frames - 1


def test_a_changed_sample_changes_the_audio_fingerprint() -> None:
    wave = np.zeros(16_000, np.float32)
    other = wave.copy()
    other[7] = 1e-4
    assert audio_fingerprint(wave) == audio_fingerprint(wave.copy())
    assert audio_fingerprint(wave) != audio_fingerprint(other)
