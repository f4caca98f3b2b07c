"""Figures of a clip beside what is usual: activity, expressions, fingers, sides, feet and shape."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mambatalk.clips.corpus_statistics import HANDS, MIN_CLIPS, asymmetry
from mambatalk.clips.noise import bounded
from mambatalk.clips.parts import face_speed
from mambatalk.clips.placement import feet_below_origin
from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import joint_speed
from mambatalk.clips.store import ClipSource
from mambatalk.motion.skeleton import FPS, JOINTS, TRACKED_PARTS
from mambatalk.quality.pages.figures import (
    DASHED,
    FINGERS,
    HEIGHT,
    WIDTH,
    Figure,
    Floats,
    downsample_peaks,
)
from mambatalk.quality.rules.rule import Rule
from mambatalk.reporting.picture import BAD, MODEL, SOFT, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDED: Final = ("hip", "knee", "ankle", "collar", "shoulder", "elbow", "wrist")
"""Joints of the body that exist on both sides, in the order of the figure."""


def plot_usual(row: Mapping[str, Any], clip: Clip, rule: Rule, store: ClipSource) -> Figure:
    """Plot what a rule compares.

    Args:
        row: The clip's row of the manifest.
        clip: The clip itself.
        rule: A rule on one of `USUAL_COLUMNS`.
        store: All clips.

    """
    return _PLOTS[rule.column](row, clip, rule, store)


def _usual_clips(row: Mapping[str, Any], manifest: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the clips that show what is usual: the speaker's if they are enough, else all."""
    known = manifest.dropna(subset=[column])
    own = known[known["speaker"] == row["speaker"]]
    return own if len(own) >= MIN_CLIPS else known


def _usual_vector(row: Mapping[str, Any], manifest: pd.DataFrame, column: str) -> Floats:
    vectors = _usual_clips(row, manifest, column)[column]
    return np.median(np.stack([np.asarray(vector, float) for vector in vectors]), axis=0)


def _plot_activity(row: Mapping[str, Any], clip: Clip, rule: Rule, store: ClipSource) -> Figure:
    column = rule.column.removeprefix("z_")
    part = column.removeprefix("activity_")
    usual = float(_usual_clips(row, store.manifest, column)[column].median())
    if part == "face":
        speed, unit = face_speed(bounded(clip.motion.expressions)), "per second"
    else:
        speed = joint_speed(bounded(clip.motion.poses))[:, list(TRACKED_PARTS[part])].mean(axis=1)
        unit = "rad/s"

    def paint(axes: "Axes") -> None:
        frames, peaks = downsample_peaks(speed)
        axes.plot(frames / FPS, peaks, color=MODEL, linewidth=1)
        axes.axhline(float(row[column]), color=BAD, linewidth=1.5)
        axes.axhline(usual, color=SOFT, linewidth=1.5, linestyle=DASHED)
        axes.set_xlim(0, len(speed) / FPS)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("time (s)")
        axes.set_ylabel(f"speed ({unit})")

    caption = (
        f"Speed of the {part.replace('_', ' ')}. A tenth of the frames exceeds {row[column]:.3g} "
        f"{unit} in this clip (red line), and {usual:.3g} in the usual one (dashed)."
    )
    return _figure(caption, paint)


def _plot_expressions(row: Mapping[str, Any], clip: Clip, rule: Rule, store: ClipSource) -> Figure:
    usual = _usual_vector(row, store.manifest, "expression_spread")

    def paint(axes: "Axes") -> None:
        _draw_both(axes, np.exp(np.asarray(row["expression_spread"], float)), np.exp(usual))
        axes.set_xlabel("expression coefficient, in the order of the file")
        axes.set_ylabel("deviation")

    caption = (
        "Deviation of each expression coefficient in this clip (red) and in the usual one (blue): "
        f"their logarithms have a correlation of {row['expression_likeness']:.2f}."
    )
    return _figure(caption, paint)


def _plot_fingers(row: Mapping[str, Any], clip: Clip, rule: Rule, store: ClipSource) -> Figure:
    usual = _usual_vector(row, store.manifest, "pose_mean")[HANDS]
    channels = len(usual) // (2 * len(FINGERS))

    def paint(axes: "Axes") -> None:
        _draw_both(axes, np.asarray(row["pose_mean"], float)[HANDS], usual)
        names = [f"{side} {finger}" for side in ("left", "right") for finger in FINGERS]
        places = np.arange(len(names)) * channels
        axes.set_xticks(places + (channels - 1) / 2, [name.replace(" ", "\n") for name in names])
        axes.set_ylabel("mean rotation (rad)")

    caption = (
        "Mean rotation of the joints of each finger about x, y and z, in the order of the file, in "
        f"this clip (red) and in the usual one of {row['name']} (blue): cosine "
        f"{row['finger_likeness']:.2f}."
    )
    return _figure(caption, paint)


def _plot_sides(row: Mapping[str, Any], clip: Clip, rule: Rule, store: ClipSource) -> Figure:
    usual = _usual_vector(row, store.manifest, "pose_mean")
    places = [JOINTS.index(f"left_{name}") for name in SIDED]

    def paint(axes: "Axes") -> None:
        own_sides = asymmetry(np.asarray(row["pose_mean"], float)).reshape(-1, 3)[places]
        usual_sides = asymmetry(usual).reshape(-1, 3)[places]
        _draw_both(axes, own_sides.ravel(), usual_sides.ravel())
        axes.axhline(0, color=SOFT, linewidth=1)
        axes.set_xticks(3 * np.arange(len(SIDED)) + 1, SIDED)
        axes.set_ylabel("left less right (rad)")

    caption = (
        "Half of the difference between left and right, about x, y and z, in the mean pose of this "
        f"clip (red) and of the usual one of {row['name']} (blue). In a mirrored clip the curves "
        "are opposite."
    )
    return _figure(caption, paint)


def _plot_feet(row: Mapping[str, Any], clip: Clip, rule: Rule, store: ClipSource) -> Figure:
    usual = float(_usual_clips(row, store.manifest, "foot_height")["foot_height"].median())
    trans = bounded(clip.motion.trans)
    height = trans[:, 1] + feet_below_origin(bounded(clip.motion.poses))

    def paint(axes: "Axes") -> None:
        axes.plot(np.arange(len(height)) / FPS, height, color=MODEL, linewidth=1)
        axes.axhline(float(row["foot_height"]), color=BAD, linewidth=1.5)
        axes.axhline(usual, color=SOFT, linewidth=1.5, linestyle=DASHED)
        axes.set_xlim(0, len(height) / FPS)
        axes.set_xlabel("time (s)")
        axes.set_ylabel("height (m)")

    caption = (
        f"Height of the lower foot: {row['foot_height']:.2f} m in the middle of this clip (red "
        f"line), {usual:.2f} m in the usual one (dashed). Proportions of an adult."
    )
    return _figure(caption, paint)


def plot_shape(row: Mapping[str, Any], clip: Clip, rule: Rule, store: ClipSource) -> Figure:
    """Plot the shape parameters, and those of most of the speaker's clips; see `plot_usual`."""
    manifest = store.manifest
    own = manifest[(manifest["speaker"] == row["speaker"]) & manifest["fault"].isna()]
    fingerprints = own["shape_fingerprint"]
    has_usual_shape = fingerprints.eq(fingerprints.mode()[0])
    others = own[has_usual_shape & (own["clip_id"] != row["clip_id"])]
    betas = bounded(clip.motion.betas)
    usual = bounded(store.read(others["clip_id"].iloc[0]).motion.betas) if len(others) else betas

    def paint(axes: "Axes") -> None:
        _draw_both(axes, betas, usual)
        axes.set_xlabel("shape parameter")
        axes.set_ylabel("value")

    caption = (
        f"Shape parameters of this clip (red) and of most clips of {row['name']} (blue); they "
        f"differ by up to {np.abs(betas - usual).max():.3g}."
    )
    return _figure(caption, paint)


def _draw_both(axes: "Axes", one: Floats, usual: Floats) -> None:
    axes.plot(usual, ".-", color=MODEL, linewidth=2, markersize=4)
    axes.plot(one, ".-", color=BAD, linewidth=1, markersize=3)
    axes.set_xlim(-0.5, len(one) - 0.5)


def _figure(caption: str, paint: Callable[["Axes"], None]) -> Figure:
    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


_Plot = Callable[[Mapping[str, Any], Clip, Rule, ClipSource], Figure]
_PLOTS: Final[Mapping[str, _Plot]] = {
    **{f"z_activity_{part}": _plot_activity for part in TRACKED_PARTS},
    "z_foot_height": _plot_feet,
    "expression_likeness": _plot_expressions,
    "finger_likeness": _plot_fingers,
    "side_likeness": _plot_sides,
    "shape_share": plot_shape,
    "shape_of": plot_shape,
    "max_beta": plot_shape,
}
USUAL_COLUMNS: Final = tuple(_PLOTS)
