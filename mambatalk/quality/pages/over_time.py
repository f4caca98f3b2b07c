"""Motion over time: the quantity behind a rule's column in every frame.

The largest value is marked, or the intervals in which nothing moves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.clips.continuity import cut_strength
from mambatalk.clips.noise import ABSURD, STEP, bounded, tremble
from mambatalk.clips.parts import face_speed
from mambatalk.clips.posture import ARM_JOINTS, JOINT_GROUPS, STILL_ANGLE
from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import joint_speed
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, JOINTS, TRACKED_PARTS
from mambatalk.quality.pages.figures import (
    HEIGHT,
    WIDTH,
    Figure,
    Floats,
    downsample_peaks,
    mark_bounds,
    shade_intervals,
)
from mambatalk.quality.rules.rule import Rule
from mambatalk.reporting.picture import BAD, MODEL, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FrameSeries:
    """A quantity of every frame, for one or several channels such as joints."""

    title: str
    unit: str
    values: Callable[[SmplxMotion], Floats]
    """Values (frames, channels) of a motion."""
    names: tuple[str, ...] | None = None
    """Names of the channels; None if there is only one."""
    frozen: Callable[[Mask], Mask] | None = None
    """Map channels without motion (frames, channels) to frames to shade.

    If None, the largest value is marked instead.
    """
    marked: str = "nothing moves"
    """What holds in the shaded frames."""

    def still(self, values: Floats) -> Mask:
        """Return the frames to shade, from the values (frames, channels) of a motion."""
        assert self.frozen is not None
        return self.frozen(values < STILL_ANGLE * FPS)


def _speed(motion: SmplxMotion) -> Floats:
    return joint_speed(bounded(motion.poses))


def _speed_change(motion: SmplxMotion) -> Floats:
    return np.abs(np.diff(_speed(motion), axis=0)) * FPS


def _not_finite(motion: SmplxMotion) -> Floats:
    counts = [
        (~np.isfinite(array)).sum(axis=1)
        for array in (motion.poses, motion.trans, motion.expressions)
    ]
    return np.sum(counts, axis=0)[:, None].astype(np.float64)


def _cuts(motion: SmplxMotion) -> Floats:
    return cut_strength(_speed(motion).sum(axis=1, dtype=np.float64))[:, None]


def _largest_rotation(motion: SmplxMotion) -> Floats:
    return np.abs(motion.poses[:, 3:]).max(axis=1, keepdims=True)


def _largest_expression(motion: SmplxMotion) -> Floats:
    return np.abs(motion.expressions).max(axis=1, keepdims=True)


def _face_range(motion: SmplxMotion) -> Floats:
    """Return the expression coefficients above their lowest values; the largest is the range."""
    expressions = bounded(motion.expressions)
    return expressions - expressions.min(axis=0)


def _angles(motion: SmplxMotion) -> Floats:
    return np.linalg.norm(bounded(motion.poses).reshape(len(motion), -1, 3), axis=-1)


def _arm_speed(motion: SmplxMotion) -> Floats:
    """Return the speed of the fastest joint of each arm, hand included."""
    speed = _speed(motion)
    return np.stack([speed[:, joints].max(axis=1) for joints in ARM_JOINTS], axis=1)


def _translation_speed(motion: SmplxMotion) -> Floats:
    return np.linalg.norm(np.diff(bounded(motion.trans), axis=0), axis=-1)[:, None] * FPS


def _place_on_floor(motion: SmplxMotion) -> Floats:
    """Return the place along each axis of the floor; its largest value is the range."""
    on_floor = bounded(motion.trans)[:, (0, 2)]
    return on_floor - on_floor.min(axis=0)


def _height(motion: SmplxMotion) -> Floats:
    height = bounded(motion.trans)[:, 1:2]
    return height - height.min()


def _largest_value(motion: SmplxMotion) -> Floats:
    arrays = (motion.poses, motion.trans, motion.expressions)
    return np.stack([np.abs(bounded(array)).max(axis=1) for array in arrays], axis=1)


def _trembling(values: Floats) -> Floats:
    """Return the noise of every frame; it is measured in some and held until the next."""
    return np.repeat(tremble(bounded(values)), STEP, axis=0)


def _expression_noise(motion: SmplxMotion) -> Floats:
    """Return the noise of the coefficients as shares of their deviations."""
    expressions = bounded(motion.expressions)
    deviation = np.maximum(expressions.std(axis=0), 0.01)
    return np.abs(np.diff(expressions, n=3, axis=0)) / np.sqrt(20) / deviation


def _vector_change(motion: SmplxMotion) -> Floats:
    vectors = bounded(motion.poses).reshape(len(motion), -1, 3)
    return np.linalg.norm(np.diff(vectors, axis=0), axis=-1)


def _frozen_part(part: str) -> FrameSeries:
    joints = list(TRACKED_PARTS[part])
    title = part.replace("_", " ")
    if part == "face":
        return FrameSeries(
            "Speed of the expressions",
            "per second",
            lambda motion: face_speed(bounded(motion.expressions))[:, None],
            frozen=_all_frozen,
        )
    return FrameSeries(
        f"Fastest joint of the {title}",
        "rad/s",
        lambda motion: _speed(motion)[:, joints],
        tuple(JOINTS[joint] for joint in joints),
        _all_frozen,
    )


def _group_angles(group: str, joints: list[int]) -> FrameSeries:
    """Return the series of a group of joints; angles are folded into 0 to pi."""
    return FrameSeries(
        f"Largest rotation of the {group}",
        "rad",
        lambda motion: np.abs((_angles(motion)[:, joints] + np.pi) % (2 * np.pi) - np.pi),
        tuple(JOINTS[joint] for joint in joints),
    )


def _all_frozen(still: Mask) -> Mask:
    return np.all(still, axis=1)


def _one_frozen(still: Mask) -> Mask:
    return still[:, 0] ^ still[:, 1]


_FROZEN_BODY: Final = FrameSeries("Fastest joint", "rad/s", _speed, JOINTS, _all_frozen)
FRAME_SERIES: Final[Mapping[str, FrameSeries]] = {
    "max_joint_speed": FrameSeries("Fastest joint", "rad/s", _speed, JOINTS),
    "frozen_seconds": _FROZEN_BODY,
    "repeated_share": _FROZEN_BODY,
    "frozen_limb_seconds": FrameSeries(
        "Fastest joint of either arm", "rad/s", _arm_speed, ("left", "right"), _one_frozen
    ),
    "max_joint_acceleration": FrameSeries(
        "Largest change of joint speed", "rad/s²", _speed_change, JOINTS
    ),
    "max_angle": FrameSeries("Largest rotation", "rad", _angles, JOINTS),
    **{f"angle_{group}": _group_angles(group, joints) for group, joints in JOINT_GROUPS.items()},
    "cut": FrameSeries("Speed of all joints relative to the frames around", "times", _cuts),
    "blank_frames": FrameSeries(
        "Largest rotation of any joint",
        "rad",
        _largest_rotation,
        frozen=_all_frozen,
        marked="every joint is at zero",
    ),
    "blank_face_frames": FrameSeries(
        "Largest expression coefficient",
        "",
        _largest_expression,
        frozen=_all_frozen,
        marked="every expression is zero",
    ),
    "max_translation_speed": FrameSeries("Speed of the body", "m/s", _translation_speed),
    "translation_range": FrameSeries(
        "Distance along an axis of the floor from its lowest place",
        "m",
        _place_on_floor,
        ("x", "z"),
    ),
    "translation_rise": FrameSeries("Height above the lowest point", "m", _height),
    "max_expression": FrameSeries(
        "Largest expression coefficient", "", lambda motion: np.abs(bounded(motion.expressions))
    ),
    "face_range": FrameSeries("Largest expression above its lowest value", "", _face_range),
    **{f"frozen_{part}_seconds": _frozen_part(part) for part in TRACKED_PARTS},
    "largest_value": FrameSeries(
        f"Largest value, at most {ABSURD:g} shown",
        "",
        _largest_value,
        ("poses", "trans", "expressions"),
    ),
    "jitter": FrameSeries("Noise", "rad", lambda motion: _trembling(motion.poses), JOINTS),
    "jitter_burst": FrameSeries(
        "Noise of the body", "rad", lambda motion: _trembling(motion.poses[:, :66]), JOINTS[:22]
    ),
    "translation_jitter": FrameSeries(
        "Noise of the translation", "m", lambda motion: _trembling(motion.trans)
    ),
    "expression_jitter": FrameSeries(
        "Noise of the noisiest coefficient", "deviations", _expression_noise
    ),
    "branch_flips": FrameSeries(
        "Largest change of an axis-angle vector", "rad", _vector_change, JOINTS
    ),
    "not_finite": FrameSeries("Values that are NaN or infinite", "per frame", _not_finite),
}
"""The series to plot for each column of the manifest that summarises motion."""


def plot_over_time(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Figure:
    """Plot the series behind a rule's column, frame by frame.

    Args:
        row: The clip's row of the manifest.
        clip: The clip itself.
        rule: A rule whose column is in `FRAME_SERIES`.

    """
    series = FRAME_SERIES[rule.column]
    rate = float(row["fps"])
    values = np.nan_to_num(series.values(clip.motion), posinf=0, neginf=0)
    largest = values.max(axis=1)
    if series.frozen is None:
        frozen = None
        caption = _describe_peak(series, values, rate, rule)
    else:
        frozen = series.still(values)
        seconds = frozen.sum() / rate
        caption = f"{series.title} in each frame; {series.marked} in the marked {seconds:.1f} s."

    def paint(axes: "Axes") -> None:
        frames, peaks = downsample_peaks(largest)
        axes.plot(frames / rate, peaks, color=MODEL, linewidth=1)
        if frozen is None:
            _circle_peak(axes, largest, rate)
            mark_bounds(axes, rule, largest)
        else:
            shade_intervals(axes, frozen, rate, BAD)
        axes.set_xlim(0, len(largest) / rate)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("time (s)")
        axes.set_ylabel(series.unit or "coefficient")

    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def _circle_peak(axes: "Axes", largest: Floats, rate: float) -> None:
    peak = int(largest.argmax())
    axes.plot(
        peak / rate,
        largest[peak],
        "o",
        color=BAD,
        markersize=6,
        fillstyle="none",
        markeredgewidth=1.5,
    )


def _describe_peak(series: FrameSeries, values: Floats, rate: float, rule: Rule) -> str:
    """Describe the largest value: size, time, channel, and frames above the rule's bound."""
    frame, channel = np.unravel_index(values.argmax(), values.shape)
    unit = f" {series.unit}" if series.unit else ""
    name = f" ({series.names[channel].replace('_', ' ')})" if series.names else ""
    text = f"{series.title} in each frame: {values.max():.3g}{unit} at {frame / rate:.2f} s{name}"
    if rule.maximum is not None:
        above = int((values.max(axis=1) > rule.maximum).sum())
        if above:
            text += f"; {above} frame{'' if above == 1 else 's'} above the bound"
    return f"{text}."
