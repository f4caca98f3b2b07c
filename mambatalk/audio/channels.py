"""The three channels the generator hears, one value per sample at 16 kHz.

Channel 0 is the amplitude envelope, 1 the CTC token id, 2 the normalised wave; the face hears all
three, the body the first two. Nothing is scaled further: a batch normalisation follows the first
convolution. Source: published feature extraction.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.errors import InputError

ENVELOPE_WINDOW = 1024
"""Samples (64 ms) that the envelope looks ahead."""
PART = 2**18
"""Samples summed at a time."""
VARIANCE_FLOOR = 1e-7
"""What the Wav2Vec2 processor adds to the variance."""


def amplitude_envelope(wave: Tensor, window: int = ENVELOPE_WINDOW) -> Tensor:
    """Largest |x| over the samples [t, t + window) of waves (..., S).

    The last `window` - 1 values repeat the last full one; a wave shorter than the window gives its
    peak everywhere. The maximum is taken by doubling: ten passes in place of a thousand.
    """
    size = wave.shape[-1]
    if not size:
        return wave
    peak, width = wave.abs(), 1
    while width < min(window, size):
        step = min(width, size - width)
        peak = torch.maximum(peak[..., : peak.shape[-1] - step], peak[..., step:])
        width += step
    return functional.pad(
        peak.reshape(-1, 1, peak.shape[-1]), (0, size - peak.shape[-1]), mode="replicate"
    ).view(*wave.shape)


def normalise(wave: Tensor, mean: float | Tensor, std: float | Tensor) -> Tensor:
    """Wave (..., S) with the mean and standard deviation of its whole clip taken out
    (`wave_statistics`).
    """
    return (wave - mean) / std


def wave_statistics(wave: Tensor) -> tuple[float, float]:
    """Mean and standard deviation (with the processor's floor) of one clip (S,), in float64.

    Raises:
        InputError: It has no sample.

    """
    if not len(wave):
        raise InputError(
            "sound", "expected at least one, found no sample", "check the file it was read from"
        )
    # Part by part: in double precision a long clip would be its own size twice over.
    parts = wave.split(PART)
    mean = sum(float(part.sum(dtype=torch.float64)) for part in parts) / len(wave)
    variance = sum(float((part.double() - mean).square().sum()) for part in parts) / len(wave)
    return mean, math.sqrt(variance + VARIANCE_FLOOR)


def expand_ctc(ids: Tensor, samples: int) -> Tensor:
    """Token ids (K,) stretched over a clip: id k covers the samples [floor(k N / K), floor((k + 1)
    N / K)).

    Raises:
        InputError: There is no id.

    """
    if not len(ids):
        raise InputError(
            "CTC ids", "expected at least one, found none", "give the model more sound"
        )
    edges = torch.arange(len(ids) + 1, device=ids.device) * samples // len(ids)
    return ids.repeat_interleave(edges.diff())
