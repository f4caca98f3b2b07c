"""Audio and words of clips that are generated side by side, window by window.

All windows could be encoded before the first one is generated, since they do not depend on motion.
Encoded as they are needed, they take little memory, and the next ones are encoded while motion is
generated for the last ones: on a GPU in a second stream, on a CPU by half of its threads.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

import torch
from torch.nn import functional

from mambatalk.models.generator.network import Fused
from mambatalk.synthesis.layout import ClipInputs, encoded_together

Encode = Callable[[Sequence[tuple[ClipInputs, int]]], Fused]
"""Encodes windows, given as clip and number, to features with one row per window."""
Job = Callable[[], Fused]
"""Encodes a group of windows."""
BESIDE: Final = 4
"""Consecutive windows that are encoded on a CPU while others are generated. With more of them the
two halves of the threads wait longer for each other at the beginning and at the end of a clip.
"""


def windows_together(device: torch.device, clips: int = 1) -> int:
    """Return how many consecutive windows of each clip are encoded in one batch."""
    windows = max(1, encoded_together(device) // clips)
    return min(windows, BESIDE) if _has_threads(device) else windows


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
        beside: Stream of a GPU that encodes the next windows (`encoded_ahead`).

    """
    rows = len(clips) if all_rows else 0
    groups = _groups(clips, counts)
    jobs = (partial(encode, windows) for windows, _ in groups)
    encoded = encoded_ahead(jobs, clips[0].audio.device, beside)
    for features, (_, clip_count) in zip(encoded, groups, strict=True):
        for first in range(0, len(features.face), clip_count):
            window = (branch[first : first + clip_count] for branch in features)
            missing = max(0, rows - clip_count)
            yield Fused(*(functional.pad(branch, (0, 0, 0, 0, 0, missing)) for branch in window))


def encoded_ahead(
    jobs: Iterable[Job], device: torch.device, beside: torch.cuda.Stream | None = None
) -> Iterator[Fused]:
    """Yield the features of groups of windows, and encode a group while the one before is used.

    Args:
        jobs: The jobs that encode the groups.
        device: Device of the generator.
        beside: Stream of a GPU that encodes. If None, a GPU encodes each group on demand.

    """
    if beside is not None:
        return _in_a_stream_beside(iter(jobs), beside)
    if _has_threads(device):
        return _with_half_of_the_threads(iter(jobs), torch.get_num_threads())
    return (job() for job in jobs)


def _has_threads(device: torch.device) -> bool:
    return device.type == "cpu" and torch.get_num_threads() > 1


def _groups(
    clips: Sequence[ClipInputs], counts: Sequence[int]
) -> list[tuple[list[tuple[ClipInputs, int]], int]]:
    """Return groups of consecutive windows of the same clips, and the number of these clips."""
    groups = []
    number = 0
    while number < counts[0]:
        active = [clip for clip, count in zip(clips, counts, strict=True) if count > number]
        # Until the next clip ends, and about as many windows as `encode_windows` takes in a batch.
        until = min(count for count in counts if count > number)
        until = min(until, number + windows_together(clips[0].audio.device, len(active)))
        windows = [(clip, later) for later in range(number, until) for clip in active]
        groups.append((windows, len(active)))
        number = until
    return groups


def _with_half_of_the_threads(jobs: Iterator[Job], threads: int) -> Iterator[Fused]:
    """Encode the next group with half of the threads, while the caller has the other half.

    Threads that share every operation wait for each other in each of them. The number of threads
    changes the last bits, so that of a group depends on its place alone.
    """
    half = threads // 2

    @torch.inference_mode()
    def encoded(job: Job) -> Fused:
        torch.set_num_threads(half)
        return job()

    with ThreadPoolExecutor(1) as pool:
        try:
            job = next(jobs, None)
            features = None if job is None else job()
            while features is not None:
                following: Future[Fused] | None = None
                if (job := next(jobs, None)) is not None:
                    following = pool.submit(encoded, job)
                # Nothing is encoded beside the last group.
                torch.set_num_threads(threads - half if following else threads)
                yield features
                features = following.result() if following else None
        finally:
            torch.set_num_threads(threads)


def _in_a_stream_beside(jobs: Iterator[Job], beside: torch.cuda.Stream) -> Iterator[Fused]:
    """Encode the next group in a second stream, while the windows of this one are generated."""
    current = torch.cuda.current_stream()
    beside.wait_stream(current)

    def start_next() -> Fused | None:
        job = next(jobs, None)
        if job is None:
            return None
        with torch.cuda.stream(beside):
            return job()

    try:
        group = start_next()
        while group is not None:
            current.wait_stream(beside)
            for branch in group:
                # Its memory may be used again only after the windows have read it.
                branch.record_stream(current)
            following = start_next()
            yield group
            group = following
    finally:
        # If the caller stops early, a group is still being encoded. The memory that it reads
        # belongs to the caller's stream, which has to wait before it uses that memory again.
        current.wait_stream(beside)
