"""Perplexity of codes: the effective number of codes that clips are made of."""

import numpy as np
import pytest
import torch

from mambatalk.metrics import CodePerplexity


def test_evenly_used_codes_count_fully_and_one_code_once() -> None:
    assert float(CodePerplexity()(torch.arange(8).repeat(5))) == pytest.approx(8)
    assert float(CodePerplexity()(torch.full((40,), 127))) == 1


def test_rare_codes_count_less() -> None:
    codes = torch.tensor([0] * 90 + [1] * 10)
    expected = np.exp(-(0.9 * np.log(0.9) + 0.1 * np.log(0.1)))
    assert float(CodePerplexity()(codes)) == pytest.approx(expected)


def test_the_mean_over_clips_is_weighted_by_frames() -> None:
    metric = CodePerplexity()
    metric.update(torch.zeros(300, dtype=torch.int16))
    metric.update(torch.arange(100))
    assert float(metric.compute()) == pytest.approx((300 * 1 + 100 * 100) / 400)


@pytest.mark.parametrize(
    "codes", [torch.zeros(0, dtype=torch.long), torch.zeros(2, 3, dtype=torch.long), torch.ones(4)]
)
def test_anything_but_the_codes_of_a_clip_is_refused(codes: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected whole numbers"):
        CodePerplexity().update(codes)
