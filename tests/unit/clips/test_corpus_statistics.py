"""What is usual for a speaker is found although a tenth of the clips is faulty."""

import numpy as np
import pandas as pd
import pytest

from mambatalk.clips.corpus_statistics import MIN_CLIPS, robust_z, usual_vectors


def clips(values: object, *, speaker: int = 1) -> tuple[pd.Series, pd.Series]:
    column = pd.Series(values)
    return column, pd.Series(speaker, index=column.index)


@pytest.mark.parametrize("faulty", [-1e38, -50.0, 3.0, 50.0, 1e38])
def test_a_tenth_of_faulty_clips_changes_little(faulty: float) -> None:
    values = np.random.default_rng(0).normal(0, 1, 1000)
    clean = robust_z(*clips(values), scale=0.01)
    contaminated = np.where(np.arange(1000) < 100, faulty, values)
    z = robust_z(*clips(contaminated), scale=0.01)
    assert (z[100:] - clean[100:]).abs().max() < 1
    if abs(faulty) > 10:
        assert (z[:100].abs() > 30).all()


def test_fewer_than_ten_clips_say_nothing() -> None:
    values, speakers = clips([*range(MIN_CLIPS - 2), 1000.0])
    assert robust_z(values, speakers, scale=1).isna().all()
    assert (
        usual_vectors(pd.Series([[0.0]] * (MIN_CLIPS - 1)), speakers, across_speakers=True)
        == [None] * 9
    )


def test_ten_clips_are_enough() -> None:
    z = robust_z(*clips([*range(MIN_CLIPS - 1), 1000.0]), scale=1)
    assert z.iloc[-1] > 100
    assert z.iloc[:-1].abs().max() < 2


def test_a_clip_is_compared_with_its_speaker_before_the_corpus() -> None:
    values = pd.Series([0.0] * 20 + [5.0] * 20 + [5.0])
    speakers = pd.Series([1] * 20 + [2] * 20 + [1])
    z = robust_z(values, speakers, scale=1)
    assert z[:40].abs().max() == 0
    assert z[40] == 5


def test_a_speaker_with_few_clips_is_compared_with_the_corpus() -> None:
    values = pd.Series([*np.linspace(-1, 1, 20), 9.0])
    speakers = pd.Series([1] * 20 + [2])
    assert robust_z(values, speakers, scale=0.1)[20] > 8


def test_equal_clips_are_not_all_outliers_by_rounding() -> None:
    assert robust_z(*clips([1.0] * 11 + [1.0 + 1e-9]), scale=0.1).abs().max() < 1e-6


def test_missing_and_infinite_values_are_left_out() -> None:
    z = robust_z(*clips([None, np.inf, np.nan, *range(10)]), scale=1)
    assert z[:3].isna().all()
    assert z[3:].notna().all()


def test_the_usual_vector_is_a_median() -> None:
    vectors = pd.Series([[0.0, 1.0]] * 10 + [[1e38, -1e38]] + [None])
    usual = usual_vectors(vectors, pd.Series(1, index=vectors.index), across_speakers=True)
    assert all(vector is not None and list(vector) == [0.0, 1.0] for vector in usual)
