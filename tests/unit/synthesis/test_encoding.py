"""Encoded windows of clips side by side, with an encoder that says which windows it got."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambatalk.models.generator.network import Fused
from mambatalk.synthesis.encoding import Job, encoded_ahead, encoded_windows
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


@pytest.fixture(params=[1, 2, 5], scope="module", ids="{} threads".format)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
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


def groups(count: int, seen: list[int]) -> Iterator[Job]:
    """Yield encoders of groups that note the number of threads they have."""

    def encoded(number: int) -> Fused:
        seen.append(torch.get_num_threads())
        return Fused(torch.tensor([number]), torch.tensor([number]))

    for number in range(count):
        yield lambda number=number: encoded(number)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_each_half_of_the_threads_has_work_while_there_are_groups(threads: int, count: int) -> None:
    encoding: list[int] = []
    generating = []
    for number, group in enumerate(encoded_ahead(groups(count, encoding), torch.device("cpu"))):
        assert int(group.face) == number
        generating.append(torch.get_num_threads())
    half = max(1, threads // 2)
    other = threads - half if threads > 1 else 1
    # Nothing is generated beside the first group, and nothing is encoded beside the last.
    if count:
        assert encoding == [threads] + [half] * (count - 1)
        assert generating == [other] * (count - 1) + [threads]
    assert torch.get_num_threads() == threads


def test_an_error_of_an_encoder_reaches_the_caller_who_has_all_threads_again(threads: int) -> None:
    def failing() -> Iterator[Job]:
        yield from groups(1, [])
        yield lambda: Fused(*torch.zeros(3))

    encoded = encoded_ahead(failing(), torch.device("cpu"))
    next(encoded)
    with pytest.raises(TypeError):
        next(encoded)
    assert torch.get_num_threads() == threads


def test_a_caller_who_stops_early_has_all_threads_again(threads: int) -> None:
    encoded = encoded_ahead(groups(9, []), torch.device("cpu"))
    next(encoded)
    encoded.close()
    assert torch.get_num_threads() == threads
