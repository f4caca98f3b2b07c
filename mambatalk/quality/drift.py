"""Distribution drift: compare two manifests of a corpus by speaker and feature.

The population stability index (PSI) measures how large a shift is. Credit scoring, where the index
comes from, reads values below 0.1 as no shift and values from 0.25 as a large one. The PSI ignores
chance: for samples of n and m clips from one distribution it is about (bins - 1)(1/n + 1/m). The
two-sample Kolmogorov-Smirnov test shows whether chance explains the shift, with p-values corrected
for the number of tests (Benjamini and Hochberg). A shift is reported if it is both large enough and
significant.

Sources: N. Siddiqi, Credit Risk Scorecards (2006), for the PSI and its thresholds; B. Yurdakul,
Statistical Properties of Population Stability Index (2018), for its expected value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

ShiftLevel = Literal["none", "moderate", "large", "insignificant", "too few"]
Sample = NDArray[np.float64]
MODERATE: Final = 0.1
"""PSI from which a shift is moderate."""
LARGE: Final = 0.25
"""PSI from which a shift is large."""
FALSE_DISCOVERY_RATE: Final = 0.05
"""Expected share of false alarms among the shifts reported."""
MAX_BINS: Final = 10
MIN_CLIPS: Final = 10
"""Clips that each sample needs for a comparison."""
ALL_SPEAKERS: Final = "all"


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Difference of one feature between two manifests, for one speaker."""

    speaker: str
    """`ALL_SPEAKERS` for the whole corpus."""
    feature: str
    clips_before: int
    clips_now: int
    median_before: float | None
    median_now: float | None
    psi: float | None
    """None if either sample has fewer than `MIN_CLIPS` clips."""
    expected_psi: float | None
    """PSI to expect if the distribution has not changed."""
    ks_statistic: float | None
    """Largest distance between the two cumulative distributions, 0 to 1."""
    adjusted_p: float | None
    """p-value of the Kolmogorov-Smirnov test, corrected for all tests made."""

    @property
    def level(self) -> ShiftLevel:
        """Size of the shift; "insignificant" if chance explains a moderate or large PSI."""
        if self.psi is None or self.adjusted_p is None:
            return "too few"
        if self.psi < MODERATE:
            return "none"
        if self.adjusted_p >= FALSE_DISCOVERY_RATE:
            return "insignificant"
        return "large" if self.psi >= LARGE else "moderate"


def compute_shifts(before: pd.DataFrame, now: pd.DataFrame, features: Sequence[str]) -> list[Shift]:
    """Compare two manifests: the whole corpus first, then every speaker that is in both.

    Args:
        before: Earlier manifest, one row per clip, with a column `speaker`.
        now: Manifest to compare with it.
        features: Numeric columns; those missing from either manifest are skipped.

    Returns:
        Shifts by speaker, then by feature in the order given.

    """
    shared = [name for name in features if name in before and name in now]
    groups = [(ALL_SPEAKERS, before, now)]
    for speaker in sorted(set(before["speaker"]) & set(now["speaker"])):
        of_speaker = (table[table["speaker"] == speaker] for table in (before, now))
        groups.append((str(speaker), *of_speaker))

    samples = [
        (speaker, name, _values(old[name]), _values(new[name]))
        for speaker, old, new in groups
        for name in shared
    ]
    tests = [
        stats.ks_2samp(old, new) if is_comparable(old, new) else None for _, _, old, new in samples
    ]
    adjusted = _adjust(tests)
    return [
        _shift(*sample, test, p) for sample, test, p in zip(samples, tests, adjusted, strict=True)
    ]


def psi(before: Sample, now: Sample) -> float:
    """Compute the population stability index of two samples; 0 if they agree.

    The bins hold equal shares of the first sample. An empty bin counts as half a clip, so that the
    index stays finite.
    """
    edges = bin_edges(before, bin_count(len(before), len(now)))
    return psi_of_shares(_shares(before, edges), _shares(now, edges))


def psi_of_shares(before: Sample, now: Sample) -> float:
    """Compute the PSI of two lists of positive shares: sum of (now - before) ln(now / before)."""
    return float(np.sum((now - before) * np.log(now / before)))


def expected_psi(before: Sample, now: Sample) -> float:
    """Return the PSI to expect of two samples of these sizes from one distribution."""
    edges = bin_edges(before, bin_count(len(before), len(now)))
    return len(edges) * (1 / len(before) + 1 / len(now))


def bin_count(before: int, now: int) -> int:
    """Return the number of bins, 2 to `MAX_BINS`, for two samples of these sizes.

    It is chosen so that the PSI expected by chance stays below a moderate shift.
    """
    return min(MAX_BINS, max(2, 1 + int(MODERATE / (1 / before + 1 / now))))


def bin_edges(values: Sample, bins: int) -> Sample:
    """Return the inner edges of bins with equal shares of `values`; fewer if values repeat."""
    # "lower" takes edges from the sample instead of interpolating, so that a change of units
    # changes no bin.
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="lower"))
    return edges[edges < values.max()]


def is_comparable(before: Sample, now: Sample) -> bool:
    """Return whether both samples are large enough to compare."""
    return min(len(before), len(now)) >= MIN_CLIPS


def _shares(values: Sample, edges: Sample) -> Sample:
    bins = np.searchsorted(edges, values, side="left")
    counts = np.bincount(bins, minlength=len(edges) + 1).astype(np.float64)
    counts = np.maximum(counts, 0.5)
    return counts / counts.sum()


def _values(column: "pd.Series[Any]") -> Sample:
    return pd.to_numeric(column).dropna().to_numpy(np.float64)


def _adjust(tests: Sequence[Any]) -> list[float | None]:
    """Correct the p-values of all tests together; None stays None."""
    p_values = [float(test.pvalue) for test in tests if test is not None]
    if not p_values:
        return [None] * len(tests)
    adjusted = iter(stats.false_discovery_control(p_values))
    return [None if test is None else float(next(adjusted)) for test in tests]


def _shift(
    speaker: str, feature: str, before: Sample, now: Sample, test: Any, adjusted_p: float | None
) -> Shift:
    return Shift(
        speaker=speaker,
        feature=feature,
        clips_before=len(before),
        clips_now=len(now),
        median_before=float(np.median(before)) if len(before) else None,
        median_now=float(np.median(now)) if len(now) else None,
        psi=None if test is None else psi(before, now),
        expected_psi=None if test is None else expected_psi(before, now),
        ks_statistic=None if test is None else float(test.statistic),
        adjusted_p=adjusted_p,
    )
