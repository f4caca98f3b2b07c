"""Noise in the motion: trembling, rotations that change their representation, absurd values."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.clips.parts import describe_span
from mambatalk.motion.skeleton import FPS

NOISE_GAIN: Final = float(np.sqrt(20 * 2.366))
"""Median norm of the third difference of white noise of deviation 1 on three axes: the squares of
the weights 1, -3, 3, -1 add up to 20, and 2.366 is the median of a chi-squared value of degree 3.
"""
STEP: Final = 3
"""Noise is measured in every third frame, which is enough for a median and takes a third of the
time.
"""
BURST: Final = 2 * FPS // STEP
"""Measured frames in two seconds. Fast gestures are shorter."""
BODY_JOINTS: Final = slice(0, 22)
"""Pelvis to wrists. Fingers of BEATX tremble for seconds in clips that are otherwise fine."""
BRANCH_JUMP: Final = float(np.pi)
"""Change of an axis-angle vector in one frame that is larger than any change of a rotation."""
SMALL_TURN: Final = 1.0
"""Rotation per frame (rad) below which such a change is one of representation alone."""

ABSURD: Final = 1e4
"""No value of a motion is as large, even in degrees or millimetres."""

Floats = NDArray[np.floating[Any]]


def noise_statistics(
    poses: Floats, trans: Floats, expressions: Floats, angles: Floats, speed: Floats
) -> dict[str, Any]:
    """Return statistics of noise, in the units of the arrays.

    Args:
        poses: Axis-angle rotations (n, 165) in radians, finite.
        trans: Translation (n, 3) in metres, finite.
        expressions: Expression coefficients (n, 100), finite.
        angles: Rotation angles (n, 55) in radians.
        speed: Joint speeds (n - 1, 55) in rad/s.

    Returns:
        `jitter` (rad), the noise of the joint that trembles most, in half of the clip's frames;
        `jitter_burst` (rad), the same for a joint of the body (no fingers) in the worst two
        seconds, with `jitter_burst_when`; `translation_jitter` (m); `expression_jitter`, noise of
        the noisiest expression coefficient as a share of its deviation; `branch_flips`, frames in
        which an axis-angle vector jumps although the rotation does not, and `branch_flips_when`,
        the first one.

    """
    joints = tremble(poses)
    blocks = joints[: len(joints) // BURST * BURST, BODY_JOINTS]
    bursts = np.median(blocks.reshape(-1, BURST, blocks.shape[1]), axis=1).max(axis=1)
    worst = int(bursts.argmax()) * BURST * STEP if len(bursts) else 0
    flips = np.flatnonzero(branch_flips(poses, angles, speed))
    return {
        "jitter": _largest_median(joints),
        "jitter_burst": float(bursts.max(initial=0)),
        "jitter_burst_when": describe_span(worst, worst + BURST * STEP),
        "translation_jitter": _largest_median(tremble(trans)),
        "expression_jitter": _expression_jitter(expressions),
        "branch_flips": len(flips),
        "branch_flips_when": describe_span(flips[0] + 1, flips[0] + 2) if len(flips) else None,
    }


def tremble(values: Floats) -> Floats:
    """Return the noise (m, channels / 3) of triples of channels in every `STEP`-th frame.

    The third difference removes movement that is smooth over four frames. White noise of a
    deviation gives that deviation on average.
    """
    third = _third_difference(values)
    triples = third.reshape(len(third), -1, 3)
    return np.sqrt(np.einsum("nck,nck->nc", triples, triples)) / NOISE_GAIN


def branch_flips(poses: Floats, angles: Floats, speed: Floats) -> NDArray[np.bool_]:
    """Return for each frame but the first whether an axis-angle vector jumps, but not its rotation.

    Rotations by r and by r - 2 pi about one axis are equal, but their vectors are far apart.

    Args:
        poses: Axis-angle rotations (n, 165) in radians.
        angles: Rotation angles (n, 55) in radians.
        speed: Joint speeds (n - 1, 55) in rad/s.

    """
    vectors = poses.reshape(len(poses), -1, 3)
    # Vectors that are less than half the jump long cannot jump by it.
    may_flip = np.flatnonzero(angles.max(axis=0) > BRANCH_JUMP / 2)
    change = np.linalg.norm(np.diff(vectors[:, may_flip], axis=0), axis=-1)
    return np.any((change > BRANCH_JUMP) & (speed[:, may_flip] < SMALL_TURN * FPS), axis=1)


def _third_difference(values: Floats) -> Floats:
    first = values[: max(0, len(values) - 3) : STEP]
    count = len(first)
    second, third, fourth = (values[k::STEP][:count] for k in (1, 2, 3))
    return fourth - first + 3 * (second - third)


def bounded(array: Floats) -> Floats:
    """Return an array with 0 for NaN and infinity, and no value beyond `ABSURD`.

    Powers of larger values overflow, and one of them hides everything else in a figure.
    """
    # False if a value is NaN.
    if array.size and array.min() >= -ABSURD and array.max() <= ABSURD:
        return array
    return np.clip(np.nan_to_num(array, posinf=0, neginf=0), -ABSURD, ABSURD)


def largest_value(arrays: dict[str, Floats]) -> tuple[float, str | None]:
    """Return the largest finite value of several arrays, and where it is.

    Args:
        arrays: Arrays (n, channels) or (channels,) by name.

    Returns:
        The absolute value, and a place such as "10.0 s (expressions)", or the name alone for an
        array that has no frames.

    """
    largest, place = 0.0, None
    for name, array in arrays.items():
        values = np.abs(np.where(np.isfinite(array), array, 0))
        index = int(values.argmax())
        value = float(values.flat[index])
        if value > largest:
            largest = value
            seconds = f"{index // array.shape[-1] / FPS:.1f} s"
            place = f"{seconds} ({name})" if array.ndim > 1 else name
    return largest, place


def _largest_median(values: Floats) -> float:
    return float(np.median(values, axis=0).max()) if len(values) else 0.0


def _expression_jitter(expressions: Floats) -> float:
    third = np.abs(_third_difference(expressions))
    if not len(third):
        return 0.0
    # The median of the absolute value of a normal variable is 0.6745 deviations.
    # By channel, because a median reads whole rows faster than columns.
    noise = np.median(np.ascontiguousarray(third.T), axis=1) / np.sqrt(20) / 0.6745
    deviation = expressions.std(axis=0, dtype=np.float64)
    return float((noise / np.maximum(deviation, 0.01)).max())
