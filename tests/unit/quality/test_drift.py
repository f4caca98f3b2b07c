"""Drift: laws that index and reading must keep, and shifts of known size."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mambatalk.quality.drift import (
    ALL,
    FALSE_DISCOVERIES,
    LARGE,
    MIN_CLIPS,
    MODERATE,
    Shift,
    bin_edges,
    chance_psi,
    psi,
    shifts,
    stability,
)

SAMPLES = st.lists(st.integers(-1000, 1000), min_size=MIN_CLIPS, max_size=200).map(
    lambda values: np.array(values, np.float64)
)
SHARES = st.lists(st.integers(1, 1000), min_size=2, max_size=12).map(
    lambda counts: np.array(counts) / np.sum(counts)
)


@given(SAMPLES, SAMPLES)
def test_the_index_is_finite_and_never_negative(before, now):
    assert 0 <= psi(before, now) < np.inf


@given(SAMPLES, st.randoms(use_true_random=False))
def test_a_sample_against_itself_in_any_order_has_not_moved(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    assert psi(values, np.array(shuffled)) == 0


@given(SAMPLES, SAMPLES, st.integers(1, 100), st.integers(-100, 100))
def test_units_do_not_matter(before, now, scale, offset):
    """Metres or millimetres, Celsius or Fahrenheit: bins follow the reference."""
    assert psi(before * scale + offset, now * scale + offset) == psi(before, now)


@given(SAMPLES, st.integers(2, 10))
def test_every_bin_holds_something_of_the_reference(values, bins):
    edges = bin_edges(values, bins)
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    assert len(counts) == len(edges) + 1
    assert (counts > 0).all()


@given(SHARES, st.randoms(use_true_random=False))
def test_then_and_now_may_change_places(shares, random):
    other = list(shares)
    random.shuffle(other)
    there, back = stability(shares, np.array(other)), stability(np.array(other), shares)
    assert there == pytest.approx(back)
    assert there >= 0


def test_a_known_index():
    """By hand: 0.3 ln 1.6 + 0.3 ln 2.5, from half and half to eight and two tenths."""
    assert stability(np.array([0.5, 0.5]), np.array([0.8, 0.2])) == pytest.approx(
        0.3 * np.log(1.6) + 0.3 * np.log(2.5)
    )


@pytest.mark.parametrize(("before", "now"), [(300, 200), (60, 60), (20, 500)])
def test_under_chance_the_index_is_as_large_as_foretold_and_no_shift(before, now):
    random = np.random.default_rng(7)
    found = [psi(random.normal(size=before), random.normal(size=now)) for _ in range(400)]
    foretold = chance_psi(np.arange(before, dtype=float), np.zeros(now))
    assert np.mean(found) == pytest.approx(foretold, rel=0.2)
    assert foretold <= MODERATE


def table(speakers, values):
    return pd.DataFrame({"speaker": speakers, "loudness": values, "motion_seconds": 60.0})


def by(found):
    return {(one.speaker, one.feature): one for one in found}


def test_the_speaker_that_moved_is_named_and_the_others_are_not():
    random = np.random.default_rng(1)
    speakers = np.repeat([1, 2, 31], 60)
    before, now = (table(speakers, random.normal(-20, 2, 180)) for _ in range(2))
    now.loc[now["speaker"] == 31, "loudness"] += 6
    found = by(shifts(before, now, ["loudness", "motion_seconds", "no_such_column"]))
    assert len(found) == 8
    assert found["31", "loudness"].reading == "large"
    assert found["31", "loudness"].median_now - found[
        "31", "loudness"
    ].median_before == pytest.approx(6, abs=1)
    assert found[ALL, "loudness"].reading in ("moderate", "large")
    assert {found[speaker, "loudness"].reading for speaker in ("1", "2")} <= {"none", "chance"}
    assert {one.psi for key, one in found.items() if key[1] == "motion_seconds"} == {0.0}


def test_the_test_is_scipys_corrected_for_all_made():
    random = np.random.default_rng(3)
    before, now = (table(np.repeat([1, 2], 40), random.normal(size=80)) for _ in range(2))
    found = shifts(before, now, ["loudness"])
    raw = [
        stats.ks_2samp(before["loudness"], now["loudness"]),
        *(
            stats.ks_2samp(
                before["loudness"][before["speaker"] == one], now["loudness"][now["speaker"] == one]
            )
            for one in (1, 2)
        ),
    ]
    assert [one.statistic for one in found] == [test.statistic for test in raw]
    assert [one.q for one in found] == pytest.approx(
        stats.false_discovery_control([test.pvalue for test in raw])
    )


def test_few_clips_are_said_to_be_few_and_missing_values_are_no_values():
    before, now = table([1] * 12, np.arange(12.0)), table([1] * 12, np.arange(12.0))
    now.loc[3:, "loudness"] = np.nan
    found = by(shifts(before, now, ["loudness"]))[ALL, "loudness"]
    assert (found.clips_before, found.clips_now, found.psi, found.reading) == (
        12,
        3,
        None,
        "too few",
    )
    assert (
        by(shifts(before, now.assign(loudness=None), ["loudness"]))[ALL, "loudness"].median_now
        is None
    )


def test_speakers_of_one_side_only_are_not_compared():
    found = shifts(table([1] * 20, np.arange(20.0)), table([2] * 20, np.arange(20.0)), ["loudness"])
    assert [one.speaker for one in found] == [ALL]


@given(st.floats(0, 5), st.floats(0, 1))
@settings(max_examples=50)
def test_a_shift_counts_when_it_is_large_enough_and_no_accident(index, q):
    one = Shift(
        speaker=ALL,
        feature="loudness",
        clips_before=99,
        clips_now=99,
        median_before=0,
        median_now=1,
        psi=index,
        chance=0.01,
        statistic=0.5,
        q=q,
    )
    assert (one.reading == "none") == (index < MODERATE)
    assert (one.reading == "chance") == (index >= MODERATE and q >= FALSE_DISCOVERIES)
    assert (one.reading == "large") == (index >= LARGE and q < FALSE_DISCOVERIES)
