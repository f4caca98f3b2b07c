"""How far a clip is from its speaker's other clips, or from the whole corpus.

Median and median absolute deviation describe what is usual, because they hold when a tenth of the
clips is faulty: such a tenth moves the median by a seventh of a standard deviation and stretches
the deviation by about 15 %. With fewer than `MIN_CLIPS` clips nothing is stated, because three or
four values do not show what is usual.
"""

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

Vectors = NDArray[np.floating[Any]]


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


def usual_vectors(vectors: "pd.Series[Any]", speakers: "pd.Series[Any]") -> list[Vectors | None]:
    """Return for each clip the median vector of its speaker, or of the corpus.

    Args:
        vectors: A list of numbers per clip, of equal length; null where it was not measured.
        speakers: Speaker of each clip, with the same index.

    Returns:
        One vector per clip. None where fewer than `MIN_CLIPS` clips of the speaker, and of the
        corpus, have one.

    """
    known = vectors.notna()
    corpus = _median_vector(vectors[known])
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
