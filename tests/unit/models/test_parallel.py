"""Results of computations at the same time, in order."""

import threading

import pytest
import torch

from mambatalk.models.parallel import on_threads


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("count", [0, 1, 9])
def test_results_come_in_the_order_of_the_items(device: str, count: int) -> None:
    found = on_threads(lambda item: 2 * item, range(count), torch.device(device))
    assert list(found) == list(range(0, 2 * count, 2))


def test_several_threads_work_for_a_gpu_and_an_error_reaches_the_caller() -> None:
    both = threading.Barrier(2, timeout=20)

    def task(item: int) -> int:
        # One thread alone would wait here in vain.
        both.wait()
        if item:
            raise ValueError(f"item {item}")
        return item

    found = on_threads(task, range(2), torch.device("cuda"))
    assert next(found) == 0
    with pytest.raises(ValueError, match="item 1"):
        next(found)
