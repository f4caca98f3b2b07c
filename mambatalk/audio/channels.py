"""The three audio channels of the generator, one value per sample at 16 kHz.

Channel 0 is the amplitude envelope, 1 the CTC token id, 2 the normalised waveform. The face branch
reads all three, the body branch the first two. Nothing is scaled further, because a batch
normalisation follows the first convolution. Source: published feature extraction.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.errors import InputError

ENVELOPE_WINDOW = 1024
"""Samples (64 ms) of the envelope's window, which begins at the sample itself."""
LOOK_AHEAD = ENVELOPE_WINDOW - 1
"""Samples that the envelope reads past the last one."""
SUM_BLOCK = 2**18
"""Samples converted to float64 at a time on a CPU."""
GPU_SUM_BLOCK = 2**22
"""The same on a GPU, where each block takes several kernel launches."""
VARIANCE_FLOOR = 1e-7
"""Added to the variance, as the Wav2Vec2 processor does."""
FIXED_STATISTICS = (0.0, 0.05)
"""Mean and standard deviation that normalise audio whose end is not known yet: those of speech at
-26 dBFS, the nominal level of ITU-T P.56.
"""


def audio_channels(
    wave: Tensor, mean: Tensor | float, std: Tensor | float, ctc: Tensor | None = None
) -> Tensor:
    """Return the audio channels (..., S, 3) of waveforms (..., S + 1023).

    Args:
        wave: Waveforms at 16 kHz with the 1023 samples that the envelope reads past the end.
        mean: Mean of the whole clip, (..., 1) or a number.
        std: Standard deviation of the whole clip, (..., 1) or a number.
        ctc: Token ids (..., S). If None, that channel is 0.

    """
    samples = wave.shape[-1] - LOOK_AHEAD
    inside = wave[..., :samples]
    envelope = amplitude_envelope(wave)[..., :samples]
    tokens = torch.zeros_like(inside) if ctc is None else ctc.to(inside.dtype)
    return torch.stack([envelope, tokens, normalise(inside, mean, std)], dim=-1)


def amplitude_envelope(wave: Tensor, window: int = ENVELOPE_WINDOW) -> Tensor:
    """Return the largest |x| over the samples [t, t + window) of waveforms (..., S).

    The last `window` - 1 values repeat the last full one. A waveform shorter than the window gets
    its peak everywhere.
    """
    size = wave.shape[-1]
    if not size:
        return wave

    # Maxima over windows of 1, 2, 4, ... samples: ten passes instead of a thousand.
    peak = wave.abs()
    width = 1
    while width < min(window, size):
        step = min(width, size - width)
        peak = torch.maximum(peak[..., : peak.shape[-1] - step], peak[..., step:])
        width += step

    missing = size - peak.shape[-1]
    rows = peak.reshape(-1, 1, peak.shape[-1])
    return functional.pad(rows, (0, missing), mode="replicate").view(*wave.shape)


def causal_envelope(channels: Tensor) -> Tensor:
    """Delay the envelope of audio channels (B, S, C) until it depends on no later sample.

    The first 1023 samples get the first value that is known.
    """
    envelope = channels[..., :1]
    past = torch.cat([envelope[:, :1].expand(-1, LOOK_AHEAD, -1), envelope], dim=1)
    return torch.cat([past[:, : channels.shape[1]], channels[..., 1:]], dim=-1)


def normalise(wave: Tensor, mean: float | Tensor, std: float | Tensor) -> Tensor:
    """Subtract the mean of the whole clip from a waveform (..., S) and divide by its deviation.

    `wave_statistics` computes both.
    """
    return (wave - mean) / std


def wave_statistics(wave: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of one clip (S,), computed in float64, on its device.

    The deviation includes the variance floor of the Wav2Vec2 processor.

    Raises:
        InputError: The clip has no samples.

    """
    if not len(wave):
        raise InputError(
            "audio",
            "expected at least one sample, found none",
            "check the file that the audio was read from",
        )
    # In blocks, because a long clip in double precision takes twice its memory again.
    blocks = wave.split(GPU_SUM_BLOCK if wave.is_cuda else SUM_BLOCK)
    zero = wave.new_zeros((), dtype=torch.float64)
    mean = sum((block.sum(dtype=torch.float64) for block in blocks), zero) / len(wave)
    squares = ((block.double() - mean).square().sum() for block in blocks)
    return mean, (sum(squares, zero) / len(wave) + VARIANCE_FLOOR).sqrt()


def expand_ctc(ids: Tensor, samples: int) -> Tensor:
    """Stretch token ids (K,) over a clip of N samples.

    Id k covers the samples [floor(k N / K), floor((k + 1) N / K)).

    Raises:
        InputError: There are no ids.

    """
    if not len(ids):
        raise InputError(
            "CTC ids", "expected at least one, found none", "give the model more audio"
        )
    edges = torch.arange(len(ids) + 1, device=ids.device) * samples // len(ids)
    return ids.repeat_interleave(edges.diff())
