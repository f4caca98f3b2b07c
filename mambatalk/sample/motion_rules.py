"""The motion rules of the sample: motion as a known function of speech.

Because the function is known, a test can prove that a model has learnt it. Jaw and expressions
follow the phones. At the loudness peak of a stressed vowel the arm beats and the head nods, more
for a loud vowel than for a soft one. Eight words have their own gesture. Speakers differ in rest
pose, size of movement and leading hand. Sentences start with weight shifts or steps, and standing
feet do not move. In silence only slow breathing remains.
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
from mambatalk.sample.curves import Curve, bump, ease, smooth_noise
from mambatalk.sample.face import expressions, jaw_angle, wide_vowels
from mambatalk.sample.legs import leg_rotations, plan_stance
from mambatalk.sample.speech_track import SpeechTrack, Stress
from mambatalk.sample.style import SpeakerStyle

_NOD: Final = 0.16
"""Rotation of a loud nod, radians, shared between spine, neck and head."""
_NOD_RISE: Final = 0.22
_NOD_FALL: Final = 0.30
"""Duration of a nod before and after its peak, seconds."""
_BREATH: Final = 3.8
"""Duration of one breath, seconds."""
_PELVIS: Final = 0
_SPINE: Final = (3, 6, 9)
_NECK: Final = 12
_COLLARS: Final = (13, 14)
_HEAD: Final = 15
_JAW: Final = 22
_EYES: Final = (23, 24)
_FIRST_FINGER: Final = (25, 40)
"""First finger joint of the left and right hand; each hand has 15."""


@dataclass(frozen=True)
class GeneratedMotion:
    """Motion generated from speech, and the events that it contains."""

    motion: SmplxMotion
    """Poses in single precision, expressions and translation in double."""
    events: list[dict[str, Any]]
    """Events in order of time.

    Every event has a `kind` (jaw, beat, word_gesture, shift or step) and a `time` in seconds; the
    other keys depend on the kind.
    """


def generate_motion(
    track: SpeechTrack, style: SpeakerStyle, rest: Curve, random: np.random.Generator
) -> GeneratedMotion:
    """Generate the motion of a speech track.

    Args:
        track: The speech.
        style: The speaker.
        rest: Rest joints (55, 3) of the speaker's body, metres; they give the leg lengths.
        random: Random generator for what speech does not determine: steps and slow noise.

    """
    time = np.arange(track.frames) / FPS
    poses = np.zeros((track.frames, JOINT_COUNT, 3))
    stance = plan_stance(time, style, rest, track.sentences, random)
    _set_trunk(poses, time, style, track, random)
    for side, angles in enumerate(arm_angles(time, style, track.stresses)):
        for joint, rotation in arm_rotations(angles, side).items():
            poses[:, joint] += rotation
        first = _FIRST_FINGER[side]
        poses[:, first : first + 15] = finger_rotations(angles, side).reshape(-1, 15, 3)
    poses[:, _JAW, 0] = jaw_angle(time, track.phones)

    # Last, because the legs are solved for the pelvis that the trunk has set.
    root = Rotation.from_rotvec(poses[:, _PELVIS])
    foot = Rotation.from_euler("y", style.turn)
    for joint, rotation in leg_rotations(stance, rest, root, foot).items():
        poses[:, joint] = rotation

    emphasis = np.zeros(len(time))
    for stress in track.stresses:
        emphasis += stress.level * bump(time, stress.time, rise=0.3, fall=0.5)

    events = [*_speech_events(track, style), *stance.events]
    events.sort(key=lambda event: (event["time"], event["kind"]))
    motion = SmplxMotion(
        poses=poses.reshape(track.frames, -1).astype(np.float32),
        expressions=expressions(time, track.phones, emphasis),
        trans=stance.pelvis - rest[_PELVIS],
        betas=style.betas,
    )
    return GeneratedMotion(motion, events)


def joint_positions(motion: SmplxMotion, rest: Curve) -> Curve:
    """Return the joints (n, 55, 3) of a motion, metres.

    Written with NumPy, because importing torch would double the start time of worker processes.

    Args:
        motion: Motion of n frames.
        rest: Rest joints (55, 3), metres.

    """
    matrices = Rotation.from_rotvec(motion.poses.reshape(-1, 3)).as_matrix()
    rotations = matrices.reshape(-1, JOINT_COUNT, 3, 3)
    world = rotations.copy()
    joints = np.empty((len(rotations), JOINT_COUNT, 3))
    joints[:, _PELVIS] = rest[_PELVIS] + motion.trans
    for joint, parent in enumerate(PARENTS[1:], start=1):
        joints[:, joint] = joints[:, parent] + world[:, parent] @ (rest[joint] - rest[parent])
        world[:, joint] = world[:, parent] @ rotations[:, joint]
    return joints


def _set_trunk(
    poses: Curve, time: Curve, style: SpeakerStyle, track: SpeechTrack, random: np.random.Generator
) -> None:
    """Set the rotations of pelvis, spine, neck, head, collars and eyes.

    Breathing never stops; noise and nods are limited to speech.
    """
    speaking = np.zeros(len(time))
    for start, end in track.sentences:
        fade_in = ease(time, start - 0.1, start + 0.4)
        fade_out = 1 - ease(time, end - 0.2, end + 0.3)
        speaking = np.maximum(speaking, fade_in * fade_out)
    noise = smooth_noise(random, len(time), fps=FPS, period=1.6, channels=8) * speaking[:, None]
    nod = np.zeros(len(time))
    for stress in track.stresses:
        nod += _nod(time, stress, style)
    breath = np.sin(2 * np.pi * time / _BREATH + random.uniform(0, 6.3))

    poses[:, _PELVIS, 1] = style.turn + 0.02 * noise[:, 0]
    for joint in _SPINE:
        poses[:, joint, 0] = 0.015 + 0.10 * nod
        poses[:, joint, 1] = 0.02 * noise[:, 1]
    poses[:, _SPINE[2], 0] -= 0.010 * breath
    poses[:, _NECK, 0] = 0.05 + 0.35 * nod
    poses[:, _HEAD, 0] = -0.03 + 0.65 * nod + 0.02 * noise[:, 2]
    poses[:, _HEAD, 1] = 0.07 * noise[:, 3]
    poses[:, _HEAD, 2] = 0.04 * noise[:, 4]
    poses[:, _COLLARS[0], 2] = 0.008 * breath
    poses[:, _COLLARS[1], 2] = -0.008 * breath
    for eye in _EYES:
        poses[:, eye, :2] = 0.04 * noise[:, 5:7]


def _nod(time: Curve, stress: Stress, style: SpeakerStyle) -> Curve:
    size = _NOD * style.amplitude * stress.level
    return size * bump(time, stress.time, rise=_NOD_RISE, fall=_NOD_FALL)


def _speech_events(track: SpeechTrack, style: SpeakerStyle) -> list[dict[str, Any]]:
    """Return the events of jaw, arms and head that happen before the last frames of the clip."""
    events: list[dict[str, Any]] = [
        {"kind": "jaw", "time": round(time, 4)} for time in wide_vowels(track.phones)
    ]
    for stress in track.stresses:
        is_gesture = stress.word in GESTURES
        kind = {"kind": "word_gesture", "word": stress.word} if is_gesture else {"kind": "beat"}
        events.append(
            {
                **kind,
                "time": round(stress.time, 4),
                "level": stress.level,
                "side": beat_side(style, stress),
            }
        )
    end = (track.frames - 3) / FPS
    return [event for event in events if event["time"] < end]
