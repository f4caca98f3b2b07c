"""Synthetic audio and motion to start from, for tests of synthesis."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mambatalk.motion.rotations import axis_angle_to_6d
from mambatalk.motion.skeleton import SAMPLE_RATE
from mambatalk.synthesis.layout import Speech
from tests.helpers.tiny_bundle import SPEAKER_IDS


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Return white noise (S,) at 16 kHz."""
    samples = int(SAMPLE_RATE * seconds)
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def speech(seconds: float, **fields: Any) -> Speech:
    """Return noise as the speech of the first speaker of the tiny bundle."""
    return Speech(**{"waveform": noise(seconds), "speaker_id": SPEAKER_IDS[0], **fields})


def initial_motion(
    at: tuple[float, float, float] = (0.0, 1.3, 0.0), seed: int = 1
) -> NDArray[np.float32]:
    """Return 4 frames of motion (4, 337): small random rotations near a place in metres."""
    random = np.random.default_rng(seed)
    rotations = torch.from_numpy(random.normal(0, 0.1, (4, 55, 3)).astype(np.float32))
    pose = axis_angle_to_6d(rotations).flatten(1).numpy()
    trans = random.normal(0, 0.01, (4, 3)) + at
    contacts = np.ones((4, 4))
    return np.concatenate([pose, trans, contacts], axis=1).astype(np.float32)
