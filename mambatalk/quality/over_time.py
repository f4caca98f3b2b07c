"""Motion over time: the quantity behind a rule's column in every frame.

The largest value is marked, or the intervals in which nothing moves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.clips.posture import ARM_JOINTS, JOINT_GROUPS, STILL_ANGLE
from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import joint_speed
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, JOINTS
from mambatalk.quality.figures import (
    HEIGHT,
    WIDTH,
    Figure,
    Floats,
    downsample_peaks,
    mark_bounds,
    shade_intervals,
)
from mambatalk.quality.rule import Rule
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


def _speed(motion: SmplxMotion) -> Floats:
    return joint_speed(np.nan_to_num(motion.poses))


def _speed_change(motion: SmplxMotion) -> Floats:
    return np.abs(np.diff(_speed(motion), axis=0)) * FPS


def _not_finite(motion: SmplxMotion) -> Floats:
    counts = [
        (~np.isfinite(array)).sum(axis=1)
        for array in (motion.poses, motion.trans, motion.expressions)
    ]
    return np.sum(counts, axis=0)[:, None].astype(np.float64)


def _angles(motion: SmplxMotion) -> Floats:
    return np.linalg.norm(motion.poses.reshape(len(motion), -1, 3), axis=-1)


def _arm_speed(motion: SmplxMotion) -> Floats:
    """Return the speed of the fastest joint of each arm, hand included."""
    speed = _speed(motion)
    return np.stack([speed[:, joints].max(axis=1) for joints in ARM_JOINTS], axis=1)


def _translation_speed(motion: SmplxMotion) -> Floats:
    return np.linalg.norm(np.diff(motion.trans, axis=0), axis=-1)[:, None] * FPS


def _place_on_floor(motion: SmplxMotion) -> Floats:
    """Return the place along each axis of the floor; its largest value is the range."""
    on_floor = motion.trans[:, (0, 2)]
    return on_floor - on_floor.min(axis=0)


def _height(motion: SmplxMotion) -> Floats:
    return (motion.trans - motion.trans.min(axis=0))[:, 1:2]


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
    "max_translation_speed": FrameSeries("Speed of the body", "m/s", _translation_speed),
    "translation_range": FrameSeries(
        "Distance along an axis of the floor from its lowest place",
        "m",
        _place_on_floor,
        ("x", "z"),
    ),
    "translation_rise": FrameSeries("Height above the lowest point", "m", _height),
    "max_expression": FrameSeries(
        "Largest expression coefficient", "", lambda motion: np.abs(motion.expressions)
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
        frozen = series.frozen(values < STILL_ANGLE * FPS)
        seconds = frozen.sum() / rate
        caption = f"{series.title} in each frame; nothing moves in the marked {seconds:.1f} s."

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
