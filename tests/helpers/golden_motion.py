"""The golden motion: a short piece of speech through a tiny bundle, as it was at the last renewal.

`python -m tests.helpers.golden_motion` renews the file, after a change that is meant to change the
motion. Speech and weights do not depend on the random numbers of PyTorch, whose stream may change
with its version, and the renewal refuses a golden motion that rounding could change.
"""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import nn

from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.rotations import axis_angle_to_6d
from mambatalk.motion.skeleton import PARTS, SAMPLE_RATE, pose_channels
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.chain import CHAINED_PARTS, CodeChain
from mambatalk.synthesis.layout import Speech
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.stand_in_body import stand_in_body
from tests.helpers.tiny_bundle import CODES, SPEAKER_IDS, tiny_bundle

FILE: Final = Path(__file__).parents[1] / "unit" / "synthesis" / "golden_motion.npz"
SEED: Final = 0
SECONDS: Final = 2.5
"""75 frames: a window, the next one, and less than a window at the end."""
TOLERANCE: Final = 1e-4
"""Radians, metres, and units of an expression."""
PERTURBATION: Final = 1e-5
"""Relative change of the weights, 80 times the precision of single floats, that a golden motion
bears: the codes stay, and the motion moves by less than half of the tolerance."""
PERTURBED: Final = 5

Codes = dict[str, NDArray[np.uint8]]


def golden_speech() -> Speech:
    """Return a voice of 140 Hz that speaks four syllables a second, with a word in the middle."""
    time = np.arange(round(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 9))
    loudness = np.clip(np.sin(2 * np.pi * 2 * time), 0, None) * (1 + 0.3 * np.cos(time))
    words = np.zeros(75, np.int64)
    words[30:42] = 4
    return Speech(
        waveform=(0.2 * voice * loudness).astype(np.float32),
        speaker_id=SPEAKER_IDS[0],
        words=words,
    )


def golden_bundle(perturbation: int = 0) -> Bundle:
    """Return a tiny bundle with everything that a trained one has.

    Args:
        perturbation: Which small change the weights get; 0 is none.

    """
    bundle = tiny_bundle()
    # The stream of RandomState never changes (NEP 19).
    random = np.random.RandomState(SEED)
    changes = np.random.RandomState(perturbation)
    for module in (bundle.generator, *bundle.auto_encoders.values()):
        _fill(module, random)
        if perturbation:
            for parameter in module.parameters():
                noise = changes.standard_normal(parameter.shape)
                parameter.mul_(torch.from_numpy(1 + PERTURBATION * noise).float())
    for part, network in bundle.part_networks.items():
        _reduce(network, 0.02 if part == "lower" else 0.4, len(pose_channels(part)))
    _reduce(bundle.global_net, 0.02, 0)
    return Bundle(
        **{
            **vars(bundle),
            "chains": {
                part: CodeChain.of_clips([random.randint(0, CODES, 150)], CODES)
                for part in CHAINED_PARTS
            },
            "reach": 0.5,
            "rest_joints": stand_in_body().rest_joints(torch.zeros(300)),
        }
    )


def golden_result(perturbation: int = 0) -> tuple[Codes, SmplxMotion]:
    """Return codes (n,) by part and the motion."""
    synthesizer = Synthesizer(golden_bundle(perturbation))
    speech = golden_speech()
    (codes,) = synthesizer.generate_codes([speech])
    (motion,) = synthesizer.motion_of_codes([codes], [speech])
    return {part: codes[part][0].numpy().astype(np.uint8) for part in PARTS}, motion


def read_golden() -> tuple[Codes, SmplxMotion]:
    """Return codes and motion of the file."""
    with np.load(FILE) as arrays:
        motion = SmplxMotion(**{key: arrays[key] for key in ("poses", "expressions", "trans")})
        return {part: arrays[f"codes_{part}"] for part in PARTS}, motion


def largest_difference(motion: SmplxMotion, other: SmplxMotion) -> dict[str, float]:
    """Return the largest difference by array: angles of rotations in radians, and numbers."""
    rotations, others = (
        Rotation.from_rotvec(one.poses.reshape(-1, 3).astype(np.float64)) for one in (motion, other)
    )
    return {
        "poses": float((rotations * others.inv()).magnitude().max()),
        "expressions": float(np.abs(motion.expressions - other.expressions).max()),
        "trans": float(np.abs(motion.trans - other.trans).max()),
    }


def _fill(module: nn.Module, random: np.random.RandomState) -> None:
    for name, parameter in module.named_parameters():
        values = random.standard_normal(parameter.shape)
        if parameter.dim() > 1:
            values *= parameter[0].numel() ** -0.5
        else:
            values = 0.1 * values + float(name.endswith("weight"))
        parameter.copy_(torch.from_numpy(values))


def _reduce(network: nn.Module, factor: float, rotations: int) -> None:
    """Let a decoder return values near the rest pose, and so slow that feet are planted.

    Rounding could change large rotations much.

    Args:
        network: Auto-encoder.
        factor: Size of the values relative to random ones.
        rotations: Number of the first channels, which are 6D rotations.

    """
    last = [module for module in network.modules() if isinstance(module, nn.Conv1d)][-1]
    assert last.bias is not None
    last.weight.mul_(factor)
    last.bias.zero_()
    last.bias[:rotations] = axis_angle_to_6d(torch.zeros(3)).repeat(rotations // 6)


def _renew() -> None:
    codes, motion = golden_result()
    for perturbation in range(1, 1 + PERTURBED):
        others, other = golden_result(perturbation)
        changed = [part for part in PARTS if not np.array_equal(codes[part], others[part])]
        difference = largest_difference(motion, other)
        print(f"perturbation {perturbation}: other codes {changed}, difference {difference}")  # noqa: T201
        if changed or max(difference.values()) > TOLERANCE / 2:
            raise SystemExit("rounding could change this motion: choose another SEED")
    np.savez_compressed(
        FILE,
        poses=motion.poses.astype(np.float32),
        expressions=motion.expressions.astype(np.float32),
        trans=motion.trans.astype(np.float32),
        **{f"codes_{part}": index for part, index in codes.items()},
    )
    print(f"{FILE}: {FILE.stat().st_size / 1000:.0f} kB")  # noqa: T201


if __name__ == "__main__":
    _renew()
