"""Where the body stands and how its limbs bend, to find wrong axes, units, origins and sides.

No body model is needed: the proportions of an adult are close enough to see that a body is half a
metre above the floor, and every elbow and finger bends about the axis that its joint allows.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.motion.skeleton import JOINTS

FLOOR_TOLERANCE: Final = 0.3
"""Largest plausible distance of the feet from the floor in metres, with the proportions below. The
feet of the two public clips of BEATX are within 0.01. The legs of a body of 1.5 m and of 2.0 m
differ from the proportions by 0.12, and a tilted foot adds 0.1.
"""
ORIGIN_TO_PELVIS: Final = 0.35
"""Height of the origin of SMPL-X, which `trans` moves, above the pelvis in metres."""
HIP, THIGH, SHANK = (0.08, -0.09, 0.0), (0.01, -0.38, 0.0), (0.0, -0.40, -0.02)
"""Vectors from pelvis to left hip, knee and ankle in metres, in the rest pose."""
ANKLE_HEIGHT: Final = 0.09
"""Height of the ankle above the sole in metres."""
LEGS: Final = ((1, 4, 1.0), (2, 5, -1.0))
"""Hip, knee and side of each leg."""
MAX_TILT: Final = 1.0
"""With a larger tilt (rad) the feet are not below the body, and their height says nothing."""
FOOT_STEP: Final = 5
"""The feet are located in every fifth frame, which is enough for a median."""
MIN_BEND: Final = 0.2
"""Mean rotation (rad) of the elbows below which their axis cannot be told from noise."""
MIN_FLEXION: Final = 0.05
"""Mean rotation (rad) of a hand's joints below which the order of its fingers cannot be told."""
UNITS: Final = (("centimetres", 0.01), ("millimetres", 0.001))
LEFT_ELBOW, RIGHT_ELBOW = JOINTS.index("left_elbow"), JOINTS.index("right_elbow")
HANDS: Final = ((25, -1.0), (40, 1.0))
"""First joint of each hand, and the sign of z when its fingers close."""
THUMB: Final = 4
"""Place of the thumb among the fingers of SMPL-X: index, middle, pinky, ring, thumb."""

Floats = NDArray[np.floating[Any]]


def placement_statistics(poses: Floats, trans: Floats, tilt: float) -> dict[str, Any]:
    """Return statistics of the place of the body and of the axes of its joints.

    Args:
        poses: Axis-angle rotations (n, 165) in radians, finite.
        trans: Translation (n, 3) in metres, finite.
        tilt: Median angle between the body's vertical axis and the world's, radians.

    Returns:
        `foot_height`, the median height of the lower foot above the floor in metres; None if the
        body is not upright or `translation_fault` explains it. `translation_fault`, what is wrong
        with the translation in words, or None. The columns of `bend_statistics`.

    """
    fault = None
    height = None
    if tilt <= MAX_TILT:
        below = feet_below_origin(poses[::FOOT_STEP])
        fault = translation_fault(trans[::FOOT_STEP], below)
        height = None if fault else float(np.median(trans[::FOOT_STEP, 1] + below))
    return {
        "foot_height": height,
        "translation_fault": fault,
        **bend_statistics(poses),
    }


def feet_below_origin(poses: Floats) -> Floats:
    """Return the height (n,) in metres of the lower foot above the origin of the body.

    Args:
        poses: Axis-angle rotations (n, 165) in radians.

    """
    root = poses[:, :3]
    feet = []
    for hip, knee, side in LEGS:
        mirror = np.array([side, 1, 1])
        shank = np.array(THIGH) * mirror + rotate(
            poses[:, 3 * knee : 3 * knee + 3], np.array(SHANK) * mirror
        )
        leg = np.array(HIP) * mirror + rotate(poses[:, 3 * hip : 3 * hip + 3], shank)
        feet.append(rotate(root, leg)[:, 1])
    return np.minimum(*feet) - ORIGIN_TO_PELVIS - ANKLE_HEIGHT


def rotate(rotations: Floats, vectors: Floats) -> Floats:
    """Rotate vectors (n, 3) or (3,) by axis-angle rotations (n, 3), with Rodrigues' formula."""
    angle = np.linalg.norm(rotations, axis=-1, keepdims=True)
    axis = rotations / np.maximum(angle, 1e-12)
    along = (axis * vectors).sum(axis=-1, keepdims=True)
    cosine = np.cos(angle)
    return vectors * cosine + np.cross(axis, vectors) * np.sin(angle) + axis * along * (1 - cosine)


def translation_fault(trans: Floats, below: Floats) -> str | None:
    """Say what is wrong with a translation if another reading puts the feet on the floor.

    Args:
        trans: Translation (n, 3).
        below: Height (n,) in metres of the lower foot above the origin of the body.

    """
    if not trans.any():
        return "zero in every frame: the place of the body is missing"
    if len(trans) > 1 and not np.ptp(trans, axis=0).any():
        return "the same in every frame: the place of the body froze"

    def on_floor(height: Floats) -> bool:
        return bool(abs(np.median(height + below)) <= FLOOR_TOLERANCE)

    if on_floor(trans[:, 1]):
        return None
    if on_floor(trans[:, 2]):
        return "the height is in z: y and z are exchanged, or z is up"
    if on_floor(trans[:, 0]):
        return "the height is in x: x and y are exchanged, or x is up"
    for unit, metres in UNITS:
        if any(on_floor(metres * trans[:, axis]) for axis in (1, 2)):
            return f"in {unit} instead of metres"
    if abs(np.median(trans[:, 1])) < FLOOR_TOLERANCE:
        return "the height is near zero: a velocity, or relative to the first frame"
    return None


def bend_statistics(poses: Floats) -> dict[str, float | None]:
    """Return how elbows and fingers bend.

    Args:
        poses: Axis-angle rotations (n, 165) in radians.

    Returns:
        `elbow_bend`, the mean bend (rad) of the elbow that bends less, negative if it bends
        backwards; `elbow_axis`, the share of the elbows' rotation that is about y, the axis on
        which elbows bend; None if they hardly bend; `finger_order`, how much less the thumb turns
        about z, the axis on which fingers close, than any other finger, as a share of its rotation,
        in the hand where this is least clear; None if the fingers are stretched.

    """
    elbows = [poses[:, 3 * joint : 3 * joint + 3] for joint in (LEFT_ELBOW, RIGHT_ELBOW)]
    bends = (-elbows[0][:, 1].mean(), elbows[1][:, 1].mean())
    by_axis = np.abs(np.concatenate(elbows)).mean(axis=0, dtype=np.float64)
    orders = [_finger_order(poses[:, 3 * first : 3 * first + 45], sign) for first, sign in HANDS]
    known = [order for order in orders if order is not None]
    return {
        "elbow_bend": float(min(bends)),
        "elbow_axis": float(by_axis[1] / by_axis.sum()) if by_axis.sum() >= MIN_BEND else None,
        "finger_order": min(known, default=None),
    }


def finger_closing(hand: Floats, sign: float) -> Floats:
    """Return the share of each finger's rotation (5,) that closes it; negative if it opens it.

    Args:
        hand: Axis-angle rotations (n, 45) of one hand in radians.
        sign: Sign of z when the fingers close: -1 for the left hand, 1 for the right one.

    """
    joints = hand.reshape(len(hand), 5, 3, 3)
    size = np.abs(joints).mean(axis=0, dtype=np.float64).sum(axis=(1, 2))
    closing = sign * joints[..., 2].mean(axis=0, dtype=np.float64).sum(axis=1)
    return closing / np.maximum(size, 1e-9)


def _finger_order(hand: Floats, sign: float) -> float | None:
    if np.abs(hand).mean() < MIN_FLEXION / 3:
        return None
    closing = finger_closing(hand, sign)
    return float(closing[:THUMB].min() - abs(closing[THUMB]))
