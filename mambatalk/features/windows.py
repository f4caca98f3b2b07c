"""Windows: equal slices of clips, gathered into batches of tensors.

A window is (clip, first frame); it never crosses a clip's end. The sound of a window begins at the
sample of its first frame, floor(first / 30 * 16000), as published in training; published synthesis
drifts from it, corrected does not.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.audio.channels import LOOK_AHEAD, audio_channels
from mambatalk.features.store import ClipInfo, FeatureStore
from mambatalk.fidelity import FidelityRules
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


def window_samples(length: int) -> int:
    """Samples of sound under `length` frames: floor(length / 30 * 16000)."""
    return length * SAMPLE_RATE // FPS


def windows(
    store: FeatureStore, split: str, *, length: int, stride: int, audio: bool, rules: FidelityRules
) -> NDArray[np.int64]:
    """All windows of a split: (W, 2) of place in `store.clips` and first frame.

    Published: motion and sound are cut to whole seconds first. Corrected: all frames count; with
    `audio`, all that have sound. A clip shorter than a window gives none.

    Raises:
        InputError: The split has no clip.

    """
    chosen = {clip.clip_id for clip in store.of_split(split)}
    rows = [
        (place, first)
        for place, clip in enumerate(store.clips)
        if clip.clip_id in chosen
        for first in range(0, usable_frames(clip, audio=audio, rules=rules) - length + 1, stride)
    ]
    return np.array(rows, np.int64).reshape(-1, 2)


def usable_frames(clip: ClipInfo, *, audio: bool, rules: FidelityRules) -> int:
    """Frames of a clip that windows may cover, with `audio` only those that have sound; whole
    seconds if published.
    """
    if not rules.keep_partial_seconds:
        seconds = clip.frames // FPS
        return FPS * (min(seconds, clip.samples // SAMPLE_RATE) if audio else seconds)
    return min(clip.frames, clip.samples * FPS // SAMPLE_RATE) if audio else clip.frames


def batch(
    store: FeatureStore,
    rows: NDArray[np.int64],
    length: int,
    *,
    audio: bool,
    device: torch.device | str = "cpu",
) -> WindowBatch:
    """Gather windows (B, 2) into tensors on a device; the sound's channels are computed there."""
    clips = [store.clips[place] for place in rows[:, 0]]
    first = np.array([clip.first_frame for clip in clips]) + rows[:, 1]
    index = first[:, None] + np.arange(length)
    speaker = torch.tensor([clip.speaker_index for clip in clips], device=device)
    return WindowBatch(
        motion=torch.from_numpy(store.motion[index]).to(device),
        expressions=torch.from_numpy(store.expressions[index]).to(device),
        betas=torch.from_numpy(np.stack([clip.betas for clip in clips])).to(device),
        words=torch.from_numpy(store.words[index].astype(np.int64)).to(device),
        speaker=speaker[:, None].expand(-1, length),
        frames=torch.from_numpy(first).to(device),
        audio=_audio(store, clips, rows, length, device) if audio else None,
    )


def batches(
    store: FeatureStore,
    rows: NDArray[np.int64],
    length: int,
    *,
    batch_size: int,
    audio: bool,
    device: torch.device | str = "cpu",
) -> Iterator[WindowBatch]:
    """Batches of windows in the order given; the last may be smaller."""
    for start in range(0, len(rows), batch_size):
        yield batch(store, rows[start : start + batch_size], length, audio=audio, device=device)


def clip_ctc(clip: ClipInfo, first: int = 0, count: int | None = None) -> Tensor | None:
    """CTC ids of `count` samples of a clip from sample `first` on, by default of all; none if it
    has none.

    The ids that `expand_ctc` gives, of which only the slice asked for is made.
    """
    if clip.ctc is None:
        return None
    sample = np.arange(first, clip.samples if count is None else first + count)
    # The last k with floor(k N / K) <= sample.
    return torch.from_numpy(clip.ctc[((sample + 1) * len(clip.ctc) - 1) // clip.samples])


def gather_sound(store: FeatureStore, rows: NDArray[np.int64], length: int) -> Tensor:
    """Sound under windows (B, 2) of so many frames, as recorded, with what the envelope looks
    ahead: (B, S + 1023).
    """
    size = window_samples(length) + LOOK_AHEAD
    first = [store.clips[place].first_sample + frame * SAMPLE_RATE // FPS for place, frame in rows]
    # A stack of slices copies memory; an index of every sample would be three times slower.
    return torch.from_numpy(np.stack([store.samples[begin : begin + size] for begin in first]))


def _audio(
    store: FeatureStore,
    clips: list[ClipInfo],
    rows: NDArray[np.int64],
    length: int,
    device: torch.device | str,
) -> Tensor:
    statistics = torch.tensor(
        [[clip.wave_mean, clip.wave_std] for clip in clips], dtype=torch.float32, device=device
    )
    tokens = _tokens(clips, rows[:, 1] * SAMPLE_RATE // FPS, window_samples(length))
    return audio_channels(
        gather_sound(store, rows, length).to(device),
        statistics[:, :1],
        statistics[:, 1:],
        tokens.to(device),
    )


def _tokens(clips: list[ClipInfo], start: NDArray[np.int64], samples: int) -> Tensor:
    """CTC ids (B, S) of windows; 0 for clips without any."""
    tokens = torch.zeros(len(clips), samples, dtype=torch.uint8)
    for row, clip, begin in zip(tokens, clips, start.tolist(), strict=True):
        ids = clip_ctc(clip, begin, samples)
        if ids is not None:
            row.copy_(ids)
    return tokens
