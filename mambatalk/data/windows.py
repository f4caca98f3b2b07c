"""Windows: equal slices of clips, gathered into batches of tensors.

A window is (clip, first frame); it never crosses a clip's end. The sound of a window begins at the sample of its first
frame, floor(first / 30 * 16000), as published in training; published synthesis drifts from it, corrected does not.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.audio.features import amplitude_envelope, expand_ctc, normalise
from mambatalk.config import Fidelity
from mambatalk.data.store import LOOK_AHEAD, ClipInfo, FeatureStore
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE


class WindowBatch(NamedTuple):
    """B windows of T frames."""

    motion: Tensor
    """(B, T, 337)."""
    expressions: Tensor
    """(B, T, 100)."""
    betas: Tensor
    """(B, 300)."""
    words: Tensor
    """(B, T) int64."""
    speaker: Tensor
    """(B, T) int64, one speaker per window repeated."""
    frames: Tensor
    """(B,) int64: the row of each window's first frame in the store's flat arrays."""
    audio: Tensor | None
    """(B, S, 3) of sound channels, where asked for."""

    def to(self, device: torch.device | str) -> "WindowBatch":
        """The batch on a device."""
        return WindowBatch(*(None if x is None else x.to(device, non_blocking=True) for x in self))


def window_samples(length: int) -> int:
    """Samples of sound under `length` frames: floor(length / 30 * 16000)."""
    return length * SAMPLE_RATE // FPS


def windows(store: FeatureStore, split: str, *, length: int, stride: int, fidelity: Fidelity) -> NDArray[np.int64]:
    """All windows of a split: (W, 2) of place in `store.clips` and first frame.

    Published: motion and sound are cut to whole seconds first. Corrected: all frames that have sound count.
    A clip shorter than a window gives none.

    Raises:
        UserError: The split has no clip.

    """
    chosen = {clip.clip_id for clip in store.of_split(split)}
    rows = [(place, first) for place, clip in enumerate(store.clips) if clip.clip_id in chosen
            for first in range(0, usable_frames(clip, fidelity) - length + 1, stride)]
    return np.array(rows, np.int64).reshape(-1, 2)


def usable_frames(clip: ClipInfo, fidelity: Fidelity) -> int:
    """Frames of a clip that have sound; whole seconds of them if published."""
    if fidelity == "published":
        return FPS * min(clip.frames // FPS, clip.samples // SAMPLE_RATE)
    return min(clip.frames, clip.samples * FPS // SAMPLE_RATE)


def batch(store: FeatureStore, rows: NDArray[np.int64], length: int, *, audio: bool) -> WindowBatch:
    """Gather windows (B, 2) into tensors."""
    clips = [store.clips[place] for place in rows[:, 0]]
    first = np.array([clip.first_frame for clip in clips]) + rows[:, 1]
    index = first[:, None] + np.arange(length)
    return WindowBatch(
        motion=torch.from_numpy(store.motion[index]),
        expressions=torch.from_numpy(store.expressions[index]),
        betas=torch.from_numpy(np.stack([clip.betas for clip in clips])),
        words=torch.from_numpy(store.words[index].astype(np.int64)),
        speaker=torch.tensor([clip.speaker_index for clip in clips])[:, None].expand(-1, length),
        frames=torch.from_numpy(first),
        audio=_audio(store, clips, rows[:, 1], window_samples(length)) if audio else None,
    )


def batches(store: FeatureStore, rows: NDArray[np.int64], length: int, *, batch_size: int, audio: bool,
            ) -> Iterator[WindowBatch]:
    """Batches of windows in the order given; the last may be smaller."""
    for start in range(0, len(rows), batch_size):
        yield batch(store, rows[start : start + batch_size], length, audio=audio)


def audio_channels(wave: Tensor, mean: Tensor | float, std: Tensor | float, ctc: Tensor | None = None) -> Tensor:
    """Sound channels (..., S, 3) of waves (..., S + 1023): the envelope looks 1023 samples past the end.

    Args:
        wave: Sound at 16 kHz with its look-ahead.
        mean: Of the whole clip, (..., 1) or a number.
        std: Of the whole clip.
        ctc: Token ids (..., S), or none: then the channel is 0.

    """
    samples = wave.shape[-1] - LOOK_AHEAD
    heard = wave[..., :samples]
    tokens = torch.zeros_like(heard) if ctc is None else ctc.to(heard.dtype)
    return torch.stack([amplitude_envelope(wave)[..., :samples], tokens, normalise(heard, mean, std)], dim=-1)


def clip_ctc(clip: ClipInfo) -> Tensor | None:
    """CTC ids of a clip, one per sample (S,), or none."""
    return None if clip.ctc is None else expand_ctc(torch.from_numpy(clip.ctc), clip.samples)


def _audio(store: FeatureStore, clips: list[ClipInfo], frames: NDArray[np.int64], samples: int) -> Tensor:
    start = frames * SAMPLE_RATE // FPS
    index = (np.array([clip.first_sample for clip in clips]) + start)[:, None] + np.arange(samples + LOOK_AHEAD)
    ctc = [clip_ctc(clip) for clip in clips]
    tokens = None if ctc[0] is None else torch.stack(
        [ids[begin : begin + samples] for ids, begin in zip(ctc, start, strict=True)])
    mean = torch.tensor([[clip.wave_mean] for clip in clips], dtype=torch.float32)
    std = torch.tensor([[clip.wave_std] for clip in clips], dtype=torch.float32)
    return audio_channels(torch.from_numpy(store.samples[index]), mean, std, tokens)
