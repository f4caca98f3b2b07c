"""Encoded windows of clips side by side, with an encoder that says which windows it got."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambatalk.models.generator.network import Fused
from mambatalk.synthesis.encoding import encoded_windows
from mambatalk.synthesis.layout import ClipInputs


def clips_of(count: int) -> list[ClipInputs]:
    return [
        ClipInputs(audio=torch.zeros(1, 3), words=torch.zeros(1), first_frame=number)
        for number in range(count)
    ]


def encode(windows: Sequence[tuple[ClipInputs, int]]) -> Fused:
    """Return clip (counted from 1) and window of each row."""
    rows = [[[clip.first_frame + 1.0, number]] for clip, number in windows]
    return Fused(torch.tensor(rows), torch.tensor(rows))


@pytest.mark.parametrize("all_rows", [False, True])
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_each_step_has_the_windows_of_the_clips_that_go_on(
    counts: list[int], *, all_rows: bool
) -> None:
    counts.sort(reverse=True)
    steps = list(
        encoded_windows(encode, clips_of(len(counts)), counts, all_rows=all_rows, beside=None)
    )
    assert len(steps) == counts[0]
    for number, window in enumerate(steps):
        active = sum(count > number for count in counts)
        expected = [[[clip + 1.0, float(number)]] for clip in range(active)]
        if all_rows:
            expected += [[[0.0, 0.0]]] * (len(counts) - active)
        for branch in window:
            assert branch.tolist() == expected
