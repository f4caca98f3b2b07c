"""Copies share gestures at one distance; gestures that are alike by chance do not."""

import base64
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from mambatalk.clips.landmarks import DESCRIPTION, SCALE, TICKS
from mambatalk.clips.near_duplicates import find_near_duplicates

TIMES = np.array([1.0, 4.6, 8.85, 11.05, 14.65, 16.4, 19.1])


def landmarks(times: Sequence[float], gestures: Sequence[int]) -> str:
    """Return landmarks as text; equal numbers are equal gestures, and others are far apart."""
    descriptions = np.random.default_rng(0).normal(size=(40, DESCRIPTION))[list(gestures)]
    values = np.column_stack([np.rint(np.asarray(times) * TICKS), descriptions * SCALE])
    return base64.b64encode(values.astype("<i2").tobytes()).decode()


def copies(first: str, second: str) -> dict[str, list[str]]:
    table = pd.DataFrame(
        {"clip_id": ["a", "b"], "split": ["train", "test"], "motion_landmarks": [first, second]}
    )
    found = find_near_duplicates(table, "motion")
    return {clip: [one.clip_id for one in others] for clip, others in found.items()}


@pytest.mark.parametrize("speed", [0.97, 0.99, 1.0, 1.01, 1.03])
def test_a_part_at_another_speed_is_a_copy(speed: float) -> None:
    part = landmarks((TIMES[2:6] - 4.6) * speed, [2, 3, 4, 5])
    assert copies(landmarks(TIMES, range(7)), part) == {"a": ["b"], "b": ["a"]}


def test_gestures_alike_by_chance_are_not_a_copy() -> None:
    """As in a sample of 14 hours: three of four gestures, at delays of 4.6, 4.7 and 4.45 s."""
    other = landmarks([0.7, 6.45, 9.95, 11.95], [30, 3, 4, 5])
    assert copies(landmarks(TIMES, range(7)), other) == {}


@pytest.mark.parametrize("by_chance", [{3: 0.25}, {0: 0.25, 1: 0.25}])
def test_some_matches_by_chance_hide_no_copy(by_chance: dict[int, float]) -> None:
    """Some of six equal gestures are repeated ones, a quarter of a second away."""
    times = TIMES[:6].copy()
    for gesture, away in by_chance.items():
        times[gesture] += away
    assert copies(landmarks(TIMES, range(7)), landmarks(times, range(6))) == {
        "a": ["b"],
        "b": ["a"],
    }
