"""Hold planted feet still: root and legs are changed so that feet on the floor do not slide.

The predicted velocity of the root does not match the predicted legs to the millimetre, so that feet
slide. `lock_feet` finds the intervals in which a foot stands, moves the root by what both feet
slide together, and solves each leg in closed form for what remains. The rotations of all other
joints do not change.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline
from scipy.linalg import solveh_banded
from scipy.ndimage import binary_erosion, convolve1d
from scipy.spatial.transform import Rotation

from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.kinematics import FLOOR_PERCENTILE, FLOOR_TOLERANCE
from mambatalk.motion.skeleton import JOINT_COUNT, LEG_CHAINS

MAX_SPEED: Final = 0.08
"""A foot is planted while ankle and foot are slower than this, in metres per second. Half of the
sample's generated frames slide at less than 0.4 cm/s and nine of ten at less than 4.5 cm/s, while
feet in a step reach 40 cm/s. From 10 cm/s on, the ends of true steps would be taken for standing.
"""
SHORTEST: Final = 0.2
"""Shortest time that a foot stands, seconds. Two intervals that are nearer to each other than this
are one: a single frame of noise is no step."""
BLEND: Final = 0.3
"""Time before and after an interval in which the correction of a foot grows and fades, seconds."""
SMOOTHNESS: Final = 100.0
"""Weight of the acceleration of the root's correction. Slides slower than about 1.5 Hz are taken by
the root, and faster ones by the legs. With less weight the root trembles, and the legs tremble no
less."""
ONE_FOOT: Final = 0.05
"""Weight of a foot that stands while the other does not, beside 1 where both stand. In a step, legs
that are decoded from codes stretch too little, and a root that followed them would lose up to half
of the step. While a person stands on one foot for long, the root takes slides slower than 0.1 Hz.
"""
RETURN: Final = 1e-5
"""Weight of the size of the root's correction, which lets it return to zero in about 10 s. Without
it, every step would take the root farther from the predicted path."""
SOFTNESS: Final = 0.01
"""Distance below the full length of a leg from which it stretches less than asked, metres. Without
it a knee would snap as the leg becomes straight."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Legs:
    """Both legs in world coordinates; arrays (n, 2, 3) in metres, rotations flattened to 2 n."""

    root: Rotation
    hip: Rotation
    ankle: Rotation
    knee_local: Rotation
    hips: Array
    thighs: Array
    """Bones from hip to knee."""
    shins: Array
    """Bones from knee to ankle."""
    feet: Array
    """Bones from ankle to foot."""

    @property
    def ankles(self) -> Array:
        return self.hips + self.thighs + self.shins


def lock_feet(motion: SmplxMotion, rest: NDArray[np.floating]) -> SmplxMotion:
    """Return the motion with planted feet that stand still.

    Ankles and feet keep their place and their orientation while planted (`planted_feet`), except
    where a leg is too short to reach it. Before and after, they blend into the motion as it was.
    The first frame keeps its place in x and z. The whole clip is needed, because a foot's place is
    its mean over the interval.

    Args:
        motion: Motion with finite values. A clip shorter than 0.2 s is returned as it is.
        rest: Rest joints (55, 3) of the body, metres. On a body with other proportions, feet slide
            by the difference in leg length times the movement of the pelvis.

    Returns:
        Motion of which the translation and the rotations of hips, knees and ankles are changed.

    """
    legs = _pose(motion, np.asarray(rest, np.float64))
    ankles = legs.ankles
    planted = planted_feet(np.stack([ankles, ankles + legs.feet], axis=2), motion.fps)
    if not planted.any():
        return motion

    shift = _root_shift(ankles + legs.feet / 2, planted)
    shift[:, 1] = _height_shift(ankles[..., 1], planted, motion.fps)
    moved = ankles + shift[:, None]
    offsets = np.empty_like(moved)
    turns = np.empty_like(moved)
    for side in range(2):
        intervals = _intervals(planted[:, side])
        orientation = legs.ankle[side::2]
        offsets[:, side] = _blended(_to_mean(moved[:, side], intervals), intervals, motion.fps)
        turns[:, side] = _blended(_to_mean_turn(orientation, intervals), intervals, motion.fps)
    return _solved(motion, legs, shift, offsets, turns)


def planted_feet(feet: Array, fps: float) -> NDArray[np.bool_]:
    """Return whether each foot is planted (n, 2).

    Planted feet are near their own lowest height, as in `foot_sliding_speed`, and slow, in ankle
    and foot, for at least 0.2 s.

    Args:
        feet: Positions of ankle and foot (n, 2, 2, 3) of the left and the right leg, metres.
        fps: Frames per second.

    """
    lowest = np.percentile(feet[..., 1], FLOOR_PERCENTILE, axis=0)
    low = feet[..., 1] < lowest + FLOOR_TOLERANCE
    speed = np.zeros(feet.shape[:-1])
    if len(feet) > 1:
        speed = np.linalg.norm(np.gradient(feet, axis=0), axis=-1) * fps
    planted: NDArray[np.bool_] = np.all(low & (speed < MAX_SPEED), axis=-1)

    shortest = round(SHORTEST * fps)
    for side in range(planted.shape[1]):
        column = planted[:, side]
        for start, end in _intervals(~column):
            # Not at the ends of the clip, where nothing says that the foot stands beyond.
            if end - start < shortest and start > 0 and end < len(column):
                column[start:end] = low[start:end, side].all()
        for start, end in _intervals(column):
            if end - start < shortest:
                column[start:end] = False
    return planted


def _intervals(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return start and end of each run of True values; the end is exclusive."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _pose(motion: SmplxMotion, rest: Array) -> _Legs:
    hip, knee, ankle, foot = np.array(LEG_CHAINS).T
    local = motion.poses.reshape(-1, JOINT_COUNT, 3).astype(np.float64)

    def rotations(joints: NDArray[np.int_]) -> Rotation:
        return Rotation.from_rotvec(local[:, joints].reshape(-1, 3))

    def turned(rotation: Rotation, bones: Array) -> Array:
        return rotation.apply(np.tile(bones, (len(local), 1))).reshape(-1, 2, 3)

    root = rotations(np.array([0, 0]))
    hip_rotation = root * rotations(hip)
    knee_local = rotations(knee)
    knee_rotation = hip_rotation * knee_local
    ankle_rotation = knee_rotation * rotations(ankle)
    pelvis = rest[0] + motion.trans.astype(np.float64)
    return _Legs(
        root=root,
        hip=hip_rotation,
        ankle=ankle_rotation,
        knee_local=knee_local,
        hips=pelvis[:, None] + turned(root, rest[hip] - rest[0]),
        thighs=turned(hip_rotation, rest[knee] - rest[hip]),
        shins=turned(knee_rotation, rest[ankle] - rest[knee]),
        feet=turned(ankle_rotation, rest[foot] - rest[ankle]),
    )


def _root_shift(feet: Array, planted: NDArray[np.bool_]) -> Array:
    """Return how far the root moves (n, 3) so that planted feet slide little; y is 0.

    Weighted least squares: the velocity of the shift is opposite to that of each planted foot, as
    far as the shift stays small and smooth. Feet count while both are planted, and little in a
    step. The first frame does not move.

    Args:
        feet: Middle of each foot (n, 2, 3), metres.
        planted: Whether each foot is planted (n, 2).

    """
    frames = len(feet)
    stands = planted[1:] & planted[:-1]
    standing = np.where(stands.all(axis=1, keepdims=True), 1.0, ONE_FOOT) * stands
    weight = standing.sum(axis=1)
    slide = (standing[..., None] * np.diff(feet, axis=0)).sum(axis=1)

    # Normal equations; rows of `bands` are the second and first upper diagonal, and the diagonal.
    bands = np.zeros((3, frames))
    bands[2] = RETURN
    bands[2, 0] += 1e6
    bands[2, :-1] += weight
    bands[2, 1:] += weight
    bands[1, 1:] -= weight
    for place, value in enumerate((1.0, -2.0, 1.0)):
        bands[2, place : frames - 2 + place] += SMOOTHNESS * value**2
    bands[1, 1:-1] -= 2 * SMOOTHNESS
    bands[1, 2:] -= 2 * SMOOTHNESS
    bands[0, 2:] += SMOOTHNESS
    right = np.zeros((frames, 3))
    right[:-1] += slide
    right[1:] -= slide

    shift: Array = solveh_banded(bands, right)
    shift[:, 1] = 0
    return shift


def _height_shift(heights: Array, planted: NDArray[np.bool_], fps: float) -> Array:
    """Return how far the root rises (n,) so that planted feet keep their mean height.

    The root takes all that both feet have in common. Knees are nearly straight: they would turn by
    a degree for a millimetre of height, and tremble.

    Args:
        heights: Heights of the ankles (n, 2), metres.
        planted: Whether each foot is planted (n, 2).
        fps: Frames per second.

    """
    # The weight of a foot grows and falls smoothly within each interval.
    width = 2 * round(BLEND * fps / 2) + 1
    core = binary_erosion(planted, np.ones((width, 1)), border_value=1)
    kernel = np.hanning(width + 2)[1:-1]
    weight = convolve1d(core.astype(np.float64), kernel / kernel.sum(), axis=0, mode="nearest")
    total = weight.sum(axis=0)
    mean = (weight * heights).sum(axis=0) / np.where(total > 0, total, 1)
    shift: Array = (weight * (mean - heights)).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
    return shift


def _to_mean(positions: Array, intervals: list[tuple[int, int]]) -> Array:
    """Return the offset (n, 3) from each position to the mean of its interval; 0 outside."""
    offsets = np.zeros_like(positions)
    for start, end in intervals:
        offsets[start:end] = positions[start:end].mean(axis=0) - positions[start:end]
    return offsets


def _to_mean_turn(rotations: Rotation, intervals: list[tuple[int, int]]) -> Array:
    """Return the axis-angle turn (n, 3) from each rotation to the mean of its interval."""
    turns = np.zeros((len(rotations), 3))
    for start, end in intervals:
        inside = rotations[start:end]
        turns[start:end] = (inside.mean() * inside.inv()).as_rotvec()
    return turns


def _blended(offsets: Array, intervals: list[tuple[int, int]], fps: float) -> Array:
    """Return offsets (n, 3) that are those given in the intervals and blend to 0 outside.

    Value and slope continue at both ends of an interval, so that a foot has no jump in velocity. In
    a short gap the offset goes from one interval to the next.
    """
    blend = BLEND * fps
    zero = np.zeros(3)
    frames: list[float] = []
    values: list[Array] = []
    slopes: list[Array] = []

    def knot(frame: float, value: Array, slope: Array) -> None:
        frames.append(frame)
        values.append(value)
        slopes.append(slope)

    for start, end in intervals:
        if not frames or start - blend > frames[-1] + blend:
            if frames:
                knot(frames[-1] + blend, zero, zero)
            knot(start - blend, zero, zero)
        knot(start, offsets[start], offsets[start + 1] - offsets[start])
        knot(end - 1, offsets[end - 1], offsets[end - 1] - offsets[end - 2])
    if not frames:
        return offsets
    knot(frames[-1] + blend, zero, zero)

    spline = CubicHermiteSpline(frames, np.array(values), np.array(slopes), extrapolate=False)
    blended = np.nan_to_num(spline(np.arange(len(offsets))), nan=0.0)
    for start, end in intervals:
        blended[start:end] = offsets[start:end]
    return blended


def _solved(
    motion: SmplxMotion, legs: _Legs, shift: Array, offsets: Array, turns: Array
) -> SmplxMotion:
    """Move root, ankles and feet, and solve hips and knees.

    The knee bends or stretches about its own axis until the distance from hip to ankle is right,
    and the whole leg then turns by the smallest rotation that brings the ankle to its place. What
    needs no correction is not changed.
    """
    flat = (-1, 3)
    thighs, shins = legs.thighs.reshape(flat), legs.shins.reshape(flat)
    before = thighs + shins
    wanted = before + offsets.reshape(flat)
    distance = np.linalg.norm(wanted, axis=1)
    length = _within_reach(
        distance,
        np.linalg.norm(before, axis=1),
        np.linalg.norm(thighs, axis=1) + np.linalg.norm(shins, axis=1),
    )
    axis = legs.hip.apply([1.0, 0.0, 0.0])
    flexion = _flexion(thighs, shins, axis, length)
    bent = thighs + Rotation.from_rotvec(flexion[:, None] * axis).apply(shins)
    hip = _smallest_rotation(bent, wanted) * legs.hip
    knee_local = Rotation.from_rotvec(flexion[:, None] * [1.0, 0.0, 0.0]) * legs.knee_local
    ankle = Rotation.from_rotvec(turns.reshape(flat)) * legs.ankle

    poses = motion.poses.reshape(-1, JOINT_COUNT, 3).copy()
    solved = (legs.root.inv() * hip, knee_local, (hip * knee_local).inv() * ankle)
    for joints, rotation in zip(zip(*LEG_CHAINS, strict=True), solved, strict=False):
        poses[:, list(joints)] = rotation.as_rotvec().reshape(-1, 2, 3)
    trans = (motion.trans + shift).astype(motion.trans.dtype)
    return replace(motion, poses=poses.reshape(motion.poses.shape), trans=trans)


def _within_reach(distance: Array, before: Array, longest: Array) -> Array:
    """Return distances (m,) from hip to ankle that a leg can have.

    The wanted distance, but softly limited near the length of the straight leg. A leg that was
    straighter than that may stay so.

    Args:
        distance: Wanted distances (m,), metres.
        before: Distances (m,) in the given motion.
        longest: Length (m,) of the straight leg.

    """
    limit = longest - SOFTNESS
    beyond = np.maximum(distance - limit, 0)
    soft = np.where(beyond > 0, limit + SOFTNESS * np.tanh(beyond / SOFTNESS), distance)
    return np.maximum(soft, np.minimum(distance, before))


def _flexion(thighs: Array, shins: Array, axis: Array, length: Array) -> Array:
    """Return the angle (m,) by which a knee bends further so that hip and ankle have a distance.

    With |t + R s|² = |t|² + |s|² + 2 t · R s, and t · R s = along + across cos(angle - straight),
    where the leg is longest at the angle `straight`.

    Args:
        thighs: Bones t (m, 3), metres.
        shins: Bones s (m, 3), metres.
        axis: Axis (m, 3) about which the knee bends; positive angles bend it backwards.
        length: Distance (m,) from hip to ankle, metres.

    """
    along = _dot(thighs, axis) * _dot(shins, axis)
    cosine = _dot(thighs, shins) - along
    sine = _dot(thighs, np.cross(axis, shins))
    straight = np.arctan2(sine, cosine)
    across = np.hypot(cosine, sine)
    product = (length**2 - _dot(thighs, thighs) - _dot(shins, shins)) / 2
    bend = np.arccos(np.clip((product - along) / across, -1, 1))
    # A knee that was bent the wrong way may stay so, but is not bent further that way.
    backwards = (straight > 0) & (bend <= straight + 1e-7)
    return np.where(backwards, straight - bend, straight + bend)


def _smallest_rotation(start: Array, end: Array) -> Rotation:
    """Return the smallest rotations between the directions of vectors (m, 3)."""
    cross = np.cross(start, end)
    sine = np.linalg.norm(cross, axis=1)
    angle = np.arctan2(sine, _dot(start, end))
    return Rotation.from_rotvec(cross * (angle / np.maximum(sine, 1e-300))[:, None])


def _dot(a: Array, b: Array) -> Array:
    product: Array = (a * b).sum(axis=1)
    return product
