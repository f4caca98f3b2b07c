"""Audio and words of clips that are generated side by side, window by window.

All windows could be encoded before the first one is generated, since they do not depend on motion.
Encoded as they come, they take little memory, and a GPU encodes the next ones while it generates.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch.nn import functional

from mambatalk.models.generator.network import Fused
from mambatalk.synthesis.layout import ClipInputs, encoded_together

Encode = Callable[[Sequence[tuple[ClipInputs, int]]], Fused]
"""Encodes windows, given as clip and number, to features with one row per window."""


def encoded_windows(
    encode: Encode,
    clips: Sequence[ClipInputs],
    counts: Sequence[int],
    *,
    all_rows: bool,
    beside: torch.cuda.Stream | None,
) -> Iterator[Fused]:
    """Yield the features (B, T, audio_dim) of the first window of all clips, of the second, ...

    Args:
        encode: Encodes windows.
        clips: Audio and words of the clips.
        counts: Number of windows of each clip, the largest first.
        all_rows: Whether clips without a window keep their rows, as zeros. Otherwise B becomes
            smaller when clips end.
        beside: Stream of a GPU that encodes the next windows while the caller works on the last
            ones. If None, they are encoded when they are asked for.

    """
    rows = len(clips) if all_rows else 0
    groups = _encoded_groups(encode, clips, counts)
    if beside is not None:
        groups = _one_group_ahead(groups, beside)
    for features, clip_count in groups:
        for first in range(0, len(features.face), clip_count):
            window = (branch[first : first + clip_count] for branch in features)
            missing = max(0, rows - clip_count)
            yield Fused(*(functional.pad(branch, (0, 0, 0, 0, 0, missing)) for branch in window))


def _encoded_groups(
    encode: Encode, clips: Sequence[ClipInputs], counts: Sequence[int]
) -> Iterator[tuple[Fused, int]]:
    """Yield features of consecutive windows of the same clips, and the number of these clips."""
    together = encoded_together(clips[0].audio.device)
    number = 0
    while number < counts[0]:
        active = [clip for clip, count in zip(clips, counts, strict=True) if count > number]
        # Until the next clip ends, and about as many windows as `encode_windows` takes in a batch.
        until = min(count for count in counts if count > number)
        until = min(until, number + max(1, together // len(active)))
        yield (
            encode([(clip, later) for later in range(number, until) for clip in active]),
            len(active),
        )
        number = until


def _one_group_ahead(
    groups: Iterator[tuple[Fused, int]], beside: torch.cuda.Stream
) -> Iterator[tuple[Fused, int]]:
    """Encode the next group in a stream beside, while the windows of this one are generated."""
    current = torch.cuda.current_stream()
    beside.wait_stream(current)

    def start_next() -> tuple[Fused, int] | None:
        with torch.cuda.stream(beside):
            return next(groups, None)

    try:
        group = start_next()
        while group is not None:
            current.wait_stream(beside)
            for branch in group[0]:
                # Its memory may be used again only after the windows have read it.
                branch.record_stream(current)
            following = start_next()
            yield group
            group = following
    finally:
        # If the caller stops early, a group is still being encoded. The memory that it reads
        # belongs to the caller's stream, which has to wait before it uses that memory again.
        current.wait_stream(beside)
