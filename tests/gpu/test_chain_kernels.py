"""Codes that kernels draw against those that PyTorch draws, and computations side by side."""

import time
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import Tensor

from mambatalk.models.parallel import has_kernels, side_by_side
from mambatalk.synthesis.chain import CodeChain
from mambatalk.synthesis.history_chain import MEMORY, Chain, HistoryChain

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

CLIPS = 3


@cache
def code_chain(size: int) -> CodeChain:
    random = np.random.default_rng(0)
    return CodeChain.of_clips([random.integers(size, size=500) for _ in range(3)], size)


@cache
def history_chain(size: int, frames: int = 900, speakers: int = 2) -> HistoryChain:
    """Return a chain of some speakers, with histories that many others lead to."""
    random = np.random.default_rng(0)
    held = [np.repeat(random.integers(size, size=frames // 3), 3) for _ in range(speakers)]
    for codes in held:
        codes[:: frames // 20] = 0
        codes[frames // 2 : frames // 2 + 60] = 1
    return HistoryChain.of_clips(list(enumerate(held)), size)


def inputs(
    chain: Chain, frames: int, *, known: bool, excluded: bool
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    random = np.random.default_rng(frames)
    size = len(chain.shares)
    scores = torch.from_numpy(2 * random.standard_normal((CLIPS, frames, size))).float()
    if excluded:
        # All but one code in one frame, and half of the codes in all frames.
        scores[:, frames // 2, 1:] = -torch.inf
        scores[:, :, size // 2 + 1 :] = -torch.inf
    before = torch.from_numpy(random.integers(size, size=(CLIPS, MEMORY))) if known else None
    noise = torch.from_numpy(random.gumbel(size=(frames, size))).float()
    # The last one has no training clips.
    return scores, before, noise, torch.tensor([0, 1, 99])


@pytest.mark.parametrize("excluded", [False, True])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("frames", [1, 60])
@pytest.mark.parametrize(
    "build",
    [
        partial(code_chain, 5),
        partial(code_chain, 256),
        partial(history_chain, 5),
        partial(history_chain, 40, 6_000),
        partial(history_chain, 40, 600, 25),
    ],
)
def test_kernels_draw_the_codes_that_pytorch_draws(
    build: Callable[[], Chain], frames: int, known: bool, excluded: bool
) -> None:
    chain = build()
    given = inputs(chain, frames, known=known, excluded=excluded)
    expected = chain.draw(*given)
    on_gpu = [None if tensor is None else tensor.cuda() for tensor in given]
    assert has_kernels(on_gpu[0])
    drawn = chain.to("cuda").draw(*on_gpu)
    assert torch.equal(drawn.cpu(), expected)


def test_the_same_input_always_gives_the_same_codes() -> None:
    chain = history_chain(5).to("cuda")
    given = [tensor.cuda() for tensor in inputs(chain, 60, known=True, excluded=False)]
    first = chain.draw(*given)
    for _ in range(20):
        assert torch.equal(chain.draw(*given), first)


def test_a_clip_has_the_same_codes_beside_others() -> None:
    for chain in (code_chain(256).to("cuda"), history_chain(40).to("cuda")):
        scores, before, noise, speakers = (
            tensor.cuda() for tensor in inputs(chain, 60, known=True, excluded=False)
        )
        together = chain.draw(scores, before, noise, speakers)
        for clip in range(CLIPS):
            row = slice(clip, clip + 1)
            alone = chain.draw(scores[row], before[row], noise, speakers[row])
            assert torch.equal(alone, together[row])


def test_a_graph_computes_side_by_side_what_is_independent() -> None:
    cycles = 20_000_000

    def wait(number: int) -> Tensor:
        torch.cuda._sleep(cycles)
        return torch.full((1,), number, device="cuda")

    def seconds(tasks: int) -> float:
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            results = side_by_side([partial(wait, number) for number in range(tasks)])
        graph.replay()
        torch.cuda.synchronize()
        start = time.perf_counter()
        graph.replay()
        torch.cuda.synchronize()
        assert [int(result) for result in results] == list(range(tasks))
        return time.perf_counter() - start

    # One after the other they take four times as long.
    assert seconds(4) < 2 * seconds(1)
