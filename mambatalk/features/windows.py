"""Windows: slices of equal length from clips, gathered into batches of tensors.

A window is a pair of clip and first frame, and it is inside its clip. Its audio begins at the
sample of its first frame, floor(first / 30 * 16000), as in the published training. Published
synthesis uses 533 samples per frame instead, which drifts from this; corrected synthesis does not.
"""

from collections.abc import Iterator, Sequence
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
    """B windows of T frames with S audio samples."""

    motion: Tensor
    """Motion channels (B, T, 337)."""
    expressions: Tensor
    """Expression coefficients (B, T, 100)."""
    betas: Tensor
    """Shape parameters (B, 300)."""
    words: Tensor
    """Word ids (B, T), int64."""
    speaker_index: Tensor
    """Speaker index (B, T), int64; constant within a window."""
    frames: Tensor
    """Row (B,) of each window's first frame in the arrays of the store, int64."""
    audio: Tensor | None
    """Audio channels (B, S, 3); None if not requested."""


def window_samples(length: int) -> int:
    """Return the number of audio samples of a window: floor(length / 30 * 16000)."""
    return length * SAMPLE_RATE // FPS


def windows(
    store: FeatureStore, split: str, *, length: int, stride: int, audio: bool, rules: FidelityRules
) -> NDArray[np.int64]:
    """List all windows of a split.

    Args:
        store: Features.
        split: Split to list.
        length: Frames of a window.
        stride: Frames between the starts of consecutive windows of a clip.
        audio: Whether every frame must have audio.
        rules: Published fidelity cuts clips to whole seconds first.

    Returns:
        Index of the clip in `store.clips` and first frame of every window (W, 2). Clips shorter
        than a window have none.

    Raises:
        InputError: The split has no clip.

    """
    chosen = {clip.clip_id for clip in store.clips_in_split(split)}
    rows = []
    for index, clip in enumerate(store.clips):
        if clip.clip_id in chosen:
            last = usable_frames(clip, audio=audio, rules=rules) - length
            rows += [(index, first) for first in range(0, last + 1, stride)]
    return np.array(rows, np.int64).reshape(-1, 2)


def usable_frames(clip: ClipInfo, *, audio: bool, rules: FidelityRules) -> int:
    """Return the number of frames of a clip that windows may cover.

    Args:
        clip: The clip.
        audio: Whether every frame must have audio.
        rules: Published fidelity uses whole seconds only.

    """
    if not rules.keep_partial_seconds:
        seconds = clip.frames // FPS
        if audio:
            seconds = min(seconds, clip.samples // SAMPLE_RATE)
        return FPS * seconds
    if audio:
        return min(clip.frames, clip.samples * FPS // SAMPLE_RATE)
    return clip.frames


def gather_batch(
    store: FeatureStore,
    rows: NDArray[np.int64],
    length: int,
    *,
    audio: bool,
    device: torch.device | str = "cpu",
) -> WindowBatch:
    """Gather windows into tensors on a device.

    Args:
        store: Features.
        rows: Windows (B, 2) from `windows`.
        length: Frames of a window.
        audio: Whether to compute the audio channels, on the device.
        device: Device of the tensors.

    """
    clips = [store.clips[index] for index in rows[:, 0]]
    first = np.array([clip.first_frame for clip in clips]) + rows[:, 1]
    frames = first[:, None] + np.arange(length)
    speaker = torch.tensor([clip.speaker_index for clip in clips], device=device)
    return WindowBatch(
        motion=torch.from_numpy(store.motion[frames]).to(device),
        expressions=torch.from_numpy(store.expressions[frames]).to(device),
        betas=torch.from_numpy(np.stack([clip.betas for clip in clips])).to(device),
        words=torch.from_numpy(store.words[frames].astype(np.int64)).to(device),
        speaker_index=speaker[:, None].expand(-1, length),
        frames=torch.from_numpy(first).to(device),
        audio=_gather_channels(store, clips, rows, length, device) if audio else None,
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
    """Yield batches of windows in the given order; the last one may be smaller.

    Args:
        store: Features.
        rows: Windows (W, 2) from `windows`.
        length: Frames of a window.
        batch_size: Windows of a batch.
        audio: Whether to compute the audio channels.
        device: Device of the tensors.

    """
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        yield gather_batch(store, chosen, length, audio=audio, device=device)


def clip_ctc(clip: ClipInfo, first: int = 0, count: int | None = None) -> Tensor | None:
    """Return the CTC token id of each audio sample of a clip.

    The result is a slice of `audio.channels.expand_ctc`, without computing the rest.

    Args:
        clip: The clip.
        first: First sample.
        count: Number of samples. If None, all samples of the clip.

    Returns:
        Token ids (count,) as uint8. None if the clip has no CTC ids.

    """
    if clip.ctc is None:
        return None
    samples = np.arange(first, clip.samples if count is None else first + count)
    # Id k of K covers the samples from floor(k N / K) on, with N samples in total.
    ids = ((samples + 1) * len(clip.ctc) - 1) // clip.samples
    return torch.from_numpy(clip.ctc[ids])


def gather_waveforms(store: FeatureStore, rows: NDArray[np.int64], length: int) -> Tensor:
    """Gather the waveforms (B, S + 1023) of windows (B, 2) of `length` frames.

    The last 1023 samples are the look-ahead of the envelope.
    """
    size = window_samples(length) + LOOK_AHEAD
    starts = [store.clips[index].first_sample + frame * SAMPLE_RATE // FPS for index, frame in rows]
    # Slices are copied as blocks; indexing every sample would take three times as long.
    return torch.from_numpy(np.stack([store.samples[start : start + size] for start in starts]))


def _gather_channels(
    store: FeatureStore,
    clips: Sequence[ClipInfo],
    rows: NDArray[np.int64],
    length: int,
    device: torch.device | str,
) -> Tensor:
    statistics = torch.tensor(
        [[clip.wave_mean, clip.wave_std] for clip in clips], dtype=torch.float32, device=device
    )
    mean, std = statistics[:, :1], statistics[:, 1:]
    waveforms = gather_waveforms(store, rows, length).to(device)
    tokens = _gather_ctc(clips, rows[:, 1] * SAMPLE_RATE // FPS, window_samples(length))
    return audio_channels(waveforms, mean, std, tokens.to(device))


def _gather_ctc(clips: Sequence[ClipInfo], starts: NDArray[np.int64], count: int) -> Tensor:
    """Gather the CTC token ids (B, count) of windows; 0 for clips without ids."""
    tokens = torch.zeros(len(clips), count, dtype=torch.uint8)
    for row, clip, start in zip(tokens, clips, starts.tolist(), strict=True):
        ids = clip_ctc(clip, start, count)
        if ids is not None:
            row.copy_(ids)
    return tokens
