"""Mamba blocks and stacks stream, are causal, and start from the published initialisation."""

import math

import pytest
import torch
from torch.nn import functional

from mambatalk.models.mamba.block import MambaAttention, MambaBlock, MambaScan


@pytest.mark.parametrize("lengths", [[1] * 12, [5, 1, 6], [2, 10]])
@pytest.mark.parametrize("kind", ["block", "stack"])
def test_streaming_equals_the_pass_over_the_whole_sequence(kind: str, lengths: list[int]) -> None:
    torch.manual_seed(0)
    module = MambaBlock(8).eval() if kind == "block" else MambaScan(8, 8, 5, layers=3).eval()
    x = torch.randn(2, 12, 8)
    state = module.initial_state(2)
    pieces = []
    with torch.no_grad():
        whole = module(x)
        for piece in x.split(lengths, dim=1):
            y, state = module.stream(piece, state)
            pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-5, atol=1e-6)


def test_stack_does_not_depend_on_later_steps() -> None:
    torch.manual_seed(0)
    stack = MambaScan(8, 8, 5, layers=2).eval()
    x = torch.randn(1, 10, 8)
    changed = x.clone()
    changed[:, 6:, 0] += 1
    with torch.no_grad():
        before = stack(x)
        after = stack(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_stack_starts_from_the_published_initialisation() -> None:
    torch.manual_seed(0)
    stack = MambaAttention(32, 32, layers=2).requires_grad_(False)
    assert torch.equal(stack.attention.linear1.bias, torch.zeros(32))
    assert stack.layers[0].mixer.dt_proj.bias.abs().sum() > 0
    # Kaiming bound 1 / sqrt(128), divided by the square root of two branches in each of two layers.
    assert float(stack.layers[1].mlp.fc2.weight.abs().max()) <= math.sqrt(1 / 128) / 2


def test_initial_step_sizes_are_in_the_published_range() -> None:
    torch.manual_seed(0)
    steps = functional.softplus(MambaBlock(64).dt_proj.bias.detach())
    assert 1e-3 - 1e-6 <= float(steps.min()) < float(steps.max()) <= 0.1 + 1e-6
