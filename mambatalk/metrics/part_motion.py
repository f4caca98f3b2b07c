"""How much, how fast and how smoothly each part moves, and whether it moves as the recording does.

A part is given as the local rotations of its joints or as points, so that the movement of one part
does not count for the parts that hang on it. `part_motion` takes both from a motion.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import roma
from torch import Tensor

from mambatalk.metrics.catalogue import MOVING_PARTS, MovingPart
from mambatalk.metrics.variant import ClipMean
from mambatalk.motion.skeleton import FPS, PART_JOINTS

JOINTS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "jaw": PART_JOINTS["face"],
        "upper": PART_JOINTS["upper"],
        "hands": PART_JOINTS["hands"],
        "lower": PART_JOINTS["lower"],
    }
)
"""Joints of the parts that are rotations, `ROTATING_PARTS`."""
STILL: Final = 1e-6
"""A part whose deviations (radians, metres or coefficients) are below this stands still; what is
left is rounding, which must not be compared."""


def part_motion(rotations: Tensor, expressions: Tensor, root: Tensor) -> dict[MovingPart, Tensor]:
    """Split a motion into its moving parts.

    Args:
        rotations: Local rotation matrices (n, 55, 3, 3).
        expressions: Expression coefficients (n, 100).
        root: Position of the pelvis (n, 3) in metres.

    Returns:
        Rotations (n, J, 3, 3), or points (n, 1, C), in double precision.

    """
    parts: dict[MovingPart, Tensor] = {}
    for part in MOVING_PARTS:
        if part == "expressions":
            parts[part] = expressions.double().unsqueeze(1)
        elif part == "root":
            parts[part] = root.double().unsqueeze(1)
        else:
            parts[part] = rotations[:, list(JOINTS[part])].double()
    return parts


class MotionRange(ClipMean):
    """Temporal standard deviation of a part, averaged over its joints.

    The root mean square distance from the clip's mean: the angle between rotations in radians, or
    the distance between points. A frozen part has range 0. Compare with ground truth over the same
    clips: neither small nor large values are better as such.

    Formula: mean over joints of `sqrt(mean over t of d(x[t], m)^2)`, m being the joint's mean and d
    the angle or the distance.

    Source: standard deviation over time; of rotations with the geodesic distance from the chordal
    mean (Hartley et al., Rotation Averaging, 2013).

    """

    def update(self, motion: Tensor) -> None:
        """Add one clip of rotations (n, J, 3, 3) or points (n, K, C).

        Raises:
            ValueError: The shape is different, or a value is not finite.

        """
        _check("motion", motion)
        self.add(float(_deviation(motion).square().mean(0).sqrt().mean()), len(motion))


class MotionSpeed(ClipMean):
    """Mean speed of a part per second, averaged over its joints.

    The angle from a frame to the next in radians per second, or the distance of points. A clip at
    half its speed has the range of the recording, but half its speed.

    Formula: mean over joints and frames of `30 d(x[t], x[t + 1])`, d being the angle or the
    distance.

    Source: the GENEA evaluations (Kucherenko et al., 2021) compare speeds of joint positions.

    """

    def update(self, motion: Tensor) -> None:
        """Add one clip, as in `MotionRange`. A clip of one frame has no speed and is left out."""
        _check("motion", motion)
        self.add(float(_velocity(motion).norm(dim=-1).mean()), len(motion) - 1)


class MotionJerk(ClipMean):
    """Mean jerk of a part: the third derivative of its motion, per second cubed.

    Second differences of the angular velocity (axis and angle from a frame to the next) or of the
    velocity of points. Trembling multiplies it; recorded motion has some from the capture.

    Formula: mean over joints and frames of `30^2 |v[t + 2] - 2 v[t + 1] + v[t]|`, v being the
    velocity per second.

    Source: average jerk in the GENEA evaluations (Kucherenko et al., 2021), of joint positions.

    """

    def update(self, motion: Tensor) -> None:
        """Add one clip, as in `MotionRange`. A clip of fewer than four frames is left out."""
        _check("motion", motion)
        jerk = _velocity(motion).diff(n=2, dim=0) * FPS**2
        self.add(float(jerk.norm(dim=-1).mean()), len(motion) - 3)


class MotionCorrelation(ClipMean):
    """Correlation of a part's motion with the recording, in [-1, 1].

    The cosine between both motions after their means are subtracted, over all frames and channels
    (entries of rotation matrices, or coordinates): Pearson's correlation, with large movements
    counting more. The size of the movement and the pose that it starts from do not count. Motion of
    another clip has 0 on average, and so has motion at another speed. A part that stands still has
    0. If it stands still in the recording, the clip is left out.

    Formula: `mean(a b) / sqrt(mean(a^2) mean(b^2))`, a and b being both motions less their means
    over time.

    Source: Pearson's correlation. GENEA 2022 (Yoon et al.) correlates in the same sense with CCA,
    which also fits a rotation between both motions and so forgives more.

    """

    higher_is_better = True

    def update(self, motion: Tensor, truth: Tensor) -> None:
        """Add one clip.

        Args:
            motion: Rotations (n, J, 3, 3) or points (n, K, C).
            truth: The same of the recording.

        Raises:
            ValueError: The shapes differ or are not those of a clip, or a value is not finite.

        """
        _check("motion", motion, like=truth)
        _check("motion of the truth", truth)
        centred = motion - motion.mean(0)
        true_centred = truth - truth.mean(0)
        size = float(centred.square().mean().sqrt())
        true_size = float(true_centred.square().mean().sqrt())
        if true_size < STILL:
            return
        value = 0.0 if size < STILL else float((centred * true_centred).mean()) / (size * true_size)
        self.add(value, len(motion))


class PostureError(ClipMean):
    """Angle between the mean rotation of a part and that of the recording, in radians.

    Averaged over the part's joints. It measures what does not depend on time: a mirrored body, a
    body that faces elsewhere, or the posture of another speaker.

    Formula: mean over joints of `d(m, m of the recording)`, m being the mean rotation over time and
    d the angle between two.

    Source: joint angle difference (Aksan et al., Structured Prediction Helps 3D Human Motion
    Modelling, 2019), of mean poses.

    """

    higher_is_better = False

    def update(self, motion: Tensor, truth: Tensor) -> None:
        """Add one clip of rotations (n, J, 3, 3), as in `MotionCorrelation`."""
        _check("motion", motion, like=truth)
        _check("motion of the truth", truth)
        angle = roma.rotmat_geodesic_distance(_mean_rotation(motion), _mean_rotation(truth))
        self.add(float(angle.mean()), len(motion))


def _check(name: str, motion: Tensor, *, like: Tensor | None = None) -> None:
    shape = tuple(motion.shape)
    if like is not None and motion.shape != like.shape:
        raise ValueError(f"{name}: expected equal shapes, found {shape} and {tuple(like.shape)}")
    if motion.ndim not in (3, 4) or (motion.ndim == 4 and shape[2:] != (3, 3)) or not shape[0]:
        raise ValueError(
            f"{name}: expected rotations (n, J, 3, 3) or points (n, K, C) of one clip, found shape"
            f" {shape}"
        )
    if not motion.isfinite().all():
        raise ValueError(f"{name}: found values that are not finite")


def _deviation(motion: Tensor) -> Tensor:
    """Return the distance (n, K) of each joint or point from its mean over the clip."""
    if _is_rotation(motion):
        return roma.rotmat_geodesic_distance(motion, _mean_rotation(motion).expand_as(motion))
    return (motion - motion.mean(0)).norm(dim=-1)


def _velocity(motion: Tensor) -> Tensor:
    """Return velocities (n - 1, K, C) per second; for rotations axis times angle (n - 1, J, 3)."""
    if _is_rotation(motion):
        steps = motion[:-1].transpose(-1, -2) @ motion[1:]
        return roma.rotmat_to_rotvec(steps) * FPS
    return motion.diff(dim=0) * FPS


def _is_rotation(motion: Tensor) -> bool:
    return motion.ndim == 4


def _mean_rotation(rotations: Tensor) -> Tensor:
    """Return the rotations (J, 3, 3) nearest to the mean matrix of (n, J, 3, 3)."""
    return roma.special_procrustes(rotations.mean(0))
