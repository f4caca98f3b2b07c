"""When in a clip a rule is broken, for the marks in figures and for stills of the motion."""

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from mambatalk.clips.posture import longest_span
from mambatalk.clips.row import Clip
from mambatalk.motion.skeleton import FPS
from mambatalk.quality.pages.over_time import FRAME_SERIES
from mambatalk.quality.rules.rule import Rule

_WHEN: Final = re.compile(r"([0-9.]+)(?: to ([0-9.]+))? s")
REACH: Final = 0.2
"""Seconds between the fault and the stills before and after it."""


def find_moment(
    row: Mapping[str, Any], clip: Clip | None, rule: Rule
) -> tuple[float, float] | None:
    """Return start and end of a fault in seconds; None if it concerns the whole clip.

    Args:
        row: The clip's row of the manifest.
        clip: The clip itself; None if it could not be read.
        rule: A rule that the clip breaks.

    """
    text = row.get(rule.when) if rule.when else None
    match = _WHEN.search(text) if isinstance(text, str) else None
    if match:
        start = float(match[1])
        return start, float(match[2] or start)
    series = FRAME_SERIES.get(rule.column)
    # A place without a time is an array that has no frames.
    if isinstance(text, str) or clip is None or series is None or len(clip.motion) < 2:
        return None
    values = np.nan_to_num(series.values(clip.motion), posinf=0, neginf=0)
    if not values.size:
        return None
    if series.frozen is None:
        peak = int(values.max(axis=1).argmax()) / FPS
        return peak, peak
    first, last = longest_span(series.still(values))
    return (first / FPS, last / FPS) if last > first else None


def still_times(moment: tuple[float, float] | None, seconds: float) -> tuple[float, ...]:
    """Return the times of three stills: around a fault, or spread over the clip."""
    if moment is None or pd.isna(moment[0]):
        return tuple(share * seconds for share in (0.2, 0.5, 0.8))
    start, end = moment
    if end - start < 2 * REACH:
        middle = (start + end) / 2
        return middle - REACH, middle, middle + REACH
    return start - REACH, (start + end) / 2, end + REACH
