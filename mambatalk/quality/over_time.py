"""Motion over time, by the column that is judged: the spike marked, or the stretch that stands still."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.data.checks import Rule
from mambatalk.data.clips import Clip
from mambatalk.data.statistics import STILL, joint_speed
from mambatalk.motion.skeleton import FPS, JOINTS
from mambatalk.page.picture import BAD, MODEL, draw
from mambatalk.quality.shown import HEIGHT, WIDTH, Frames, Shown, mark_bound, mark_stretches, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Series:
    """Numbers over time: (frames, things) and the things' names where there is more than one."""

    title: str
    unit: str
    values: Callable[[Clip], Frames]
    names: tuple[str, ...] | None = None


def _jerk(clip: Clip) -> Frames:
    return np.abs(np.diff(joint_speed(np.nan_to_num(clip.poses)), axis=0)) * FPS


def _not_finite(clip: Clip) -> Frames:
    arrays = (clip.poses, clip.trans, clip.expressions)
    return np.sum([(~np.isfinite(array)).sum(axis=1) for array in arrays], axis=0)[:, None].astype(np.float64)


SPEED: Final = Series("Fastest joint", "rad/s", lambda clip: joint_speed(np.nan_to_num(clip.poses)), JOINTS)
OVER_TIME: Final[Mapping[str, Series]] = {
    "max_joint_speed": SPEED,
    "frozen_seconds": SPEED,
    "max_joint_acceleration": Series("Hardest jerk", "rad/s²", _jerk, JOINTS),
    "max_angle": Series("Largest rotation", "rad", lambda clip: np.linalg.norm(
        clip.poses.reshape(len(clip.poses), -1, 3), axis=-1), JOINTS),
    "max_translation_speed": Series("Speed of the body", "m/s", lambda clip: np.linalg.norm(
        np.diff(clip.trans, axis=0), axis=-1)[:, None] * FPS),
    "translation_range": Series("Way from where the body began", "m", lambda clip: np.linalg.norm(
        clip.trans[:, (0, 2)] - clip.trans[0, (0, 2)], axis=-1)[:, None]),
    "max_expression": Series("Strongest expression", "", lambda clip: np.abs(clip.expressions)),
    "not_finite": Series("Values that are no numbers", "per frame", _not_finite),
}
"""What to draw over time, by the column that is judged."""


def over_time(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Shown:
    """Draw what a rule's column is the extreme of (`OVER_TIME` has the column), frame by frame."""
    series = OVER_TIME[rule.column]
    values = np.nan_to_num(series.values(clip), posinf=0, neginf=0)
    largest, rate = values.max(axis=1), float(row["fps"])
    peak = int(largest.argmax())
    still = np.all(values < STILL * FPS, axis=1) if rule.column == "frozen_seconds" else np.zeros(len(values), bool)

    def paint(axes: "Axes") -> None:
        mark_stretches(axes, still, rate, BAD)
        at, drawn = thinned(largest)
        axes.plot(at / rate, drawn, color=MODEL, linewidth=1)
        if rule.column != "frozen_seconds":
            axes.plot(peak / rate, largest[peak], "o", color=BAD, markersize=6, fillstyle="none", markeredgewidth=1.5)
            mark_bound(axes, rule, largest)
        axes.set_xlim(0, len(largest) / rate)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("s")
        axes.set_ylabel(series.unit)

    caption = _told(series, values, still, rate, rule)
    return Shown(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def _told(series: Series, values: Frames, still: NDArray[np.bool_], rate: float, rule: Rule) -> str:
    """The curve in a sentence."""
    if still.any():
        return f"{series.title} in each frame; in the marked {still.sum() / rate:.1f} s no joint moves at all."
    frame, thing = np.unravel_index(values.argmax(), values.shape)
    what = f" ({series.names[thing].replace('_', ' ')})" if series.names else ""
    over = int((values.max(axis=1) > rule.maximum).sum()) if rule.maximum is not None else 0
    tail = f"; {over} frame{'' if over == 1 else 's'} above the bound" if over else ""
    return (f"{series.title} in each frame: {values.max():.3g} {series.unit} at {frame / rate:.2f} s{what}".rstrip()
            + f"{tail}.")
