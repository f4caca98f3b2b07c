"""Drift: properties of the population stability index, and shifts of known size."""

import random as random_module
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from mambatalk.quality.drift import (
    ALL_SPEAKERS,
    FALSE_DISCOVERY_RATE,
    LARGE,
    MIN_CLIPS,
    MODERATE,
    Shift,
    bin_edges,
    compute_shifts,
    expected_psi,
    psi,
    psi_of_shares,
)

Sample = NDArray[np.float64]

SAMPLES = st.lists(st.integers(-1000, 1000), min_size=MIN_CLIPS, max_size=200).map(
    lambda values: np.array(values, np.float64)
)
SHARES = st.lists(st.integers(1, 1000), min_size=2, max_size=12).map(
    lambda counts: np.array(counts) / np.sum(counts)
)
RANDOM = st.randoms(use_true_random=False)


@given(SAMPLES, SAMPLES)
def test_psi_is_finite_and_not_negative(before: Sample, now: Sample) -> None:
    assert 0 <= psi(before, now) < np.inf


@given(SAMPLES, RANDOM)
def test_psi_of_a_shuffled_sample_is_zero(values: Sample, random: random_module.Random) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert psi(values, np.array(shuffled)) == 0


@given(SAMPLES, SAMPLES, st.integers(1, 100), st.integers(-100, 100))
def test_psi_does_not_depend_on_the_unit(
    before: Sample, now: Sample, scale: int, offset: int
) -> None:
    """Metres or millimetres, Celsius or Fahrenheit."""
    assert psi(before * scale + offset, now * scale + offset) == psi(before, now)


@given(SAMPLES, st.integers(2, 10))
def test_every_bin_holds_a_value_of_the_first_sample(values: Sample, bins: int) -> None:
    edges = bin_edges(values, bins)
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    assert len(counts) == len(edges) + 1
    assert (counts > 0).all()


@given(SHARES, RANDOM)
def test_psi_of_shares_is_symmetric(shares: Sample, random: random_module.Random) -> None:
    shuffled = list(shares)
    random.shuffle(shuffled)
    other = np.array(shuffled)
    index = psi_of_shares(shares, other)
    assert index == pytest.approx(psi_of_shares(other, shares))
    assert index >= 0


def test_psi_of_a_known_example() -> None:
    """By hand: from 0.5 and 0.5 to 0.8 and 0.2 the PSI is 0.3 ln 1.6 + 0.3 ln 2.5."""
    expected = 0.3 * np.log(1.6) + 0.3 * np.log(2.5)
    assert psi_of_shares(np.array([0.5, 0.5]), np.array([0.8, 0.2])) == pytest.approx(expected)


@pytest.mark.parametrize(("before", "now"), [(300, 200), (60, 60), (20, 500)])
def test_psi_without_a_shift_has_its_expected_size(before: int, now: int) -> None:
    random = np.random.default_rng(7)
    indices = [psi(random.normal(size=before), random.normal(size=now)) for _ in range(400)]
    expected = expected_psi(np.arange(before, dtype=float), np.zeros(now))
    assert np.mean(indices) == pytest.approx(expected, rel=0.2)
    assert expected <= MODERATE


def manifest(speakers: Any, loudness: Any) -> pd.DataFrame:
    return pd.DataFrame({"speaker": speakers, "loudness": loudness, "motion_seconds": 60.0})


def by_speaker_and_feature(shifts: Iterable[Shift]) -> dict[tuple[str, str], Shift]:
    return {(shift.speaker, shift.feature): shift for shift in shifts}


def test_only_the_shifted_speaker_is_reported() -> None:
    random = np.random.default_rng(1)
    speakers = np.repeat([1, 2, 31], 60)
    before = manifest(speakers, random.normal(-20, 2, 180))
    now = manifest(speakers, random.normal(-20, 2, 180))
    now.loc[now["speaker"] == 31, "loudness"] += 6

    shifts = by_speaker_and_feature(
        compute_shifts(before, now, ["loudness", "motion_seconds", "no_such_column"])
    )
    assert len(shifts) == 8
    shifted = shifts["31", "loudness"]
    assert shifted.level == "large"
    assert shifted.median_now is not None
    assert shifted.median_before is not None
    assert shifted.median_now - shifted.median_before == pytest.approx(6, abs=1)
    assert shifts[ALL_SPEAKERS, "loudness"].level in ("moderate", "large")
    others = {shifts[speaker, "loudness"].level for speaker in ("1", "2")}
    assert others <= {"none", "insignificant"}
    assert {shift.psi for key, shift in shifts.items() if key[1] == "motion_seconds"} == {0.0}


def test_p_values_are_those_of_scipy_corrected_for_all_tests() -> None:
    random = np.random.default_rng(3)
    speakers = np.repeat([1, 2], 40)
    before = manifest(speakers, random.normal(size=80))
    now = manifest(speakers, random.normal(size=80))

    shifts = compute_shifts(before, now, ["loudness"])
    tests = [stats.ks_2samp(before["loudness"], now["loudness"])]
    for speaker in (1, 2):
        of_speaker = [table["loudness"][table["speaker"] == speaker] for table in (before, now)]
        tests.append(stats.ks_2samp(*of_speaker))
    adjusted = stats.false_discovery_control([test.pvalue for test in tests])
    assert [shift.ks_statistic for shift in shifts] == [test.statistic for test in tests]
    assert [shift.adjusted_p for shift in shifts] == pytest.approx(adjusted)


def test_missing_values_are_ignored_and_few_values_are_not_compared() -> None:
    before = manifest([1] * 12, np.arange(12.0))
    now = manifest([1] * 12, np.arange(12.0))
    now.loc[3:, "loudness"] = np.nan
    shift = by_speaker_and_feature(compute_shifts(before, now, ["loudness"]))[
        ALL_SPEAKERS, "loudness"
    ]
    assert (shift.clips_before, shift.clips_now, shift.psi) == (12, 3, None)
    assert shift.level == "too few"

    without_values = now.assign(loudness=None)
    shifts = by_speaker_and_feature(compute_shifts(before, without_values, ["loudness"]))
    assert shifts[ALL_SPEAKERS, "loudness"].median_now is None


def test_a_speaker_of_only_one_manifest_is_not_compared() -> None:
    before = manifest([1] * 20, np.arange(20.0))
    now = manifest([2] * 20, np.arange(20.0))
    shifts = compute_shifts(before, now, ["loudness"])
    assert [shift.speaker for shift in shifts] == [ALL_SPEAKERS]


@given(st.floats(0, 5), st.floats(0, 1))
@settings(max_examples=50)
def test_a_shift_needs_size_and_significance(index: float, p: float) -> None:
    shift = Shift(
        speaker=ALL_SPEAKERS,
        feature="loudness",
        clips_before=99,
        clips_now=99,
        median_before=0,
        median_now=1,
        psi=index,
        expected_psi=0.01,
        ks_statistic=0.5,
        adjusted_p=p,
    )
    significant = p < FALSE_DISCOVERY_RATE
    assert (shift.level == "none") == (index < MODERATE)
    assert (shift.level == "insignificant") == (index >= MODERATE and not significant)
    assert (shift.level == "large") == (index >= LARGE and significant)
