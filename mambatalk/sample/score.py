"""Score motion against the motion rules by matching events found in it with the written ones.

`event_f1` scores mouth, arms and head, `lower_event_f1` the legs.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks
from scipy.spatial.transform import Rotation

from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS
from mambatalk.sample.arms import GESTURES, arm_rotations
from mambatalk.sample.curves import Curve
from mambatalk.sample.face import JAW_OPEN, mouth_direction

TOLERANCE: Final = 0.1
"""Seconds within which an event found in the motion matches a written one."""
_STROKES: Final = ("beat", "word_gesture")
"""Kinds of event that raise the arms and nod the head."""
_ARM_CHANNELS: Final = slice(3 * 16, 3 * 20)
"""Pose channels of shoulders and elbows."""
Times = Sequence[float]
_LEFT_HIP, _RIGHT_HIP, _LEFT_ANKLE, _RIGHT_ANKLE = 1, 2, 7, 8
_MIN_LIFT: Final = 0.02
"""Prominence of the height between both ankles at a step, metres; the rules lift by 5 cm."""
_MIN_SHIFT_SPEED: Final = 0.03
"""Smallest speed of the pelvis at a shift of weight, metres per second. The motion rules shift at
0.07 m/s from the middle to a leg, and at 0.15 m/s from leg to leg."""
_MIN_SHIFT_PROMINENCE: Final = 0.02
"""Prominence of that speed, metres per second."""
_STEP_SHIFT: Final = 0.7
"""Before a step the weight moves to the other leg, about 0.5 s before the foot is highest. Such a
shift belongs to the step if it is at most this many seconds before."""
_NECK_NOD: Final = 3 * 12
_HEAD_NOD: Final = 3 * 15
_JAW_ROTATION: Final = 3 * 22
"""Channels of the rotation about x of neck, head and jaw."""


def event_f1(motion: SmplxMotion, events: Sequence[dict[str, Any]]) -> float:
    """Score how well motion performs the events that the motion rules wrote, as an F1 score.

    The mean of four F1 scores: wide openings of jaw and lips, strokes of the arms, nods of the
    head, and the gestures of single words, which must be those of the right word. An event found
    in the motion matches a written one within 0.1 s. A still clip scores 0, and constant movement
    scores low, because events without a match count too.

    Args:
        motion: The clip to score.
        events: Events that the motion rules wrote for the clip's speech.

    Returns:
        Mean F1 score in [0, 1].

    """
    poses = np.asarray(motion.poses, np.float64)
    fps = motion.fps
    # A result may be shorter than the speech; events past its end are not counted.
    end = (len(poses) - 1) / fps
    events = [event for event in events if event["time"] <= end]

    openings = [event["time"] for event in events if event["kind"] == "jaw"]
    strokes = [event["time"] for event in events if event["kind"] in _STROKES]
    gestures = []
    for word, found in _find_word_gestures(poses, fps).items():
        expected = [event["time"] for event in events if event.get("word") == word]
        gestures.append((expected, found))

    mouth = _mouth_opening(poses, motion.expressions)
    nod = poses[:, _NECK_NOD] + poses[:, _HEAD_NOD]
    kinds = [
        [(openings, _find_peaks(mouth, fps, min_range=0.1, height=0.5))],
        [(strokes, _find_peaks(_arm_lift(poses), fps, min_range=0.08, prominence=0.06))],
        [(strokes, _find_peaks(nod, fps, min_range=0.03))],
        gestures,
    ]
    scores = [_f1(pairs) for pairs in kinds if any(expected or found for expected, found in pairs)]
    return float(np.mean(scores)) if scores else 0.0


def lower_event_f1(joints: Curve, events: Sequence[dict[str, Any]]) -> float:
    """Score how well the legs perform the steps and shifts of weight of the motion rules.

    One F1 score of both kinds, matched kind by kind within 0.1 s. Which leg moves does not count:
    it follows from where the person stood before, and not from the speech. Positions are compared
    with each other within a frame, so that a sliding or floating root does not count either.

    Args:
        joints: Joints (n, 55, 3) in metres at 30 fps, y up, with or without translation.
        events: Events that the motion rules wrote for the clip's speech.

    Returns:
        F1 score in [0, 1]; NaN if no event is written and none is found.

    """
    joints = np.asarray(joints, np.float64)
    # A result may be shorter than the speech; events past its end are not counted.
    end = (len(joints) - 1) / FPS
    events = [event for event in events if event["time"] <= end]
    pairs = []
    for kind, found in _find_steps_and_shifts(joints).items():
        expected = [event["time"] for event in events if event["kind"] == kind]
        pairs.append((expected, found))
    known = any(expected or found for expected, found in pairs)
    return _f1(pairs) if known else float("nan")


def _find_steps_and_shifts(joints: Curve) -> dict[str, list[float]]:
    """Return the times of steps, at the highest foot, and of shifts, at the fastest pelvis."""
    ankles = joints[:, [_LEFT_ANKLE, _RIGHT_ANKLE]]
    lift = gaussian_filter1d(np.abs(ankles[:, 0, 1] - ankles[:, 1, 1]), 1)
    peaks, _ = find_peaks(lift, prominence=_MIN_LIFT)
    steps = [float(peak) / FPS for peak in peaks]

    # How far the pelvis is to the left of the middle between both feet, in the plane.
    plane = [0, 2]
    left = (joints[:, _LEFT_HIP] - joints[:, _RIGHT_HIP])[:, plane]
    left /= np.linalg.norm(left, axis=1, keepdims=True) + 1e-9
    pelvis = (joints[:, 0] - ankles.mean(axis=1))[:, plane]
    weight = gaussian_filter1d((pelvis * left).sum(axis=1), 1)
    speed = np.abs(np.gradient(np.pad(weight, 1, mode="edge"))[1:-1]) * FPS
    peaks, _ = find_peaks(speed, height=_MIN_SHIFT_SPEED, prominence=_MIN_SHIFT_PROMINENCE)
    shifts = []
    for peak in peaks:
        shift = float(peak) / FPS
        if not any(0 < step - shift <= _STEP_SHIFT for step in steps):
            shifts.append(shift)
    return {"step": steps, "shift": shifts}


def _f1(pairs: Sequence[tuple[Times, Times]]) -> float:
    """Return the F1 score of pairs of expected and found times, matched pair by pair."""
    matches = sum(_count_matches(expected, found) for expected, found in pairs)
    return 2 * matches / sum(len(expected) + len(found) for expected, found in pairs)


def _count_matches(expected: Times, found: Times) -> int:
    """Count one-to-one matches within the tolerance.

    Both lists are sorted, so that matching every time with the earliest possible one is optimal.
    """
    matches = 0
    k = 0
    for time in expected:
        while k < len(found) and found[k] < time - TOLERANCE:
            k += 1
        if k < len(found) and found[k] <= time + TOLERANCE:
            matches += 1
            k += 1
    return matches


def _find_peaks(
    signal: Curve, fps: float, *, min_range: float, height: float = 0.0, prominence: float = 0.2
) -> list[float]:
    """Return the times of peaks in seconds.

    Args:
        signal: Curve (n,).
        fps: Frames per second.
        min_range: A signal with a smaller range has no peaks.
        height: Smallest height of a peak, as a share of the range.
        prominence: Smallest prominence of a peak, as a share of the range.

    """
    smooth = gaussian_filter1d(signal, fps / 30)
    # Percentiles, so that single frames do not set the range.
    low, high = np.percentile(smooth, [1, 99])
    if high - low < min_range:
        return []
    peaks, _ = find_peaks(
        smooth, prominence=prominence * (high - low), height=low + height * (high - low)
    )
    return [float(peak) / fps for peak in peaks]


def _mouth_opening(poses: Curve, expressions: NDArray[Any]) -> Curve:
    """Return the opening of the mouth (n,), the mean of jaw and lips; 1 is the rules' maximum."""
    direction = mouth_direction()
    lips = np.asarray(expressions, np.float64) @ direction / (direction @ direction)
    return (poses[:, _JAW_ROTATION] / JAW_OPEN + lips) / 2


def _arm_lift(poses: Curve) -> Curve:
    """Return how far both upper arms are raised (n,), the sum of both angles in radians."""
    left, right = (
        Rotation.from_rotvec(poses[:, 3 * joint : 3 * joint + 3]).apply([side, 0, 0])[:, 1]
        for joint, side in ((16, 1), (17, -1))
    )
    return np.arcsin(np.clip(left, -1, 1)) + np.arcsin(np.clip(right, -1, 1))


def _find_word_gestures(poses: Curve, fps: float) -> dict[str, list[float]]:
    """Return the times at which the arms perform each word's gesture.

    Every frame is compared with the eight gestures, as displacements from the rest pose of the
    arms. The rest pose is the median of the quarter of frames in which the arms are lowest.
    """
    arms = poses[:, _ARM_CHANNELS]
    lift = _arm_lift(poses)
    rest = np.median(arms[lift <= np.percentile(lift, 25)], axis=0)
    gestures = np.stack([_gesture_pose(word) - rest for word in GESTURES])

    # How similar the direction of the displacement is to each gesture, and how far it has gone.
    moved = arms - rest
    products = moved @ gestures.T
    completion = products / (gestures**2).sum(axis=1)
    lengths = np.linalg.norm(gestures, axis=1) * np.linalg.norm(moved, axis=1, keepdims=True)
    cosine = products / (lengths + 1e-9)
    closest = cosine.argmax(axis=1)

    times = {}
    min_distance = max(1, round(0.4 * fps))
    for k, word in enumerate(GESTURES):
        is_similar = (closest == k) & (cosine[:, k] > 0.8)
        performed = np.where(is_similar, completion[:, k], 0.0)
        smooth = gaussian_filter1d(performed, fps / 30)
        peaks, _ = find_peaks(smooth, height=0.5, distance=min_distance)
        times[word] = [float(peak) / fps for peak in peaks]
    return times


def _gesture_pose(word: str) -> Curve:
    """Return shoulder and elbow axis-angles (12,) at the peak of a gesture, in SMPL-X order."""
    sides = [arm_rotations(np.array([GESTURES[word][side]]), side) for side in (0, 1)]
    return np.concatenate([sides[joint % 2][joint][0] for joint in (16, 17, 18, 19)])
