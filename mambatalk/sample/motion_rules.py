"""The law of the sample: motion as a known function of speech, so that learning it can be proven.

Jaw and expressions follow the phones. A stressed syllable makes the arm beat and the head nod at
the loudness peak of its vowel, a loud one more than a soft one. Eight words have a gesture of their
own. Speakers differ in rest pose, in size and in the hand that beats. Weight shifts and steps come
with sentences, on feet that stand still; silence is still but for slow breathing.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.spatial.transform import Rotation

from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, JOINT_COUNT, PARENTS
from mambatalk.sample.arms import (
    GESTURES,
    arm_angles,
    arm_rotations,
    beat_side,
    finger_rotations,
)
from mambatalk.sample.curves import Curve, bump, drift, ease
from mambatalk.sample.face import expressions, jaw_angle, wide_vowels
from mambatalk.sample.legs import leg_rotations, plan_stance
from mambatalk.sample.style import Style
from mambatalk.sample.track import Stress, Track

_NOD: Final = 0.16
_NOD_RISE: Final = 0.22
_NOD_FALL: Final = 0.30
_BREATH: Final = 3.8
"""Seconds of one breath."""
_PELVIS, _SPINE, _NECK, _COLLARS, _HEAD, _JAW, _EYES = 0, (3, 6, 9), 12, (13, 14), 15, 22, (23, 24)


@dataclass(frozen=True)
class Performance:
    """What a speaker does with a track."""

    motion: SmplxMotion
    """Poses in single precision, expressions and translation in double."""
    events: list[dict[str, Any]]
    """By time: `kind` (jaw, beat, word_gesture, shift, step), `time` in seconds and what belongs to
    the kind.
    """


def perform(track: Track, style: Style, rest: Curve, random: np.random.Generator) -> Performance:
    """Move to a track.

    Args:
        track: What is said.
        style: Who says it.
        rest: Rest joints (55, 3) of the speaker's body in metres, from which leg lengths are taken.
        random: Decides what no sound can tell: where weight goes, slow drift.

    """
    time = np.arange(track.frames) / FPS
    poses = np.zeros((track.frames, JOINT_COUNT, 3))
    stance = plan_stance(time, style, rest, track.sentences, random)
    _set_trunk(poses, time, style, track, random)
    for side, angles in enumerate(arm_angles(time, style, track.stresses)):
        for joint, rotation in arm_rotations(angles, side).items():
            poses[:, joint] += rotation
        first = 25 + 15 * side
        poses[:, first : first + 15] = finger_rotations(angles, side).reshape(-1, 15, 3)
    poses[:, _JAW, 0] = jaw_angle(time, track.phones)
    root = Rotation.from_rotvec(poses[:, _PELVIS])
    for joint, rotation in leg_rotations(
        stance, rest, root, Rotation.from_euler("y", style.turn)
    ).items():
        poses[:, joint] = rotation
    emphasis = sum(
        (s.level * bump(time, s.time, rise=0.3, fall=0.5) for s in track.stresses),
        np.zeros(len(time)),
    )
    face = expressions(time, track.phones, emphasis)
    events = [*_speech_events(track, style), *stance.events]
    motion = SmplxMotion(
        poses=poses.reshape(track.frames, -1).astype(np.float32),
        expressions=face,
        trans=stance.pelvis - rest[_PELVIS],
        betas=style.betas,
    )
    return Performance(
        motion,
        sorted(events, key=lambda event: (event["time"], event["kind"])),
    )


def joint_positions(motion: SmplxMotion, rest: Curve) -> Curve:
    """Joints (n, 55, 3) in metres along the kinematic chain, without torch so that worker processes
    start fast.
    """
    rotations = (
        Rotation.from_rotvec(motion.poses.reshape(-1, 3)).as_matrix().reshape(-1, JOINT_COUNT, 3, 3)
    )
    world = rotations.copy()
    joints = np.empty((len(rotations), JOINT_COUNT, 3))
    joints[:, _PELVIS] = rest[_PELVIS] + motion.trans
    for joint, parent in enumerate(PARENTS[1:], start=1):
        joints[:, joint] = joints[:, parent] + world[:, parent] @ (rest[joint] - rest[parent])
        world[:, joint] = world[:, parent] @ rotations[:, joint]
    return joints


def _set_trunk(
    poses: Curve, time: Curve, style: Style, track: Track, random: np.random.Generator
) -> None:
    """Pelvis, spine, neck, head, collars and eyes: breathing always, drift and nods while
    speaking.
    """
    speaking = np.zeros(len(time))
    for start, end in track.sentences:
        speaking = np.maximum(
            speaking, ease(time, start - 0.1, start + 0.4) * (1 - ease(time, end - 0.2, end + 0.3))
        )
    wander = drift(random, len(time), fps=FPS, period=1.6, channels=8) * speaking[:, None]
    nod = sum((_nod(time, stress, style) for stress in track.stresses), np.zeros(len(time)))
    breath = np.sin(2 * np.pi * time / _BREATH + random.uniform(0, 6.3))
    poses[:, _PELVIS, 1] = style.turn + 0.02 * wander[:, 0]
    for joint in _SPINE:
        poses[:, joint, 0] = 0.015 + 0.10 * nod
        poses[:, joint, 1] = 0.02 * wander[:, 1]
    poses[:, _SPINE[2], 0] -= 0.010 * breath
    poses[:, _NECK, 0] = 0.05 + 0.35 * nod
    poses[:, _HEAD, 0] = -0.03 + 0.65 * nod + 0.02 * wander[:, 2]
    poses[:, _HEAD, 1] = 0.07 * wander[:, 3]
    poses[:, _HEAD, 2] = 0.04 * wander[:, 4]
    poses[:, _COLLARS[0], 2] = 0.008 * breath
    poses[:, _COLLARS[1], 2] = -0.008 * breath
    poses[:, _EYES[0], :2] = poses[:, _EYES[1], :2] = 0.04 * wander[:, 5:7]


def _nod(time: Curve, stress: Stress, style: Style) -> Curve:
    return (
        _NOD
        * style.amplitude
        * stress.level
        * bump(time, stress.time, rise=_NOD_RISE, fall=_NOD_FALL)
    )


def _speech_events(track: Track, style: Style) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [
        {"kind": "jaw", "time": round(t, 4)} for t in wide_vowels(track.phones)
    ]
    for stress in track.stresses:
        event = {
            "time": round(stress.time, 4),
            "level": stress.level,
            "side": beat_side(style, stress),
        }
        iconic = stress.word in GESTURES
        events.append(
            {"kind": "word_gesture", "word": stress.word, **event}
            if iconic
            else {"kind": "beat", **event}
        )
    return [event for event in events if event["time"] < (track.frames - 3) / FPS]
