"""Sound beside what should go with it, the mouth or the words, where one comes late."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mambatalk.clips.alignment import JAW, Curve, loudness_by_frame, words_by_frame
from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import joint_speed
from mambatalk.motion.skeleton import FPS
from mambatalk.quality.figures import HEIGHT, WIDTH, Shown
from mambatalk.quality.rules import Rule
from mambatalk.reporting.picture import MODEL, SOFT, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LAG_COLUMNS: Final = ("mouth_lag", "speaker_lag", "word_lag")
SECONDS: Final = 15
"""So much is drawn: enough to see a lag, short enough to see it of a few frames."""


def lagging(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Shown:
    """Draw the mouth, or the words, above the loudness of a clip whose sound is late or early."""
    heard, what = loudness_by_frame(clip.wave), "words" if rule.column == "word_lag" else "mouth"
    beside = (
        words_by_frame(clip.words or [], len(heard))
        if what == "words"
        else joint_speed(np.nan_to_num(clip.motion.poses[:, 3 * JAW : 3 * JAW + 3]))[:, 0]
    )

    def paint(axes: "Axes") -> None:
        for curve, base, colour in ((heard, 0.0, SOFT), (beside, 1.15, MODEL)):
            drawn = base + _scaled(curve[: SECONDS * FPS])
            axes.plot(np.arange(len(drawn)) / FPS, drawn, color=colour, linewidth=1)
        axes.set_yticks((0.5, 1.65), ("sound", what))
        axes.grid(False, axis="y")
        axes.set_xlabel("s")

    late, whose = (
        float(row[rule.column]),
        "; median of the speaker" if rule.column == "speaker_lag" else "",
    )
    caption = (
        f"{what.capitalize()} above, loudness below: the sound is {abs(late):.2f} s "
        f"{'late' if late > 0 else 'early'}{whose}."
    )
    return Shown(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def _scaled(curve: Curve) -> Curve:
    low, high = np.quantile(curve, (0.02, 0.98))
    return np.clip((curve - low) / (high - low + 1e-9), 0, 1)
