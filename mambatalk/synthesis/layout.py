"""How a clip is divided into windows, and the inputs of the generator for each window.

Windows of 64 frames start every 60 frames. The 4 frames that a window shares with the previous one
are its context: the only motion that the generator sees. Source: published inference.

With a `Pace`, windows overlap more, and each ends where audio is still to come: that is how a
stream gets motion early.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mambatalk.audio.channels import LOOK_AHEAD, audio_channels, wave_statistics
from mambatalk.errors import InputError
from mambatalk.fidelity import FidelityRules
from mambatalk.models.generator.network import BODY_CHANNELS, Fused, Generator
from mambatalk.models.parallel import on_threads
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.text.vocabulary import PAD


@dataclass(frozen=True, kw_only=True, eq=False)
class Speech:
    """Speech of one clip, and how the motion for it starts.

    Args:
        waveform: Mono audio (S,) at 16 kHz, values in [-1, 1].
        speaker_id: Id of the speaker in the corpus that the bundle was trained on.
        words: Word ids (n,), one per frame at 30 fps. If None, use audio only.
        frames: Number of frames to generate. If None, as many as the audio covers.
        initial_motion: Motion (4, 337) of the first frames. If None, start from the rest pose of
            the bundle, which published synthesis cannot do.
        ctc: CTC token ids (S,), one per sample, for a bundle that was trained with them.

    """

    waveform: NDArray[np.float32]
    speaker_id: int
    words: NDArray[np.integer] | None = None
    frames: int | None = None
    initial_motion: NDArray[np.float32] | None = None
    ctc: NDArray[np.integer] | None = None

    @property
    def frame_count(self) -> int:
        """Number of frames to generate."""
        if self.frames is not None:
            return self.frames
        return len(self.waveform) * FPS // SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How soon motion follows speech, in frames at 30 fps."""

    hop: int
    """Frames that each window adds. Few give motion early, and take more windows."""
    look_ahead: int
    """Frames of speech after the added ones that a window waits for."""


@dataclass(frozen=True, kw_only=True)
class WindowLayout:
    """Length and overlap of windows, in frames at 30 fps.

    Raises:
        InputError: The frames of the pace do not fit into a window.

    """

    window: int
    context_frames: int
    rules: FidelityRules
    pace: Pace | None = None
    """If None, windows overlap by their context only, and wait for no later speech."""

    def __post_init__(self) -> None:
        largest = self.window - self.context_frames
        if self.hop < 1 or self.look_ahead < 0 or self.hop + self.look_ahead > largest:
            raise InputError(
                "pace",
                f"expected a hop of 1 or more frames, and at most {largest} with the look-ahead,"
                f" found {self.hop} and {self.look_ahead}",
                "choose a hop of 4 to 16 frames",
            )

    @property
    def hop(self) -> int:
        """Frames that each window adds; the first one adds the frames of its context too."""
        return self.pace.hop if self.pace else self.window - self.context_frames

    @property
    def look_ahead(self) -> int:
        """Frames at the end of each window that later windows choose again."""
        return self.pace.look_ahead if self.pace else 0

    def count(self, frames: int) -> int:
        """Return the number of windows of a clip.

        Corrected: as many as cover all frames. Published: full windows only.
        """
        if self.rules.cover_all_frames:
            return max(1, -(-(frames - self.context_frames) // self.hop))
        return (frames // 8 * 8 - self.context_frames) // self.hop

    def covered_frames(self, windows: int) -> int:
        """Return the number of frames that consecutive windows generate."""
        return self.context_frames + windows * self.hop

    def first_frame(self, number: int) -> int:
        """Return the frame of the clip that a window begins with."""
        return max(0, self.covered_frames(number + 1) + self.look_ahead - self.window)

    def known_frames(self, number: int) -> int:
        """Return how many frames of a window the windows before it have generated."""
        return self.covered_frames(number) - self.first_frame(number) if number else 0

    def added_frames(self, number: int) -> int:
        """Return how many frames a window adds to those before it."""
        return self.hop if number else self.covered_frames(1)

    def split_frames(self, count: int) -> list[int]:
        """Divide the last `count` frames of a window by the window that adds them, this one first.

        Frames that are already known count as those of this window.
        """
        first = count - self.look_ahead
        starts = range(first, count, self.hop)
        return [first, *(min(self.hop, count - start) for start in starts)]

    def arrived_frames(self, number: int) -> int:
        """Return how many frames of a window have audio when it is generated.

        All of them, except in the first windows of a stream.
        """
        return self.covered_frames(number + 1) + self.look_ahead - self.first_frame(number)

    def audio_slice(self, number: int) -> tuple[int, int]:
        """Return the first sample and the number of samples of a window's audio.

        Published: 533 samples per frame instead of 533 1/3, which drifts by 37 ms a minute.
        """
        if self.rules.exact_audio_slice:
            return first_sample(self.first_frame(number)), -(-self.window * SAMPLE_RATE // FPS)
        per_frame = SAMPLE_RATE // FPS
        return number * self.hop * per_frame, self.window * per_frame


def check_audio(speech: Speech, layout: WindowLayout) -> None:
    """Check that there is enough audio and that its samples are finite.

    Raises:
        InputError: There is too little audio, or a sample is not finite.

    """
    waveform = speech.waveform
    shortest = 1 if layout.rules.cover_all_frames else layout.window
    if not len(waveform) or speech.frame_count < shortest:
        raise InputError(
            "speech",
            f"expected audio for at least {shortest} frames,"
            f" found {len(waveform)} samples for {speech.frame_count} frames",
            "give a longer recording",
        )
    # The minimum or the maximum is not finite if any sample is not. `np.isfinite` of all samples
    # takes five times as long.
    if not np.isfinite([waveform.min(), waveform.max()]).all():
        raise InputError(
            "speech",
            "expected numbers in [-1, 1], found samples that are not finite",
            "decode or record the audio again",
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipInputs:
    """Audio and words of one clip, on the device of the generator."""

    audio: Tensor
    """Audio channels (S, 3)."""
    words: Tensor
    """Word ids (n,)."""
    first_frame: int = 0
    """Frame of the clip that audio and words begin with."""

    @classmethod
    def of(
        cls,
        speech: Speech,
        device: torch.device,
        statistics: tuple[float, float] | None = None,
    ) -> "ClipInputs":
        """Do the same as `of_clips` for one clip."""
        (inputs,) = cls.of_clips([speech], device, statistics)
        return inputs

    @classmethod
    def of_clips(
        cls,
        speeches: Sequence[Speech],
        device: torch.device,
        statistics: tuple[float, float] | None = None,
    ) -> "list[ClipInputs]":
        """Compute the audio channels of whole clips and move their inputs to a device.

        Args:
            speeches: Speech of the clips.
            device: Device of the generator.
            statistics: Mean and standard deviation of the audio. If None, those of each clip.

        """
        copied = on_threads(lambda speech: _for_device(speech.waveform, device), speeches, device)
        inputs = []
        for wave, speech in zip(copied, speeches, strict=True):
            words = np.full(speech.frame_count, PAD) if speech.words is None else speech.words
            words = words.astype(np.int64)
            wave = wave.to(device, non_blocking=True)
            inputs.append(
                cls(
                    audio=whole_clip_channels(wave, speech.ctc, statistics),
                    words=_for_device(words, device).to(device, non_blocking=True),
                )
            )
        return inputs

    def window(self, number: int, layout: WindowLayout) -> tuple[Tensor, Tensor]:
        """Return audio channels (s, 3) and word ids (T,) of a window, padded past the clip's end.

        Audio is padded with zeros and words with silence.
        """
        start, length = layout.audio_slice(number)
        start -= first_sample(self.first_frame)
        audio = self.audio[start : start + length]
        if len(audio) < length:
            audio = functional.pad(audio, (0, 0, 0, length - len(audio)))

        first = layout.first_frame(number) - self.first_frame
        words = self.words[first : first + layout.window]
        if len(words) < layout.window:
            words = functional.pad(words, (0, layout.window - len(words)), value=PAD)
        return audio, words


def encoded_together(device: torch.device) -> int:
    """Return how many windows are encoded in one batch.

    16 windows of full size need about 1 GB of activations, in half precision half of it. So a GPU
    needs 2 GB for 64 windows, or 4 GB in single precision; with 16 it would wait for launches.
    """
    return 64 if device.type == "cuda" else 16


def encode_windows(
    generator: Generator, windows: Sequence[tuple[ClipInputs, int]], layout: WindowLayout
) -> Fused:
    """Encode audio and words of many windows.

    Args:
        generator: The generator, in evaluation mode.
        windows: Clip and number of each window.
        layout: Length and overlap of windows.

    Returns:
        Features (W, T, audio_dim) of face and body, one row per window in the given order.

    """
    encoded: list[Fused] = []
    together = encoded_together(windows[0][0].audio.device)
    for first in range(0, len(windows), together):
        group = windows[first : first + together]
        inputs = [clip.window(number, layout) for clip, number in group]
        audio = torch.stack([channels for channels, _ in inputs])
        words = torch.stack([ids for _, ids in inputs])
        arrived = None
        counts = [layout.arrived_frames(number) for _, number in group]
        if min(counts) < layout.window:
            arrived = torch.tensor(counts, device=audio.device)
        encoded.append(generator.fuse(audio, audio[..., :BODY_CHANNELS], words, arrived))
    return Fused(*(torch.cat(branch) for branch in zip(*encoded, strict=True)))


def first_sample(frame: int) -> int:
    """Return the first audio sample of a frame."""
    return frame * SAMPLE_RATE // FPS


def whole_clip_channels(
    wave: Tensor, ctc: NDArray[np.integer] | None, statistics: tuple[float, float] | None = None
) -> Tensor:
    """Return the audio channels (S, 3) of a whole clip, on the device of the waveform.

    Past the end of the clip the envelope keeps its last full value, as published.

    Args:
        wave: Waveform (S,) at 16 kHz.
        ctc: CTC token ids (S,). If None, that channel is 0.
        statistics: Mean and standard deviation to normalise with. If None, those of the waveform.

    """
    ids = None if ctc is None else torch.tensor(ctc, device=wave.device)
    mean, std = wave_statistics(wave) if statistics is None else statistics
    return audio_channels(with_look_ahead(wave), mean, std, ids)


def _for_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return a copy in memory that a device reads fast."""
    # A copy for the CPU, too, because arrays of a memory-mapped store are read-only.
    if device.type != "cuda":
        return torch.tensor(array)
    # From pinned memory a GPU reads twice as fast, and the copy does not wait for work before it.
    dtype = torch.tensor(array[:0]).dtype
    pinned = torch.empty(array.shape, dtype=dtype, pin_memory=True)
    pinned.numpy()[...] = array
    return pinned


def with_look_ahead(wave: Tensor) -> Tensor:
    """Append the samples that the envelope reads past the end of a waveform (S,)."""
    tail = wave[-LOOK_AHEAD - 1 :].abs().amax().expand(LOOK_AHEAD)
    return torch.cat([wave, tail])
