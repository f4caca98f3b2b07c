"""Window by window: what the generator is given, the codes it answers with, and the seed of the
next window.

Windows of 64 frames follow each other every 60; the 4 frames they share are the seed, the only
motion a window sees.

Published: sound is cut 533 samples a frame, so that it drifts 37 ms a minute from the motion; a
later seed has the jaw and the eyes at identity and a translation that no loss ever touched,
restarted at the first frame; frames past the last full window are dropped. Corrected: exact sound,
the decoded face, a translation integrated from decoded velocity and counted from the window's first
frame as in training, and every frame is generated. Source: published inference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.fidelity import FidelityRules
from mambatalk.models.generator.conditioning import full_mask, relative_motion
from mambatalk.models.generator.network import BODY_CHANNELS, Fused, Generator, GeneratorOutput
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.parts import PART_CONTACT, PART_TRANSLATION, integrate_ground
from mambatalk.motion.rotations import (
    axis_angle_from_6d,
    axis_angle_to_6d,
    matrix_from_6d,
    matrix_to_6d,
)
from mambatalk.motion.skeleton import (
    CONTACT,
    FPS,
    JOINT_COUNT,
    MOTION_DIM,
    PARTS,
    POSE_DIM,
    SAMPLE_RATE,
    TRANSLATION,
    Part,
    pose_channels,
)
from mambatalk.text.vocabulary import PAD

FUSE_AT_ONCE = 16
"""Windows whose sound is encoded together; it depends on no seed."""

Codes = dict[Part, Tensor]


class Window(NamedTuple):
    """One window as it was run."""

    seed: Tensor
    """(4, 337)."""
    audio_start: int
    audio_length: int
    output: GeneratorOutput
    """Latents and logits, (1, 64, C)."""
    codes: Codes
    """(64,) each."""


Settle = Callable[[int, GeneratorOutput, Codes], Codes]
"""Looks at a window's number, output and codes, and returns the codes to go on with."""


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What is said, on the device of the networks."""

    audio: Tensor
    """Sound channels (S, 3)."""
    words: Tensor
    """Word ids (n,)."""
    speaker: int
    frames: int


@dataclass(frozen=True, kw_only=True)
class Rolling:
    """How windows are laid out and seeded."""

    window: int
    seed_frames: int
    rules: FidelityRules

    @property
    def hop(self) -> int:
        """Frames from one window to the next."""
        return self.window - self.seed_frames

    def count(self, frames: int) -> int:
        """Windows of a clip: the full ones if published, else as many as cover it."""
        if self.rules.cover_all_frames:
            return max(1, -(-(frames - self.seed_frames) // self.hop))
        return (frames // 8 * 8 - self.seed_frames) // self.hop

    def audio_slice(self, window: int) -> tuple[int, int]:
        """First sample and number of samples of a window's sound."""
        if self.rules.exact_audio_slice:
            return window * self.hop * SAMPLE_RATE // FPS, -(-self.window * SAMPLE_RATE // FPS)
        per_frame = SAMPLE_RATE // FPS
        return window * self.hop * per_frame, self.window * per_frame


def run_windows(
    generator: Generator,
    networks: Mapping[Part, VQVAE],
    speech: Speech,
    seed: Tensor,
    rolling: Rolling,
    settle: Settle = lambda number, output, codes: codes,
) -> list[Window]:
    """Run all windows of a clip, each seeded by the one before.

    Args:
        generator: In evaluation mode.
        networks: Auto-encoders of the four parts.
        speech: Sound, words, speaker.
        seed: Motion (4, 337) of the first frames.
        rolling: Layout.
        settle: May replace the codes of a window before they are used.

    """
    count = rolling.count(speech.frames)
    fused = _fuse(generator, speech, rolling, count)
    speaker = torch.full((1, rolling.window), speech.speaker, device=seed.device)
    done: list[Window] = []
    start = seed[0]
    for number in range(count):
        motion = seed.new_zeros(1, rolling.window, MOTION_DIM)
        motion[0, : rolling.seed_frames] = seed
        shown = relative_motion(motion) if rolling.rules.relative_position else motion
        output = generator.forward_fused(
            Fused(*(x[number : number + 1] for x in fused)),
            speaker,
            shown,
            full_mask(motion, rolling.seed_frames),
        )
        codes = settle(number, output, choose_codes(output, networks))
        done.append(Window(seed, *rolling.audio_slice(number), output, codes))
        seed = next_seed(codes, networks, seed, start, rolling)
    return done


def choose_codes(output: GeneratorOutput, networks: Mapping[Part, VQVAE]) -> Codes:
    """Codes (64,): the likeliest of the body's parts; for the face the one nearest to its
    latent.
    """
    codes = {part: output.logits[part][0].argmax(-1) for part in PARTS}
    codes["face"] = networks["face"].quantizer.nearest(output.latent["face"])[0]
    return codes


def join_codes(windows: list[Window], rolling: Rolling) -> Codes:
    """Codes of the clip: all of the first window, then what each later one has past its seed."""
    return {
        part: torch.cat(
            [
                window.codes[part][rolling.seed_frames if k else 0 :]
                for k, window in enumerate(windows)
            ]
        )
        for part in PARTS
    }


def next_seed(
    codes: Codes, networks: Mapping[Part, VQVAE], seed: Tensor, start: Tensor, rolling: Rolling
) -> Tensor:
    """Motion (4, 337) that seeds the next window, from the codes of this one, its seed and the
    clip's first frame.
    """
    rules = rolling.rules
    decoded = {part: networks[part].decode_index(codes[part][None])[0] for part in PARTS}
    motion = identity_motion(rolling.window, seed)
    for part in PARTS if rules.decoded_context else PARTS[1:]:
        motion[:, pose_channels(part)] = clean_rotations(
            decoded[part][:, : len(pose_channels(part))], rules
        )
    lower = decoded["lower"]
    origin = seed[0] if rules.decoded_context else start
    motion[:, TRANSLATION] = integrate_ground(lower[:, PART_TRANSLATION], origin[TRANSLATION])
    motion[:, CONTACT] = lower[:, PART_CONTACT]
    return motion[-rolling.seed_frames :]


def clean_rotations(pose: Tensor, rules: FidelityRules) -> Tensor:
    """6D rotations (n, 6 J) made orthonormal; published by way of its axis-angle formula, which
    loses small angles.

    That formula amplifies last bits, and PyTorch's norm rounds by memory layout: give it a
    decoder's output as it comes, before it is copied anywhere.
    """
    rotations = pose.unflatten(-1, (-1, 6))
    if rules.stable_axis_angle:
        return matrix_to_6d(matrix_from_6d(rotations)).flatten(-2)
    return axis_angle_to_6d(axis_angle_from_6d(rotations, formula="published")).flatten(-2)


def identity_motion(frames: int, like: Tensor) -> Tensor:
    """Motion (frames, 337) with every rotation at identity and the rest 0."""
    motion = like.new_zeros(frames, MOTION_DIM)
    motion[:, :POSE_DIM] = like.new_tensor([1, 0, 0, 0, 1, 0]).repeat(JOINT_COUNT)
    return motion


def _fuse(generator: Generator, speech: Speech, rolling: Rolling, count: int) -> Fused:
    slices = [rolling.audio_slice(number) for number in range(count)]
    missing = max(0, sum(slices[-1]) - len(speech.audio))
    audio = functional.pad(speech.audio, (0, 0, 0, missing))
    frames = (count - 1) * rolling.hop + rolling.window
    words = functional.pad(
        speech.words[:frames], (0, max(0, frames - len(speech.words))), value=PAD
    )
    waves = torch.stack([audio[start : start + length] for start, length in slices])
    texts = words.unfold(0, rolling.window, rolling.hop)
    pieces = [
        generator.fuse(wave, wave[..., :BODY_CHANNELS], text)
        for wave, text in zip(waves.split(FUSE_AT_ONCE), texts.split(FUSE_AT_ONCE), strict=True)
    ]
    return Fused(*(torch.cat(branch) for branch in zip(*pieces, strict=True)))
