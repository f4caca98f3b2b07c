"""Speech in, SMPL-X motion out: windows to codes, codes to parts, parts to one body.

The codes of the whole clip are decoded once per part: the decoders' reach over window borders is
what makes the joints smooth. Translation comes from the global-motion net, which turns legs into
ground velocity and height. Source: published inference; `mambatalk.synthesis.windows` says what is
corrected.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.audio.channels import wave_statistics
from mambatalk.errors import InputError
from mambatalk.features.store import LOOK_AHEAD
from mambatalk.features.windows import audio_channels
from mambatalk.fidelity import FidelityRules
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.models.vq.vqvae import AutoEncoder as GlobalNet
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.parts import LEGS, PART_CONTACT, PART_TRANSLATION, integrate_ground
from mambatalk.motion.rotations import axis_angle_from_6d
from mambatalk.motion.skeleton import (
    EXPRESSION_DIM,
    FPS,
    JOINT_COUNT,
    PARTS,
    POSE_DIM,
    SAMPLE_RATE,
    TRANSLATION,
    Part,
    pose_channels,
)
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.windows import (
    Codes,
    Rolling,
    Speech,
    clean_rotations,
    identity_motion,
    join_codes,
    run_windows,
)
from mambatalk.text.vocabulary import PAD


class Decoded(NamedTuple):
    """A clip's motion in the networks' own form."""

    pose: Tensor
    """6D rotations (n, 330), orthonormal."""
    trans: Tensor
    """(n, 3), metres."""
    expressions: Tensor
    """(n, 100)."""


@torch.inference_mode()
def synthesise(
    bundle: Bundle,
    wave: NDArray[np.float32],
    *,
    speaker: int,
    words: NDArray[np.int32] | None = None,
    frames: int | None = None,
    seed: NDArray[np.float32] | None = None,
    ctc: Tensor | None = None,
    rules: FidelityRules | None = None,
) -> SmplxMotion:
    """Generate motion for speech.

    Args:
        bundle: The model.
        wave: Sound (S,) at 16 kHz.
        speaker: Speaker index, the bundle's `speakers` has them by id.
        words: Word ids (n,), one a frame; none goes by sound alone.
        frames: Frames to generate; none covers the sound.
        seed: Motion (4, 337) of the first frames; none starts from the bundle's rest pose.
            Published needs one.
        ctc: CTC ids (S,), one a sample, where the bundle was trained with them.
        rules: None follows the bundle.

    Raises:
        InputError: There is too little sound, it is not finite, the speaker is unknown, or published
            synthesis has no seed.

    """
    rules = rules or bundle.rules
    device = next(bundle.generator.parameters()).device
    frames = len(wave) * FPS // SAMPLE_RATE if frames is None else frames
    rolling = Rolling(
        window=bundle.window,
        seed_frames=bundle.seed_frames,
        rules=rules,
    )
    _check_request(bundle, wave, speaker, frames, seed, rules)
    first = bundle.rest.expand(rolling.seed_frames, -1) if seed is None else torch.from_numpy(seed)
    text = np.full(frames, PAD) if words is None else words
    speech = Speech(
        audio=_channels(wave, ctc).to(device),
        speaker=speaker,
        frames=frames,
        words=torch.from_numpy(text.astype(np.int64)).to(device),
    )
    windows = run_windows(
        bundle.generator, bundle.part_networks, speech, first.float().to(device), rolling
    )
    codes = {part: index[:frames] for part, index in join_codes(windows, rolling).items()}
    return to_result(
        decode(codes, bundle.part_networks, bundle.global_net, first[0, TRANSLATION], rules),
        rules,
    )


def decode(
    codes: Codes,
    networks: Mapping[Part, VQVAE],
    global_net: GlobalNet,
    start: Tensor,
    rules: FidelityRules,
) -> Decoded:
    """Motion of a clip's codes (n,), from the place `start` (3,).

    The global-motion net was trained without contacts in its input; published synthesis gives it
    the predicted ones all the same, corrected does not.
    """
    decoded = {part: networks[part].decode_index(codes[part][None])[0] for part in PARTS}
    frames = len(codes["upper"])
    pose = identity_motion(frames, decoded["upper"])[:, :POSE_DIM]
    for part in PARTS:
        pose[:, pose_channels(part)] = clean_rotations(
            decoded[part][:, : len(pose_channels(part))], rules
        )
    legs = torch.cat(
        [pose[:, pose_channels("lower")], torch.zeros_like(decoded["lower"][:, LEGS.stop :])],
        dim=-1,
    )
    if not rules.zero_contacts_for_global_net:
        legs[:, PART_CONTACT] = decoded["lower"][:, PART_CONTACT]
    ground = global_net(legs[None])[0, :, PART_TRANSLATION]
    return Decoded(
        pose, integrate_ground(ground, start.to(ground)), decoded["face"][:, -EXPRESSION_DIM:]
    )


def to_result(decoded: Decoded, rules: FidelityRules) -> SmplxMotion:
    """Axis-angle arrays of a decoded clip; the eyes look straight ahead."""
    poses = axis_angle_from_6d(
        decoded.pose.unflatten(-1, (JOINT_COUNT, 6)),
        formula="roma" if rules.stable_axis_angle else "published",
    ).flatten(1)
    return SmplxMotion(
        poses=poses.cpu().numpy(),
        expressions=decoded.expressions.cpu().numpy(),
        trans=decoded.trans.float().cpu().numpy(),
    )


def _check_request(
    bundle: Bundle,
    wave: NDArray[np.float32],
    speaker: int,
    frames: int,
    seed: NDArray[np.float32] | None,
    rules: FidelityRules,
) -> None:
    shortest = 1 if rules.cover_all_frames else bundle.window
    if not len(wave) or frames < shortest:
        raise InputError(
            "speech",
            f"expected at least {shortest} frames, found {len(wave)} samples for {frames} frames",
            "give a longer recording",
        )
    if not np.isfinite(wave).all():
        raise InputError(
            "speech",
            "expected numbers in [-1, 1], found samples that are not finite",
            "decode or record it again",
        )
    if not 0 <= speaker < bundle.generator.config.speakers:
        raise InputError(
            "speaker",
            f"expected 0 to {bundle.generator.config.speakers - 1}, found index {speaker}",
            "take an index from the bundle's speakers",
        )
    if seed is None and not rules.start_from_rest_pose:
        raise InputError(
            "speech",
            "expected four frames of true motion, found no motion to start from",
            "use corrected fidelity, which starts from a rest pose",
        )
    if seed is not None and seed.shape != bundle.rest.expand(bundle.seed_frames, -1).shape:
        raise InputError(
            "seed",
            f"expected ({bundle.seed_frames}, {len(bundle.rest)}), found shape {seed.shape}",
            "give the motion of the first frames",
        )


def _channels(wave: NDArray[np.float32], ctc: Tensor | None) -> Tensor:
    """Sound channels (S, 3) of a whole clip, the envelope's tail as published."""
    sound = torch.from_numpy(wave)
    tail = sound[-LOOK_AHEAD - 1 :].abs().amax().expand(LOOK_AHEAD)
    return audio_channels(torch.cat([sound, tail]), *wave_statistics(sound), ctc)
