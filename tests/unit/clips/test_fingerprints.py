"""Fingerprints: alike for what is alike however it is stored or cut, and for nothing else."""

import numpy as np
import pytest

from mambatalk.clips.fingerprints import FRAMES_KEPT, audio_fingerprint, motion_fingerprint


def motion(seed, frames=900):
    return np.random.default_rng(seed).normal(0, 0.3, (frames, 165)).astype(np.float32)


def shared(one, other):
    return set(motion_fingerprint(one).split()) & set(motion_fingerprint(other).split())


def test_a_print_is_that_of_the_content():
    poses = motion(0)
    assert motion_fingerprint(np.asfortranarray(poses)) == motion_fingerprint(poses)
    assert len(motion_fingerprint(poses).split()) == FRAMES_KEPT


@pytest.mark.parametrize("piece", [slice(0, 300), slice(311, 600), slice(600, 900)])
def test_a_piece_shares_frames_with_the_whole(piece):
    assert shared(motion(0), motion(0)[piece])


def test_other_motion_shares_none():
    assert not shared(motion(0), motion(1))
    assert not shared(motion(0), motion(0)[::-1])


def test_a_rest_pose_is_nobodys():
    still = np.repeat(motion(0, 1), 300, axis=0)
    assert motion_fingerprint(still) == ""
    assert not shared(np.concatenate([still, motion(1)]), np.concatenate([still, motion(2)]))


@pytest.mark.parametrize("frames", [1, 2])
def test_hardly_any_motion_has_a_print_of_its_length(frames):
    assert len(motion_fingerprint(motion(0, frames)).split()) == frames - 1


def test_one_sample_of_sound_shows():
    wave = np.zeros(16_000, np.float32)
    other = wave.copy()
    other[7] = 1e-4
    assert audio_fingerprint(wave) == audio_fingerprint(wave.copy())
    assert audio_fingerprint(wave) != audio_fingerprint(other)
