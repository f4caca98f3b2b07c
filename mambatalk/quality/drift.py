"""How far a corpus has moved since an earlier look at it: two manifests, compared by speaker and
feature.

Two numbers for each, since they answer different questions. The population stability index (PSI)
says how large a shift is, and is read as credit scoring reads it: below 0.1 none, from 0.25 on a
large one. It says nothing on chance: on n clips against m it is about (bins - 1)(1/n + 1/m) where
nothing has moved at all. The two-sample Kolmogorov-Smirnov test says whether chance would do as
much, corrected for the many tests on one page (Benjamini and Hochberg). A shift counts when it is
both: large enough to matter, and no accident.

Sources: N. Siddiqi, Credit Risk Scorecards (2006), for index and reading; B. Yurdakul, Statistical
Properties of Population Stability Index (2018), for its size under chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Reading = Literal["none", "moderate", "large", "chance", "too few"]
MODERATE: Final = 0.1
LARGE: Final = 0.25
FALSE_DISCOVERIES: Final = 0.05
"""Share of false alarms among the shifts reported."""
MAX_BINS: Final = 10
MIN_CLIPS: Final = 10
ALL: Final = "all"


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One feature of one speaker, then and now."""

    speaker: str
    """`ALL` for the corpus as a whole."""
    feature: str
    clips_before: int
    clips_now: int
    median_before: float | None
    median_now: float | None
    psi: float | None
    """None on fewer than `MIN_CLIPS` clips then or now."""
    chance: float | None
    """The index to expect where nothing has moved."""
    statistic: float | None
    """Largest distance between the two cumulative shares, 0 to 1."""
    q: float | None
    """The test's p-value, corrected for all tests made."""

    @property
    def reading(self) -> Reading:
        """What the numbers say; `chance` is a moderate or large index that chance explains."""
        if self.psi is None or self.q is None:
            return "too few"
        if self.psi < MODERATE:
            return "none"
        if self.q >= FALSE_DISCOVERIES:
            return "chance"
        return "large" if self.psi >= LARGE else "moderate"


def shifts(before: pd.DataFrame, now: pd.DataFrame, features: Sequence[str]) -> list[Shift]:
    """Compare two manifests: the corpus as a whole first, then each speaker that both have.

    Args:
        before: Earlier manifest, one row per clip, with a column `speaker`.
        now: The manifest to judge.
        features: Numeric columns; one that either table lacks is left out.

    Returns:
        Shifts by speaker, then feature, in the order given.

    """
    shared = [name for name in features if name in before and name in now]
    speakers = sorted(set(before["speaker"]) & set(now["speaker"]))
    groups = [(ALL, before, now)]
    groups += [
        (str(one), before[before["speaker"] == one], now[now["speaker"] == one]) for one in speakers
    ]
    pairs = [
        (speaker, name, _values(old[name]), _values(new[name]))
        for speaker, old, new in groups
        for name in shared
    ]
    tested = [enough(old, new) for _, _, old, new in pairs]
    tests = [
        stats.ks_2samp(old, new) if test else None
        for test, (_, _, old, new) in zip(tested, pairs, strict=True)
    ]
    return [
        _shift(pair, test, q) for pair, test, q in zip(pairs, tests, _corrected(tests), strict=True)
    ]


def psi(before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """Population stability index of two samples, in bins of equal shares of the first; 0 where the
    shares agree.

    A bin without a clip counts as half a clip, so that the index stays finite.
    """
    edges = bin_edges(before, bin_count(len(before), len(now)))
    return stability(_shares(before, edges), _shares(now, edges))


def stability(before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """Population stability index of two lists of shares, all positive: sum of (now - before) ln(now
    / before).
    """
    return float(np.sum((now - before) * np.log(now / before)))


def chance_psi(before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """The index to expect of two samples of these sizes from one distribution."""
    return len(bin_edges(before, bin_count(len(before), len(now)))) * (
        1 / len(before) + 1 / len(now)
    )


def bin_count(before: int, now: int) -> int:
    """Bins for two samples of these sizes: so few that chance alone stays below a moderate shift; 2
    to `MAX_BINS`.
    """
    return min(MAX_BINS, max(2, 1 + int(MODERATE / (1 / before + 1 / now))))


def bin_edges(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Inner edges of so many bins with equal shares of `values`; fewer where values repeat."""
    # An edge is a value that stands there, not one between two: the same bins on whatever scale.
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="lower"))
    return edges[edges < values.max()]


def enough(before: NDArray[np.float64], now: NDArray[np.float64]) -> bool:
    """Whether both samples are large enough to compare."""
    return min(len(before), len(now)) >= MIN_CLIPS


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.bincount(
        np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1
    ).astype(np.float64)
    counts = np.maximum(counts, 0.5)
    return counts / counts.sum()


def _values(column: "pd.Series[Any]") -> NDArray[np.float64]:
    return pd.to_numeric(column).dropna().to_numpy(np.float64)


def _corrected(tests: Sequence[Any]) -> list[float | None]:
    """The p-values of the tests made, corrected together; None where none was made."""
    made = [float(test.pvalue) for test in tests if test is not None]
    corrected = iter(stats.false_discovery_control(made)) if made else iter(())
    return [None if test is None else float(next(corrected)) for test in tests]


def _shift(
    pair: tuple[str, str, NDArray[np.float64], NDArray[np.float64]], test: Any, q: float | None
) -> Shift:
    speaker, feature, old, new = pair
    return Shift(
        speaker=speaker,
        feature=feature,
        clips_before=len(old),
        clips_now=len(new),
        median_before=float(np.median(old)) if len(old) else None,
        median_now=float(np.median(new)) if len(new) else None,
        psi=None if test is None else psi(old, new),
        chance=None if test is None else chance_psi(old, new),
        statistic=None if test is None else float(test.statistic),
        q=q,
    )
