"""Figures of the place of the body, of elbows, fingers and the face, for rules on one clip."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mambatalk.clips.alignment import JAW
from mambatalk.clips.noise import bounded
from mambatalk.clips.parts import face_curves, face_speed
from mambatalk.clips.placement import (
    HANDS,
    LEFT_ELBOW,
    RIGHT_ELBOW,
    feet_below_origin,
    finger_closing,
)
from mambatalk.clips.posture import vertical_share
from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import joint_speed
from mambatalk.motion.skeleton import FPS
from mambatalk.quality.pages.figures import (
    FINGERS,
    HEIGHT,
    WIDTH,
    Figure,
    Floats,
    downsample_peaks,
    mark_bounds,
)
from mambatalk.quality.rules.rule import Rule
from mambatalk.reporting.picture import BAD, BASE, MODEL, SOFT, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_posture(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Figure:
    """Plot what a rule measures.

    Args:
        row: The clip's row of the manifest.
        clip: The clip itself.
        rule: A rule on one of `POSTURE_COLUMNS`.

    """
    return _PLOTS[rule.column](row, clip, rule)


def _plot_translation(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Figure:
    """Plot the three axes of the translation, and the height that would put the feet on y = 0."""
    trans = bounded(clip.motion.trans)
    standing = -float(np.median(feet_below_origin(bounded(clip.motion.poses))))
    curves = [
        (axis, trans[:, k], colour)
        for k, (axis, colour) in enumerate(zip("xyz", (BASE, MODEL, SOFT), strict=True))
    ]

    def paint(axes: "Axes") -> None:
        _draw_curves(axes, curves)
        axes.axhline(standing, color=BAD, linewidth=1, linestyle="--")
        axes.set_ylabel("translation (m)")

    medians = ", ".join(f"{name} {np.median(values):.4g}" for name, values, _ in curves)
    caption = (
        f"Translation: {row['translation_fault']}. Medians: {medians}. The dashed line, "
        f"{standing:.2f} m, is the height (y) at which a body in these poses stands on the floor."
    )
    return _figure(caption, paint)


def _plot_foot_height(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Figure:
    poses, trans = bounded(clip.motion.poses), bounded(clip.motion.trans)
    height = trans[:, 1] + feet_below_origin(poses)

    def paint(axes: "Axes") -> None:
        _draw_curves(axes, [("lower foot", height, MODEL)])
        axes.axhline(0, color=SOFT, linewidth=1)
        mark_bounds(axes, rule, np.append(height, rule.maximum or 0))
        axes.set_ylabel("height (m)")

    value = float(row["foot_height"])
    side = "above" if value > 0 else "below"
    caption = (
        f"Height of the lower foot: {abs(value):.2f} m {side} the floor (grey line) in the middle "
        f"of the clip, {height.min():.2f} to {height.max():.2f} m. Proportions of an adult."
    )
    return _figure(caption, paint)


def _plot_tilt(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Figure:
    root = bounded(clip.motion.poses[:, :3])
    share = vertical_share(root, np.linalg.norm(root, axis=-1))
    tilt = np.arccos(np.clip(share, -1, 1))

    def paint(axes: "Axes") -> None:
        _draw_curves(axes, [("tilt", tilt, MODEL)])
        axes.axhline(float(row["tilt"]), color=BAD, linewidth=1.5)
        mark_bounds(axes, rule, np.append(tilt, rule.maximum or 0))
        axes.set_ylim(bottom=0)
        axes.set_ylabel("tilt (rad)")

    caption = (
        f"Tilt of the body against the y axis: {float(row['tilt']):.2f} rad in the middle of the "
        "clip (red line). A quarter turn is 1.57 rad."
    )
    return _figure(caption, paint)


def _plot_elbows(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Figure:
    """Plot the bend of both elbows about y, positive in the direction in which elbows bend."""
    poses = bounded(clip.motion.poses)
    bends = [
        ("left", -poses[:, 3 * LEFT_ELBOW + 1], MODEL),
        ("right", poses[:, 3 * RIGHT_ELBOW + 1], SOFT),
    ]

    def paint(axes: "Axes") -> None:
        _draw_curves(axes, bends)
        axes.axhline(0, color=BAD, linewidth=1, linestyle="--")
        axes.set_ylabel("bend (rad)")

    share = row["elbow_axis"]
    part = "" if pd.isna(share) else f"; {float(share):.0%} of their rotation is about y"
    means = ", ".join(f"{name} {values.mean():.2f}" for name, values, _ in bends)
    caption = f"Bend of the elbows about y, negative is backwards. Mean: {means} rad{part}."
    return _figure(caption, paint)


def _plot_fingers(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Figure:
    poses = bounded(clip.motion.poses)
    places = np.arange(len(FINGERS))
    shares = [finger_closing(poses[:, 3 * first : 3 * first + 45], sign) for first, sign in HANDS]

    def paint(axes: "Axes") -> None:
        for share, shift, colour, name in zip(
            shares, (-0.2, 0.2), (MODEL, SOFT), ("left hand", "right hand"), strict=True
        ):
            axes.bar(places + shift, share, width=0.38, color=colour, label=name)
        axes.set_xticks(places, FINGERS)
        axes.axhline(0, color=SOFT, linewidth=1)
        axes.set_ylabel("share that closes")
        axes.legend(frameon=False, loc="best")

    caption = (
        "Share of each finger's rotation that closes it, in the order of the file; the last one, "
        "the thumb, should be the smallest, and none clearly negative."
    )
    return _figure(caption, paint)


def _plot_face(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Figure:
    jaw_speed = joint_speed(bounded(clip.motion.poses[:, 3 * JAW : 3 * JAW + 3]))[:, 0]
    jaw, face = face_curves(jaw_speed, face_speed(bounded(clip.motion.expressions)))
    shown = slice(0, 20 * FPS)

    def paint(axes: "Axes") -> None:
        for curve, base, colour in ((face[shown], 0.0, SOFT), (jaw[shown], 1.15, MODEL)):
            low, high = np.quantile(curve, (0.02, 0.98))
            heights = base + np.clip((curve - low) / (high - low + 1e-9), 0, 1)
            axes.plot(np.arange(len(curve)) / FPS, heights, color=colour, linewidth=1)
        axes.set_yticks((0.5, 1.65), ("expressions", "jaw"))
        axes.grid(False, axis="y")
        axes.set_xlabel("time (s)")

    caption = (
        "Speed of jaw and expressions in the first 20 s, each scaled to its range; the correlation "
        f"over the clip is {float(row['face_agreement']):.2f}."
    )
    return _figure(caption, paint)


def _draw_curves(axes: "Axes", curves: list[tuple[str, Floats, str]]) -> None:
    for name, values, colour in curves:
        # Peaks of both signs stay visible.
        for signed in (values, -values):
            frames, peaks = downsample_peaks(signed)
            drawn = peaks if signed is values else -peaks
            label = name if signed is values else None
            axes.plot(frames / FPS, drawn, color=colour, linewidth=1, label=label)
    axes.set_xlim(0, len(curves[0][1]) / FPS)
    axes.set_xlabel("time (s)")
    if len(curves) > 1:
        axes.legend(frameon=False, loc="best", ncols=len(curves))


def _figure(caption: str, paint: Callable[["Axes"], None]) -> Figure:
    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


_PLOTS: Final[Mapping[str, Callable[[Mapping[str, Any], Clip, Rule], Figure]]] = {
    "translation_fault": _plot_translation,
    "foot_height": _plot_foot_height,
    "tilt": _plot_tilt,
    "elbow_bend": _plot_elbows,
    "elbow_axis": _plot_elbows,
    "finger_order": _plot_fingers,
    "face_agreement": _plot_face,
}
POSTURE_COLUMNS: Final = tuple(_PLOTS)
