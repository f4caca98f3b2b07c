"""Motion over time, by the column that is judged: the spike marked, or the stretch that stands
still.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.clips.posture import GROUPS, SIDES, STILL
from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import joint_speed
from mambatalk.motion.skeleton import FPS, JOINTS
from mambatalk.quality.figures import (
    HEIGHT,
    WIDTH,
    Frames,
    Shown,
    mark_bound,
    mark_stretches,
    thinned,
)
from mambatalk.quality.rules import Rule
from mambatalk.reporting.picture import BAD, MODEL, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Series:
    """Numbers over time: (frames, things) and the things' names where there is more than one."""

    title: str
    unit: str
    values: Callable[[Clip], Frames]
    names: tuple[str, ...] | None = None
    still: Callable[[NDArray[np.bool_]], Any] | None = None
    """Which frames to mark, from what stands still (frames, things); the largest value is marked
    where None.
    """


def _jerk(clip: Clip) -> Frames:
    return np.abs(np.diff(joint_speed(np.nan_to_num(clip.motion.poses)), axis=0)) * FPS


def _not_finite(clip: Clip) -> Frames:
    arrays = (clip.motion.poses, clip.motion.trans, clip.motion.expressions)
    return np.sum([(~np.isfinite(array)).sum(axis=1) for array in arrays], axis=0)[:, None].astype(
        np.float64
    )


def _speed(clip: Clip) -> Frames:
    return joint_speed(np.nan_to_num(clip.motion.poses))


def _angles(clip: Clip) -> Frames:
    return np.linalg.norm(clip.motion.poses.reshape(len(clip.motion), -1, 3), axis=-1)


def _arms(clip: Clip) -> Frames:
    """The fastest joint of each arm with its hand."""
    speed = _speed(clip)
    return np.stack([speed[:, joints].max(axis=1) for joints in SIDES], axis=1)


def _group(name: str, joints: list[int]) -> Series:
    """A group of joints, each by the shorter way round."""
    return Series(
        f"Largest rotation of the {name}",
        "rad",
        lambda clip: np.abs((_angles(clip)[:, joints] + np.pi) % (2 * np.pi) - np.pi),
        tuple(JOINTS[joint] for joint in joints),
    )


OVER_TIME: Final[Mapping[str, Series]] = {
    "max_joint_speed": Series("Fastest joint", "rad/s", _speed, JOINTS),
    "frozen_seconds": Series(
        "Fastest joint", "rad/s", _speed, JOINTS, lambda still: still.all(axis=1)
    ),
    "repeated_share": Series(
        "Fastest joint", "rad/s", _speed, JOINTS, lambda still: still.all(axis=1)
    ),
    "frozen_limb_seconds": Series(
        "Fastest joint of either arm",
        "rad/s",
        _arms,
        ("left", "right"),
        lambda still: still[:, 0] ^ still[:, 1],
    ),
    "max_joint_acceleration": Series("Hardest jerk", "rad/s²", _jerk, JOINTS),
    "max_angle": Series("Largest rotation", "rad", _angles, JOINTS),
    **{f"angle_{name}": _group(name, joints) for name, joints in GROUPS.items()},
    "max_translation_speed": Series(
        "Speed of the body",
        "m/s",
        lambda clip: np.linalg.norm(np.diff(clip.motion.trans, axis=0), axis=-1)[:, None] * FPS,
    ),
    "translation_range": Series(
        "Way from where the body began",
        "m",
        lambda clip: np.linalg.norm(
            clip.motion.trans[:, (0, 2)] - clip.motion.trans[0, (0, 2)], axis=-1
        )[:, None],
    ),
    "translation_rise": Series(
        "Height above the lowest",
        "m",
        lambda clip: (clip.motion.trans - clip.motion.trans.min(axis=0))[:, 1:2],
    ),
    "max_expression": Series(
        "Strongest expression", "", lambda clip: np.abs(clip.motion.expressions)
    ),
    "not_finite": Series("Values that are no numbers", "of each frame", _not_finite),
}
"""What to draw over time, by the column that is judged."""


def over_time(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Shown:
    """Draw what a rule's column is the extreme of (`OVER_TIME` has the column), frame by frame."""
    series, rate = OVER_TIME[rule.column], float(row["fps"])
    values = np.nan_to_num(series.values(clip), posinf=0, neginf=0)
    largest = values.max(axis=1)
    still = None if series.still is None else series.still(values < STILL * FPS)
    caption = (
        _spike(series, values, rate, rule)
        if still is None
        else (
            f"{series.title} in each frame; none moves at all in the marked {still.sum() / rate:.1f} s."
        )
    )

    def paint(axes: "Axes") -> None:
        at, drawn = thinned(largest)
        axes.plot(at / rate, drawn, color=MODEL, linewidth=1)
        if still is None:
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
            mark_bound(axes, rule, largest)
        else:
            mark_stretches(axes, still, rate, BAD)
        axes.set_xlim(0, len(largest) / rate)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("s")
        axes.set_ylabel(series.unit)

    return Shown(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def _spike(series: Series, values: Frames, rate: float, rule: Rule) -> str:
    """The curve's peak in a sentence."""
    frame, thing = np.unravel_index(values.argmax(), values.shape)
    what = f" ({series.names[thing].replace('_', ' ')})" if series.names else ""
    over = int((values.max(axis=1) > rule.maximum).sum()) if rule.maximum is not None else 0
    tail = f"; {over} frame{'' if over == 1 else 's'} above the bound" if over else ""
    unit = f" {series.unit}" if series.unit else ""
    return f"{series.title} in each frame: {values.max():.3g}{unit} at {frame / rate:.2f} s{what}{tail}."
