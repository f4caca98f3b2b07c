"""Score motion against the motion rules by matching events found in it with the written ones."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks
from scipy.spatial.transform import Rotation

from mambatalk.motion.clip import SmplxMotion
from mambatalk.sample.arms import GESTURES, arm_rotations
from mambatalk.sample.curves import Curve
from mambatalk.sample.face import JAW_OPEN, mouth_direction

TOLERANCE: Final = 0.1
"""Seconds within which an event found in the motion matches a written one."""
_STROKES: Final = ("beat", "word_gesture")
_ARM_CHANNELS: Final = slice(3 * 16, 3 * 20)
_NECK_NOD, _HEAD_NOD, _JAW_OPEN = 3 * 12, 3 * 15, 3 * 22


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
    poses, expressions, fps = np.asarray(motion.poses, np.float64), motion.expressions, motion.fps
    end = (len(poses) - 1) / fps
    kept = [event for event in events if event["time"] <= end]
    strokes = [event["time"] for event in kept if event["kind"] in _STROKES]
    wide = [event["time"] for event in kept if event["kind"] == "jaw"]
    words = {
        word: [event["time"] for event in kept if event.get("word") == word] for word in GESTURES
    }
    pairs = [
        [(wide, _peaks(_mouth(poses, expressions), fps, least=0.1, height=0.5))],
        [(strokes, _peaks(_lift(poses), fps, least=0.08, share=0.06))],
        [(strokes, _peaks(poses[:, _NECK_NOD] + poses[:, _HEAD_NOD], fps, least=0.03))],
        [(words[word], times) for word, times in _word_gestures(poses, fps).items()],
    ]
    scores = [_f1(pair) for pair in pairs if any(wanted or len(found) for wanted, found in pair)]
    return float(np.mean(scores)) if scores else 0.0


def _f1(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """F1 score over several kinds of event, each matched one to one."""
    hits = sum(_hits(wanted, found) for wanted, found in pairs)
    return 2 * hits / sum(len(wanted) + len(found) for wanted, found in pairs)


def _hits(wanted: Sequence[float], found: Sequence[float]) -> int:
    """Pairs within the tolerance, each time used once; both sorted, so that taking the earliest is
    best.
    """
    hits, k = 0, 0
    for time in wanted:
        while k < len(found) and found[k] < time - TOLERANCE:
            k += 1
        if k < len(found) and found[k] <= time + TOLERANCE:
            hits, k = hits + 1, k + 1
    return hits


def _peaks(
    signal: Curve, fps: float, *, least: float, height: float = 0.0, share: float = 0.2
) -> list[float]:
    """Times of peaks that stand out by a share of the clip's range; none where the range is below
    `least`.
    """
    smooth = gaussian_filter1d(signal, fps / 30)
    low, high = np.percentile(smooth, [1, 99])
    if high - low < least:
        return []
    peaks, _ = find_peaks(
        smooth, prominence=share * (high - low), height=low + height * (high - low)
    )
    return [float(peak) / fps for peak in peaks]


def _mouth(poses: Curve, expressions: NDArray[Any]) -> Curve:
    """How wide the mouth opens, by jaw and by expression alike; 1 is the widest the rules write."""
    direction = mouth_direction()
    lips = np.asarray(expressions, np.float64) @ direction / (direction @ direction)
    return (poses[:, _JAW_OPEN] / JAW_OPEN + lips) / 2


def _lift(poses: Curve) -> Curve:
    """How far both upper arms are raised together, radians."""
    left, right = (
        Rotation.from_rotvec(poses[:, 3 * joint : 3 * joint + 3]).apply([side, 0, 0])[:, 1]
        for joint, side in ((16, 1), (17, -1))
    )
    return np.arcsin(np.clip(left, -1, 1)) + np.arcsin(np.clip(right, -1, 1))


def _word_gestures(poses: Curve, fps: float) -> dict[str, list[float]]:
    """Times at which the arms come closest to each word's gesture, measured from where they
    rest.
    """
    arms = poses[:, _ARM_CHANNELS]
    lift = _lift(poses)
    rest = np.median(arms[lift <= np.percentile(lift, 25)], axis=0)
    ways = np.stack([_target(word) - rest for word in GESTURES])
    moved = arms - rest
    along = moved @ ways.T / (ways**2).sum(axis=1)
    cosine = (
        moved
        @ ways.T
        / (np.linalg.norm(ways, axis=1) * np.linalg.norm(moved, axis=1, keepdims=True) + 1e-9)
    )
    best = cosine.argmax(axis=1)
    times = {}
    for k, word in enumerate(GESTURES):
        reach = np.where((best == k) & (cosine[:, k] > 0.8), along[:, k], 0.0)
        peaks, _ = find_peaks(
            gaussian_filter1d(reach, fps / 30), height=0.5, distance=max(1, round(0.4 * fps))
        )
        times[word] = [float(peak) / fps for peak in peaks]
    return times


def _target(word: str) -> Curve:
    """Shoulder and elbow axis-angles (12,) at the height of a word's gesture, in SMPL-X order."""
    sides = [arm_rotations(np.array([GESTURES[word][side]]), side) for side in (0, 1)]
    return np.concatenate([sides[joint % 2][joint][0] for joint in (16, 17, 18, 19)])
