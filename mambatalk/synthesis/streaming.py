"""Motion for audio that is still arriving.

A window is generated as soon as its audio is complete. The motion does not depend on how audio is
divided into chunks, not even in its last bits.

Without a pace, a frame is returned as soon as every frame that affects it is generated. With the
statistics of the whole recording, the motion then equals that of `Synthesizer.generate` but for
rounding, and for feet: a planted foot is held at its mean place (the rule `locked_feet`), which is
known only when the foot is lifted. A caller that has waited for the end can call
`Synthesizer.lock_feet` on the whole motion.

With a `Pace`, frames are returned with the window that adds them: the decoders read the codes of
the look-ahead after them, which are not final, and beyond these the last one again.
"""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mambatalk.audio.channels import LOOK_AHEAD, VARIANCE_FLOOR, audio_channels
from mambatalk.errors import InputError
from mambatalk.models.generator.network import Fused
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE, TRANSLATION
from mambatalk.synthesis.decoding import (
    Codes,
    DecodedMotion,
    decode,
    decoder_reach,
    join_codes,
    root_path,
    to_smplx,
)
from mambatalk.synthesis.encoding import Job, encoded_ahead
from mambatalk.synthesis.layout import ClipInputs, with_look_ahead
from mambatalk.synthesis.synthesizer import Synthesizer

DECODED_TOGETHER: Final = 4
"""Windows of a file that are decoded in one piece. A piece is decoded with neighbouring frames at
both ends, which take as long as one window. Progress is shown once a piece.
"""


@torch.inference_mode()
def stream(
    synthesizer: Synthesizer,
    chunks: Iterable[NDArray[np.float32]],
    *,
    speaker_id: int,
    words: NDArray[np.integer] | None = None,
    initial_motion: NDArray[np.float32] | None = None,
    statistics: tuple[float, float] | None = None,
    together: int = 1,
) -> Iterator[SmplxMotion]:
    """Generate motion while audio arrives; CTC ids are not used.

    Args:
        synthesizer: Corrected synthesis.
        chunks: Consecutive pieces (s,) of mono audio at 16 kHz, of any length.
        speaker_id: Id of the speaker in the corpus that the bundle was trained on.
        words: Word ids (n,), one per frame at 30 fps, where the recording's transcript is known in
            advance. If None, use audio only.
        initial_motion: Motion (4, 337) of the first frames. If None, start from the rest pose.
        statistics: Mean and standard deviation to normalise the audio with, as `wave_statistics`
            computes them. If None, the fixed ones that the network was trained with, or those of
            the audio up to the end of each window.
        together: Number of windows whose audio is encoded in one batch, which takes less time than
            one by one. Some of them are decoded together as well. The first window of a batch waits
            for the audio of the last, so leave it at 1 unless all audio is there, as in a file.

    Yields:
        Consecutive pieces of the motion at 30 fps, none of them empty.

    Raises:
        InputError: The speaker is unknown, the audio ends before the first frame or is not finite,
            or the synthesis is published, which drops the last frames; how many is known only at
            the end.

    """
    if not synthesizer.rules.cover_all_frames:
        raise InputError("fidelity", "expected corrected, found published", "use corrected")
    start = synthesizer.initial_motion(initial_motion)
    speaker_index = torch.tensor([synthesizer.speaker_index(speaker_id)])
    state = synthesizer.start(start[None], speaker_index)
    audio = _ReceivedAudio(synthesizer, words, statistics)
    frames = _FrameDecoder(synthesizer, start[:1, TRANSLATION])
    pieces = min(together, DECODED_TOGETHER)

    for window in audio.windows(chunks, together):
        number = state.windows
        codes, state = synthesizer.step(state, window)
        motion = frames.append(
            codes,
            synthesizer.layout.added_frames(number),
            # A window without all of its audio may reach past the last frame.
            decode_now=(number + 1) % pieces == 0 and audio.has_window(number),
        )
        if motion:
            yield motion
    if motion := frames.finish(audio.total_frames()):
        yield motion


def stream_delay(synthesizer: Synthesizer) -> float:
    """Return the longest time in seconds from a sound to the motion of its frame.

    It applies to audio that arrives in real time, and does not include computation. The first
    window of a stream can wait longest, because it adds the frames of the context too.
    """
    layout = synthesizer.layout
    later = layout.look_ahead if layout.pace else decoder_reach(synthesizer.bundle)
    frames = max(layout.hop + later, layout.covered_frames(1) + layout.look_ahead)
    return frames / FPS + _samples_after(synthesizer) / SAMPLE_RATE


def _samples_after(synthesizer: Synthesizer) -> int:
    """Return how many samples past its audio a window waits for: those of the envelope."""
    return 0 if synthesizer.bundle.generator.config.streaming else LOOK_AHEAD


class _ReceivedAudio:
    """Audio that later windows still need, and statistics of all audio so far."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        words: NDArray[np.integer] | None,
        statistics: tuple[float, float] | None,
    ) -> None:
        self._synthesizer = synthesizer
        self._words = np.zeros(0, np.int64) if words is None else words.astype(np.int64)
        self._statistics = statistics or synthesizer.statistics
        self._wave = np.zeros(0, np.float32)
        self._first = 0
        """Place of the first kept sample in the stream."""
        self._sum = 0.0
        self._sum_of_squares = 0.0
        self._summed = 0
        """Samples in both sums."""
        self.received = 0

    def windows(self, chunks: Iterable[NDArray[np.float32]], together: int) -> Iterator[Fused]:
        """Yield the encoded windows (1, T, C) of chunks, padded past the end.

        Args:
            chunks: Consecutive pieces of the audio.
            together: Number of windows that are encoded in one batch, counted from the first one,
                so that chunks of any size make the same batches. If more than one, the next ones
                are encoded meanwhile (`encoded_ahead`).

        Raises:
            InputError: The audio ends before the first frame, or is not finite.

        """
        jobs = self._jobs(chunks, together)
        groups: Iterator[Fused] = (job() for job in jobs)
        if together > 1:
            # One alone is encoded at once: the next one would have to wait for its audio.
            groups = encoded_ahead(jobs, self._synthesizer.device)
        for features in groups:
            for window in zip(*(branch.split(1) for branch in features), strict=True):
                yield Fused(*window)

    def _jobs(self, chunks: Iterable[NDArray[np.float32]], together: int) -> Iterator[Job]:
        number = 0
        for chunk in chunks:
            self._append(chunk)
            while self.has_window(number + together - 1):
                yield self._job(range(number, number + together))
                number += together
        count = self._synthesizer.layout.count(self.total_frames())
        for first in range(number, count, together):
            yield self._job(range(first, min(first + together, count)))

    def _job(self, numbers: Iterable[int]) -> Job:
        windows = [(self._inputs(number), number) for number in numbers]
        return partial(self._synthesizer.encode, windows)

    def total_frames(self) -> int:
        """Return the number of frames of all audio.

        Raises:
            InputError: There are none.

        """
        total = self.received * FPS // SAMPLE_RATE
        if not total:
            raise InputError(
                "speech",
                f"expected audio for at least 1 frame, found {self.received} samples",
                "give a longer recording",
            )
        return total

    def _append(self, chunk: NDArray[np.float32]) -> None:
        if not np.isfinite(chunk).all():
            raise InputError(
                "speech",
                "expected numbers in [-1, 1], found samples that are not finite",
                "decode or record the audio again",
            )
        self._wave = np.concatenate([self._wave, chunk])
        self.received += len(chunk)

    def has_window(self, number: int) -> bool:
        """Return whether all audio that a window waits for has arrived."""
        first, _ = self._synthesizer.layout.audio_slice(number)
        return self.received >= first + self._needed_samples(number)

    def _needed_samples(self, number: int) -> int:
        frames = self._synthesizer.layout.arrived_frames(number)
        return -(-frames * SAMPLE_RATE // FPS) + _samples_after(self._synthesizer)

    def _inputs(self, number: int) -> ClipInputs:
        """Return the inputs of a window, padded past the end, and delete the audio before it."""
        layout = self._synthesizer.layout
        first, _ = layout.audio_slice(number)
        needed = self._needed_samples(number)
        statistics = self._statistics or self._statistics_until(first + needed)
        self._wave = self._wave[first - self._first :]
        self._first = first

        # Use no more than is needed, however much has arrived.
        wave = torch.from_numpy(self._wave[:needed])
        if len(wave) < needed:
            wave = with_look_ahead(wave)
        else:
            wave = functional.pad(wave, (0, LOOK_AHEAD - _samples_after(self._synthesizer)))
        first_frame = layout.first_frame(number)
        words = self._words[first_frame:][: layout.window]
        return ClipInputs(
            audio=audio_channels(wave, *statistics).to(self._synthesizer.device),
            words=torch.from_numpy(words).to(self._synthesizer.device),
            first_frame=first_frame,
        )

    def _statistics_until(self, end: int) -> tuple[float, float]:
        """Return mean and deviation of the audio before a sample, or of all if there is less."""
        # Added window by window, because the last bits of a sum depend on how it is divided.
        new = self._wave[self._summed - self._first : end - self._first]
        self._sum += float(new.sum(dtype=np.float64))
        self._sum_of_squares += float(np.square(new, dtype=np.float64).sum())
        self._summed += len(new)
        mean = self._sum / self._summed
        variance = max(0.0, self._sum_of_squares / self._summed - mean**2)
        return mean, math.sqrt(variance + VARIANCE_FLOOR)


class _FrameDecoder:
    """Decodes codes as far as frames are final: their neighbours within reach are known."""

    def __init__(self, synthesizer: Synthesizer, position: Tensor) -> None:
        self._synthesizer = synthesizer
        self._reach = decoder_reach(synthesizer.bundle)
        self._position = position
        """Translation (1, 3) of the next frame; x and z are used."""
        self._bounds = synthesizer.bounds(position)
        self._codes: Codes = {}
        self._later: Codes = {}
        """Codes of the look-ahead, which are not final."""
        self._first = 0
        """Frame of the first kept code."""
        self._returned = 0

    def append(self, codes: Codes, added: int, *, decode_now: bool = True) -> SmplxMotion | None:
        """Add the codes (1, n) of a window and return the frames that are now due, if any.

        Args:
            codes: Codes that the window adds, and those of its look-ahead.
            added: Number of frames that it adds.
            decode_now: Whether to return frames.

        """
        new = join_codes([codes], added)
        self._codes = join_codes([self._codes, new] if self._codes else [new])
        self._later = {part: index[:, added:] for part, index in codes.items()}
        due = self._first + len(self._codes["upper"][0])
        if self._synthesizer.layout.pace is None:
            due -= self._reach
        return self._frames_until(due) if decode_now else None

    def finish(self, total: int) -> SmplxMotion | None:
        """Return the remaining frames of a clip of `total` frames, if any."""
        self._codes = join_codes([self._codes], total - self._first)
        self._later = join_codes([self._later], 0)
        return self._frames_until(total)

    def _frames_until(self, end: int) -> SmplxMotion | None:
        if end <= self._returned:
            return None
        codes = join_codes([self._codes, self._later])
        decoded = decode(self._synthesizer.bundle, codes, self._synthesizer.rules)
        rows = slice(self._returned - self._first, end - self._first)
        final = DecodedMotion(*(array[:, rows] for array in decoded))
        (motion,) = to_smplx(
            final,
            [end - self._returned],
            self._position,
            self._synthesizer.rules,
            self._bounds,
        )

        # Integration is one frame behind its velocities: the last one moves the next frame.
        ground = torch.cat([final.ground, final.ground[:, -1:]], dim=1)
        self._position = root_path(ground, self._position, self._bounds)[:, -1]
        self._returned = end

        kept = max(0, end - self._reach)
        self._codes = {part: index[:, kept - self._first :] for part, index in self._codes.items()}
        self._first = kept
        return motion
