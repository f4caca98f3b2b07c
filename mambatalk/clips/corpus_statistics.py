"""How far a clip is from its speaker's other clips, or from the whole corpus.

Median and median absolute deviation describe what is usual, because they hold when a tenth of the
clips is faulty: such a tenth moves the median by a seventh of a standard deviation and stretches
the deviation by about 15 %. With fewer than `MIN_CLIPS` clips nothing is stated, because three or
four values do not show what is usual.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MIN_CLIPS: Final = 10
"""Clips with a value that are needed to state what is usual. Among ten, one faulty clip in ten is
one value, which moves the median by at most one rank.
"""
DEVIATION_PER_MAD: Final = 1.4826
"""Standard deviation of a normal distribution divided by its median absolute deviation."""

ACTIVITY_SCALE: Final = 0.25
"""Smallest standard deviation of the logarithm of activity: clips of one speaker differ by a
quarter at least."""
STILL: Final = 0.001
"""Speed (rad/s, or coefficients per second) below which all parts are equally still."""
HEIGHT_SCALE: Final = 0.02
"""Smallest standard deviation of the height of the feet, metres: shoes and calibration move the
feet of one person by as much."""
MIN_ASYMMETRY: Final = 0.15
"""Smallest difference (rad) between a speaker's usual pose and its mirror image from which a
mirrored clip can be told from others. In the two public clips of BEATX it is 0.40.
"""
MIRRORED: Final = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20)
"""Counterpart of each joint of the body (pelvis to wrists) on the other side."""
HANDS: Final = slice(75, 165)
"""Channels of both hands in a pose."""

Vectors = NDArray[np.floating[Any]]


def usual_columns(table: pd.DataFrame) -> dict[str, "pd.Series[float]"]:
    """Return columns that compare each clip with what is usual for its speaker or the corpus.

    Args:
        table: One row per clip: speaker, foot_height, activity_*, pose_mean, expression_spread.

    Returns:
        `z_*`, robust z-scores of the activity of each part and of the height of the feet.
        `expression_likeness`, the correlation of the logarithms of the deviations of the 100
        expression coefficients with the usual ones. `finger_likeness`, the cosine between the mean
        rotations of the fingers and the speaker's usual ones. `side_likeness`, the share of the
        speaker's usual difference between left and right that the clip shows: 1 if it is as usual,
        -1 if the clip is mirrored. NaN where too few clips are known.

    """
    speakers = table["speaker"]
    activities = [name for name in table if str(name).startswith("activity_")]
    columns = {
        f"z_{name}": robust_z(
            np.log(table[name].astype("float64") + STILL), speakers, scale=ACTIVITY_SCALE
        )
        for name in activities
    }
    columns["z_foot_height"] = robust_z(table["foot_height"], speakers, scale=HEIGHT_SCALE)
    poses = table["pose_mean"]
    usual_poses = usual_vectors(poses, speakers, across_speakers=False)
    spreads = table["expression_spread"]
    usual_spreads = usual_vectors(spreads, speakers, across_speakers=True)
    likeness = {
        "expression_likeness": _compare(spreads, usual_spreads, _correlation),
        "finger_likeness": _compare(poses, usual_poses, _finger_cosine),
        "side_likeness": _compare(poses, usual_poses, _side_share),
    }
    return columns | {
        name: pd.Series(values, table.index, "float64") for name, values in likeness.items()
    }


def robust_z(
    values: "pd.Series[Any]", speakers: "pd.Series[Any]", *, scale: float
) -> "pd.Series[float]":
    """Return the distance of each value from the usual one, in robust standard deviations.

    A clip is compared with its speaker if at least `MIN_CLIPS` clips of that speaker have a value,
    otherwise with all clips if there are as many.

    Args:
        values: One number per clip; null where it was not measured.
        speakers: Speaker of each clip, with the same index.
        scale: Smallest standard deviation to divide by, in the unit of the values. A difference
            that does not matter is then small, however equal the other clips are.

    Returns:
        One float per clip. NaN where the clip has no value or too few clips have one.

    """
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    numbers = numbers.where(np.isfinite(numbers))
    own = numbers.groupby(speakers).transform("count") >= MIN_CLIPS
    median = _by_reference(numbers, speakers, own)
    deviation = DEVIATION_PER_MAD * _by_reference((numbers - median).abs(), speakers, own)
    z = (numbers - median) / deviation.clip(lower=scale)
    return z.where(own | (numbers.notna().sum() >= MIN_CLIPS))


def usual_vectors(
    vectors: "pd.Series[Any]", speakers: "pd.Series[Any]", *, across_speakers: bool
) -> list[Vectors | None]:
    """Return for each clip the median vector of its speaker, or of the corpus.

    Args:
        vectors: A list of numbers per clip, of equal length; null where it was not measured.
        speakers: Speaker of each clip, with the same index.
        across_speakers: Whether the corpus stands in for a speaker with fewer than `MIN_CLIPS`
            clips. It must not where the vectors describe the habits of one person.

    Returns:
        One vector per clip. None where too few clips have one.

    """
    known = vectors.notna()
    corpus = _median_vector(vectors[known]) if across_speakers else None
    by_speaker = {
        speaker: _median_vector(of_speaker)
        for speaker, of_speaker in vectors[known].groupby(speakers[known])
    }
    usual = [by_speaker.get(speaker) for speaker in speakers]
    return [corpus if vector is None else vector for vector in usual]


def _by_reference(
    numbers: "pd.Series[float]", speakers: "pd.Series[Any]", own: "pd.Series[bool]"
) -> "pd.Series[float]":
    """Return the median of the speaker where it is known well enough, else of the corpus."""
    return numbers.groupby(speakers).transform("median").where(own, numbers.median())


def _median_vector(vectors: "pd.Series[Any]") -> Vectors | None:
    if len(vectors) < MIN_CLIPS:
        return None
    return np.median(np.stack([np.asarray(vector, float) for vector in vectors]), axis=0)


def _compare(
    vectors: "pd.Series[Any]",
    usual: list[Vectors | None],
    likeness: Callable[[Vectors, Vectors], float],
) -> list[float]:
    return [
        float("nan")
        if reference is None or vector is None
        else likeness(np.asarray(vector), reference)
        for vector, reference in zip(vectors, usual, strict=True)
    ]


def _correlation(vector: Vectors, usual: Vectors) -> float:
    # Not `np.corrcoef`, which takes a third of a millisecond, and there is one pair per clip.
    one, other = vector - vector.mean(), usual - usual.mean()
    powers = float(one @ one), float(other @ other)
    if min(powers) < 1e-12 * len(vector):  # A face that does not move has no profile.
        return float("nan")
    return float(one @ other) / (powers[0] * powers[1]) ** 0.5


def _finger_cosine(pose: Vectors, usual: Vectors) -> float:
    sizes = np.linalg.norm(pose[HANDS]) * np.linalg.norm(usual[HANDS])
    return float(pose[HANDS] @ usual[HANDS] / sizes) if sizes > 0 else float("nan")


def _side_share(pose: Vectors, usual: Vectors) -> float:
    expected = asymmetry(usual)
    size = float(expected @ expected)
    if size < MIN_ASYMMETRY**2:
        return float("nan")
    return float(asymmetry(pose) @ expected) / size


def asymmetry(pose: Vectors) -> Vectors:
    """Return half of the difference between a pose of the body and its mirror image, flat."""
    body = pose.reshape(-1, 3)[: len(MIRRORED)]
    # A mirror in the plane of y and z keeps the x component of a rotation and turns the others.
    difference = (body - body[list(MIRRORED)] * (1, -1, -1)) / 2
    # The direction that the body faces is not a habit.
    difference[0] = 0
    return difference.ravel()
