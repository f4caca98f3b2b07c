"""Near duplicates: clips that share the landmarks of their motion or audio (`landmarks.py`).

Each landmark looks up its nearest neighbours in every split, in a k-d tree, so the time grows with
the number of clips and not with the number of pairs. Two clips are near duplicates if several of
their landmarks are alike and equally far apart in both.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from mambatalk.clips.landmarks import decode_landmarks

MAX_DISTANCE: Final[Mapping[str, float]] = {"motion": 0.12, "audio": 1.0}
"""Largest distance between the descriptions of two landmarks that are alike. One bit of noise,
float16 and another cut stay below 0.02 and 0.15, a speed changed by 1 % below 0.09 and 0.8. In the
two real clips, the nearest landmarks of different clips are 0.64 and 3.3 apart.
"""
MIN_MATCHES: Final = 3
"""Smallest number of landmarks that two near duplicates share."""
MIN_SHARE: Final = 0.7
"""Share of the landmarks of the common part that must match: speakers repeat words and gestures,
and synthetic speech repeats them exactly.
"""
ENOUGH_MATCHES: Final = 6
"""Matches that prove a common part of two longer clips. Fewer matches must be `MIN_SHARE` of the
landmarks of the shorter clip: two clips of one voice, spoken by eSpeak NG, began and ended with the
same four phrases.
"""
MAX_SPEED_CHANGE: Final = 0.03
"""Largest change of the speed of a copy, as a share."""
TIME_TOLERANCE: Final = 0.15
"""Seconds by which the distance of two landmarks may differ, besides the speed."""
LINE_TOLERANCE: Final = 0.1
"""Largest distance in seconds from the line on which the delays of a copy lie, which is level
unless its speed was changed. Times are rounded to 0.05 s: copies of 42 clips, at four speeds, stay
below 0.055. In a sample of 14 hours, three of four gestures of two clips were alike by chance, with
similar delays; one of them was 0.13 off the line.
"""
NEIGHBOURS: Final = 6
"""Neighbours of a landmark per split. A clip with more copies in one split is still found."""


@dataclass(frozen=True)
class NearDuplicate:
    """Another clip with the same content."""

    clip_id: str
    delay: float
    """How many seconds later the common content begins in this clip than in the other one."""
    share: float
    """Share of the landmarks of the common part that match."""


def find_near_duplicates(table: pd.DataFrame, kind: str) -> dict[str, list[NearDuplicate]]:
    """Find the near duplicates of every clip.

    Args:
        table: One row per clip: clip_id, split, `{kind}_landmarks`.
        kind: "motion" or "audio".

    Returns:
        Near duplicates by clip id, the most similar one first; clips without one are left out. Of
        many copies in one split, only a few are listed.

    """
    known = table.dropna(subset=[f"{kind}_landmarks"])
    # Exact copies have the same text, and could be thousands: one of each split stands for all.
    known = known.drop_duplicates(["split", f"{kind}_landmarks"])
    if len(known) < 2:
        return {}
    decoded = [decode_landmarks(text) for text in known[f"{kind}_landmarks"]]
    times = np.concatenate([one[0] for one in decoded])
    descriptions = np.concatenate([one[1] for one in decoded])
    clip = np.repeat(np.arange(len(decoded)), [len(one[0]) for one in decoded])
    split, _ = pd.factorize(known["split"])

    pairs = _alike(descriptions, split[clip], clip, MAX_DISTANCE[kind])
    matches = pd.DataFrame(
        {
            "clip": clip[pairs[:, 0]],
            "other": clip[pairs[:, 1]],
            "time": times[pairs[:, 0]],
            "other_time": times[pairs[:, 1]],
        }
    )
    # Each pair of clips once, with all matches that either clip's neighbours gave.
    swapped = matches["clip"] > matches["other"]
    matches.loc[swapped] = matches.loc[swapped, ["other", "clip", "other_time", "time"]].to_numpy()
    matches = matches.drop_duplicates()
    matches = matches.sort_values(["clip", "other"], kind="stable")
    members = matches[["clip", "other"]].to_numpy()
    time_pairs = matches[["time", "other_time"]].to_numpy()
    starts = np.flatnonzero(np.any(np.diff(members, axis=0, prepend=-1) != 0, axis=1))

    names = known["clip_id"].tolist()
    found: dict[str, list[NearDuplicate]] = {}
    # Arrays, because a large corpus has tens of thousands of pairs of clips with a landmark alike.
    for start, end in pairwise([*starts.tolist(), len(members)]):
        if end - start < MIN_MATCHES:
            continue
        first, second = members[start].tolist()
        shared = _consistent(time_pairs[start:end], decoded[first][0], decoded[second][0])
        if shared is not None:
            delay, share = shared
            found.setdefault(names[first], []).append(NearDuplicate(names[second], delay, share))
            found.setdefault(names[second], []).append(NearDuplicate(names[first], -delay, share))
    ranked = {name: sorted(copies, key=_rank) for name, copies in found.items()}
    return _spread_to_copies(table, f"{kind}_landmarks", ranked)


def _rank(copy: NearDuplicate) -> tuple[float, str]:
    return -copy.share, copy.clip_id


def _alike(
    descriptions: Any, split: Any, clip: Any, max_distance: float
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return index pairs (m, 2) of landmarks of different clips whose descriptions are close."""
    # SciPy takes a third of a second to import; workers import this package without it.
    from scipy.spatial import cKDTree

    found = [np.empty((0, 2), np.int64)]
    for one in np.unique(split):
        members = np.flatnonzero(split == one)
        tree = cKDTree(descriptions[members])
        neighbours = min(NEIGHBOURS, len(members))
        distance, nearest = tree.query(
            descriptions, k=[*range(1, neighbours + 1)], distance_upper_bound=max_distance
        )
        landmark, rank = np.nonzero(np.isfinite(distance))
        other = members[nearest[landmark, rank]]
        different = clip[landmark] != clip[other]
        found.append(np.column_stack([landmark, other])[different])
    return np.concatenate(found)


def _consistent(pairs: Any, times: Any, other_times: Any) -> tuple[float, float] | None:
    """Return delay and share of the matches that agree on one delay; None if too few do.

    Args:
        pairs: Times (m, 2) of the landmarks that are alike, seconds.
        times: Times of all landmarks of the first clip.
        other_times: Times of all landmarks of the second clip.

    """
    delays = pairs[:, 0] - pairs[:, 1]
    tolerance = TIME_TOLERANCE + MAX_SPEED_CHANGE * np.minimum(pairs[:, 0], pairs[:, 1]) / 2
    agree = np.abs(delays[:, None] - delays) <= np.maximum(tolerance[:, None], tolerance)
    best = int(agree.sum(axis=1).argmax())
    # Most pairs of clips end here: one gesture or word is alike.
    if agree[best].sum() < MIN_MATCHES:
        return None
    alike = pairs[agree[best]]
    alike = alike[_near_line(alike[:, 0], delays[agree[best]])]
    matched = len(np.unique(alike[:, 0]))
    if matched < MIN_MATCHES:
        return None
    delay = float(np.median(alike[:, 0] - alike[:, 1]))

    start = max(times[0], other_times[0] + delay)
    end = min(times[-1], other_times[-1] + delay)
    margin = TIME_TOLERANCE + MAX_SPEED_CHANGE * end
    common = min(
        ((times >= start - margin) & (times <= end + margin)).sum(),
        ((other_times + delay >= start - margin) & (other_times + delay <= end + margin)).sum(),
    )
    share = matched / max(int(common), 1)
    shorter = min(len(times), len(other_times))
    if share < MIN_SHARE:
        return None
    if matched < ENOUGH_MATCHES and matched < MIN_SHARE * shorter:
        return None
    return delay, min(1.0, share)


def _near_line(times: Any, delays: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which delays (m,) lie near one line over time, as those of a copy do.

    The line is that of Theil and Sen, the median of the slopes between all pairs, which a few
    matches by chance do not move.
    """
    # SciPy's statistics take a second to import, and few corpora have clips with so many gestures
    # alike.
    from scipy.stats import theilslopes

    if np.ptp(times) == 0:
        return np.abs(delays - np.median(delays)) <= LINE_TOLERANCE
    slope = np.clip(theilslopes(delays, times).slope, -MAX_SPEED_CHANGE, MAX_SPEED_CHANGE)
    level = delays - slope * times
    near: np.ndarray[Any, np.dtype[np.bool_]] = np.abs(level - np.median(level)) <= LINE_TOLERANCE
    return near


def _spread_to_copies(
    table: pd.DataFrame, column: str, found: dict[str, list[NearDuplicate]]
) -> dict[str, list[NearDuplicate]]:
    """Give clips with exactly the same landmarks in one split the same near duplicates."""
    if not found:
        return found
    group: dict[Hashable, list[NearDuplicate]] = {}
    keys = list(zip(table["clip_id"], table["split"].astype(str), table[column], strict=True))
    for clip_id, split, text in keys:
        if clip_id in found:
            group[split, text] = found[clip_id]
    return {clip_id: group[split, text] for clip_id, split, text in keys if (split, text) in group}
