"""Draws of code sequences as Triton kernels, for CUDA.

Each frame of a sequence depends on the one before it, so that PyTorch launches some thirty small
kernels a frame, which take a GPU longer than the network does. Here one program draws a whole
sequence of `CodeChain`. The thousands of histories of a `HistoryChain` are divided among many
programs, with one launch for each frame forward and one for the whole backward pass. Sums have a
fixed order: the same inputs always give the same codes. `TRITON_INTERPRET=1` runs them on a CPU.

Source: `synthesis/chain.py` and `synthesis/history_chain.py`, which have the formulas.
"""

from typing import Final, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

TRANSITION_ROWS: Final = 32
"""Rows of the transitions that a program multiplies at a time."""
HISTORIES: Final = 64
"""Histories of a program."""
CHUNK: Final = 256
"""Numbers that a program adds at a time."""


@triton.jit
def _code_chain_kernel(
    scores, prior, transitions, noise, filtered, codes,
    frames, size,
    SIZE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    clip = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, SIZE)
    real = k < size
    scores += clip * frames * size
    filtered += clip * frames * size
    codes += clip * frames

    # Forward: the distribution of each frame's code given the frames up to it.
    expected = tl.load(prior + clip * size + k, mask=real, other=0.0)
    for t in range(frames):
        score = tl.load(scores + t * size + k, mask=real, other=-float("inf"))
        weight = tl.log(expected) + score
        weight = tl.exp(weight - tl.max(weight, 0))
        tl.store(filtered + t * size + k, weight / tl.sum(weight, 0), mask=real)
        tl.debug_barrier()
        flow = tl.zeros([ROWS, SIZE], tl.float32)
        # Unrolled, so that the rows are loaded at the same time.
        for first in tl.static_range(0, SIZE, ROWS):
            i = first + tl.arange(0, ROWS)
            share = tl.load(filtered + t * size + i, mask=i < size, other=0.0)
            inside = (i < size)[:, None] & real[None, :]
            rows = tl.load(transitions + i[:, None] * size + k[None, :], mask=inside, other=0.0)
            flow += share[:, None] * rows
        expected = tl.sum(flow, 0)

    # Backward: each code given the one after it.
    share = tl.load(filtered + (frames - 1) * size + k, mask=real, other=0.0)
    drawn = tl.log(share) + tl.load(noise + (frames - 1) * size + k, mask=real, other=0.0)
    code = tl.argmax(drawn, 0)
    tl.store(codes + frames - 1, code)
    for back in range(1, frames):
        t = frames - 1 - back
        share = tl.load(filtered + t * size + k, mask=real, other=0.0)
        follows = tl.load(transitions + k * size + code, mask=real, other=0.0)
        drawn = tl.log(share) + tl.log(follows)
        drawn += tl.load(noise + t * size + k, mask=real, other=0.0)
        code = tl.argmax(drawn, 0)
        tl.store(codes + t, code)


def draw_codes(scores: Tensor, prior: Tensor, transitions: Tensor, noise: Tensor) -> Tensor:
    """Draw sequences of codes (B, T) of a `CodeChain`.

    Args:
        scores: Log-likelihood (B, T, K) of each code; -inf excludes a code.
        prior: Probability (B, K) of each code in the first frame, before its likelihood.
        transitions: Probability (K, K) of each code (column) after each code (row).
        noise: Gumbel noise (T, K) that decides the draw.

    """
    clips, frames, size = scores.shape
    codes = torch.empty(clips, frames, dtype=torch.int64, device=scores.device)
    width = triton.next_power_of_2(size)
    _code_chain_kernel[(clips,)](
        scores.float().contiguous(), prior.contiguous(), transitions.contiguous(),
        noise.float().contiguous(), torch.empty_like(scores, dtype=torch.float32), codes,
        frames, size,
        SIZE=width, ROWS=min(TRANSITION_ROWS, width), num_warps=8,
    )  # fmt: skip
    return codes


class Incoming(NamedTuple):
    """The pairs of a `HistoryChain` in the order of their second history."""

    first: Tensor
    """Number (S + 1,) of the first pair that leads to each history, and the number of pairs."""
    earlier: Tensor
    """First history (E,) of each pair."""
    earlier_code: Tensor
    """Latest code (E,) of the first history."""
    probabilities: Tensor
    """Probability (E,) of the second history after the first."""
    most: int
    """Largest number of pairs that lead to one history."""

    @classmethod
    def of(
        cls, earlier: Tensor, later: Tensor, probabilities: Tensor, history_code: Tensor
    ) -> "Incoming":
        """Sort pairs (E,) of histories by the second one; each history has a latest code (S,)."""
        order = later.argsort(stable=True)
        counts = torch.bincount(later, minlength=len(history_code))
        return cls(
            first=torch.nn.functional.pad(counts.cumsum(0), (1, 0)),
            earlier=earlier[order],
            earlier_code=history_code[earlier[order]],
            probabilities=probabilities[order],
            most=int(counts.max()),
        )


@triton.jit
def _total(sums, programs, CHUNK: tl.constexpr):
    """Return whether a frame's likelihoods leave any history, and the sum that remains."""
    n = tl.arange(0, CHUNK)
    weights = tl.zeros([CHUNK], tl.float64)
    expected = tl.zeros([CHUNK], tl.float64)
    for start in range(0, programs, CHUNK):
        inside = start + n < programs
        weights += tl.load(sums + 2 * (start + n), mask=inside, other=0.0)
        expected += tl.load(sums + 2 * (start + n) + 1, mask=inside, other=0.0)
    weight = tl.sum(weights, 0)
    # If everything that may follow is excluded, the transitions decide.
    possible = weight > 0
    return possible, tl.where(possible, weight, tl.sum(expected, 0))


@triton.jit
def _weights(
    expected, likelihoods, frame, history, code, inside, possible, width, size
):  # fmt: skip
    """Return the weights of histories in a frame: what is expected, times its likelihood."""
    weight = tl.load(expected + frame * width + history, mask=inside, other=0.0)
    likelihood = tl.load(likelihoods + frame * size + code, mask=inside, other=0.0)
    return tl.where(possible, weight * likelihood, weight)


@triton.jit
def _history_step_kernel(
    prior, likelihoods, own, history_code, first, earlier, earlier_code, probabilities,
    expected, sums,
    t, frames, width, size,
    BEGINS: tl.constexpr, FOLLOWS: tl.constexpr,
    ROWS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    programs = tl.num_programs(0)
    clip = tl.program_id(1).to(tl.int64)
    own_first = tl.load(own + 2 * clip)
    own_count = tl.load(own + 2 * clip + 1) - own_first
    own_blocks = tl.cdiv(own_count, ROWS)
    if block >= own_blocks:
        return
    frame = clip * frames + t
    s = block * ROWS + tl.arange(0, ROWS)
    real = s < own_count
    # Loaded first, because memory answers late.
    code = tl.load(history_code + own_first + s, mask=real, other=0)
    likelihood = tl.load(likelihoods + frame * size + code, mask=real, other=0.0)
    if BEGINS and not FOLLOWS:
        value = tl.load(prior + clip * width + s, mask=real, other=0.0)
    else:
        if not BEGINS:
            before_sums = sums + (frame - 1) * programs * 2
            possible, total = _total(before_sums, own_blocks, CHUNK)
        begin = tl.load(first + own_first + s, mask=real, other=0)
        end = tl.load(first + own_first + s + 1, mask=real, other=0)
        # Nearly every history has one pair that leads to it. To load several at a time, most of
        # them masked, takes twice as long.
        value = tl.zeros([ROWS], tl.float64)
        for number in range(tl.max(end - begin, 0)):
            pair = begin + number
            inside = pair < end
            before = tl.load(earlier + pair, mask=inside, other=own_first) - own_first
            before_code = tl.load(earlier_code + pair, mask=inside, other=0)
            probability = tl.load(probabilities + pair, mask=inside, other=0.0)
            if BEGINS:
                weight = tl.load(prior + clip * width + before, mask=inside, other=0.0)
            else:
                weight = _weights(
                    expected, likelihoods, frame - 1, before, before_code, inside, possible,
                    width, size,
                )  # fmt: skip
            value += weight * probability
        if not BEGINS:
            value = value / total
    tl.store(expected + frame * width + s, value, mask=real)
    tl.store(sums + (frame * programs + block) * 2, tl.sum(value * likelihood, 0))
    tl.store(sums + (frame * programs + block) * 2 + 1, tl.sum(value, 0))


@triton.jit
def _history_draw_kernel(
    likelihoods, own, history_code, first, earlier, earlier_code, probabilities,
    expected, sums, uniform, codes,
    frames, width, size, programs,
    ROWS: tl.constexpr, LANES: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    clip = tl.program_id(0).to(tl.int64)
    own_first = tl.load(own + 2 * clip)
    own_count = tl.load(own + 2 * clip + 1) - own_first
    own_blocks = tl.cdiv(own_count, ROWS)
    history_code += own_first
    first += own_first
    codes += clip * frames
    frame = clip * frames + frames - 1

    # The last history: the first one at which the sum of weights exceeds the number drawn.
    possible, total = _total(sums + frame * programs * 2, own_blocks, CHUNK)
    bound = tl.load(uniform + frames - 1) * total
    before = tl.cast(0.0, tl.float64)
    chosen = own_count
    last = own_count * 0
    for start in range(0, own_count, CHUNK):
        s = start + tl.arange(0, CHUNK)
        code = tl.load(history_code + s, mask=s < own_count, other=0)
        weight = _weights(
            expected, likelihoods, frame, s, code, s < own_count, possible, width, size
        )
        exceeds = (before + tl.cumsum(weight, 0) > bound) & (weight > 0)
        chosen = tl.minimum(chosen, tl.min(tl.where(exceeds, s, own_count), 0))
        # Rounding may let no sum exceed the number: then the last one with a weight.
        last = tl.maximum(last, tl.max(tl.where(weight > 0, s, 0), 0))
        before += tl.sum(weight, 0)
    state = tl.where(chosen < own_count, chosen, last)
    tl.store(codes + frames - 1, tl.load(history_code + state))

    # Backward: each history given the one after it.
    for back in range(1, frames):
        t = frames - 1 - back
        frame = clip * frames + t
        possible, total = _total(sums + frame * programs * 2, own_blocks, CHUNK)
        lane = tl.arange(0, LANES)
        pair = tl.load(first + state) + lane
        inside = pair < tl.load(first + state + 1)
        history = tl.load(earlier + pair, mask=inside, other=own_first) - own_first
        code = tl.load(earlier_code + pair, mask=inside, other=0)
        probability = tl.load(probabilities + pair, mask=inside, other=0.0)
        weight = _weights(
            expected, likelihoods, frame, history, code, inside, possible, width, size
        )
        weight = weight * probability
        exceeds = tl.cumsum(weight, 0) > tl.load(uniform + t) * tl.sum(weight, 0)
        chosen_lane = tl.min(tl.where(exceeds & (weight > 0), lane, LANES), 0)
        last_lane = tl.max(tl.where(weight > 0, lane, 0), 0)
        chosen_lane = tl.where(chosen_lane < LANES, chosen_lane, last_lane)
        state = tl.load(earlier + tl.load(first + state) + chosen_lane) - own_first
        tl.store(codes + t, tl.load(history_code + state))


def draw_histories(
    likelihoods: Tensor,
    prior: Tensor,
    own: Tensor,
    history_code: Tensor,
    incoming: Incoming,
    uniform: Tensor,
    *,
    follows: bool,
) -> Tensor:
    """Draw sequences of codes (B, T) of a `HistoryChain`.

    Args:
        likelihoods: Likelihood (B, T, K) of each code, up to a factor in each frame.
        prior: Probability (B, W) of the histories that are possible for each clip in the first
            frame, before its likelihood; or in the frame before, if the sequences follow one.
        own: First of these histories and the one after the last (B, 2), at most W apart. No other
            history is followed by one of them.
        history_code: Latest code (S,) of each history.
        incoming: The pairs of histories that follow each other.
        uniform: Numbers (T,) in [0, 1] that decide the draw.
        follows: Whether the sequences follow a frame.

    """
    clips, frames, size = likelihoods.shape
    width = prior.shape[1]
    programs = triton.cdiv(width, HISTORIES)
    likelihoods = likelihoods.double().contiguous()
    prior = prior.double().contiguous()
    own = own.contiguous()
    expected = prior.new_empty(clips, frames, width)
    sums = prior.new_empty(clips, frames, programs, 2)
    codes = torch.empty(clips, frames, dtype=torch.int64, device=prior.device)
    history_code = history_code.contiguous()
    pairs = (incoming.first, incoming.earlier, incoming.earlier_code, incoming.probabilities)
    for t in range(frames):
        _history_step_kernel[(programs, clips)](
            prior, likelihoods, own, history_code, *pairs, expected, sums,
            t, frames, width, size,
            BEGINS=t == 0, FOLLOWS=follows, ROWS=HISTORIES, CHUNK=CHUNK, num_warps=1,
        )  # fmt: skip
    _history_draw_kernel[(clips,)](
        likelihoods, own, history_code, *pairs, expected, sums, uniform.double().contiguous(),
        codes, frames, width, size, programs,
        ROWS=HISTORIES, LANES=triton.next_power_of_2(incoming.most), CHUNK=CHUNK, num_warps=4,
    )  # fmt: skip
    return codes
