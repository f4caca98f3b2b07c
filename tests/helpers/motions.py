"""Synthetic motions and waveforms for tests of scoring and rendering."""

import numpy as np
from numpy.typing import NDArray

from mambatalk.motion.clip import SmplxMotion


def smooth_motion(seed: int, frames: int = 200, *, scale: float = 0.2) -> SmplxMotion:
    """Return slow random movement of every joint but the eyes."""
    random = np.random.default_rng(seed)
    kernel = np.hanning(25) / np.hanning(25).sum()

    def curves(width: int) -> NDArray[np.float64]:
        steps = random.normal(0, 1, (frames + 24, width))
        return np.stack([np.convolve(column, kernel, "valid") for column in steps.T], axis=1)

    poses = (3 * scale * curves(165)).astype(np.float32)
    poses[:, 69:75] = 0
    trans = (0.05 * curves(3) + [0, 1.30, 0]).astype(np.float32)
    return SmplxMotion(poses=poses, expressions=curves(100).astype(np.float32), trans=trans)


def clicks(frames: int, *, every: int = 17) -> NDArray[np.float32]:
    """Return a waveform (S,) at 16 kHz as long as the motion, with a click every few frames."""
    waveform = np.random.default_rng(0).normal(0, 1e-4, frames * 16_000 // 30).astype(np.float32)
    for frame in range(10, frames - 5, every):
        waveform[frame * 16_000 // 30 :][:500] += 0.5
    return waveform
