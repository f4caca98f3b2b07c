"""Codes of the legs as a sequence: what followed the same last codes in training.

A shift of weight takes 27 frames and a pair of steps 60. A chain that remembers one code
(`synthesis/chain.py`) leaves such a movement at any time, or stays in its middle. Here a state is
the last eight codes of one speaker, which say how far a movement has come, and the network says
when it begins. Source: Markov chains of higher order (C. Shannon, A Mathematical Theory of
Communication, 1948). docs/experiments.md compares both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.models.parallel import has_kernels
from mambatalk.motion.skeleton import Part
from mambatalk.synthesis.chain import (
    CHAINED_PARTS,
    CodeChain,
    code_likelihoods,
    code_shares,
)

if TYPE_CHECKING:
    from mambatalk.synthesis.triton_chain import Incoming

MEMORY: Final = 8
"""Codes that a state remembers, 0.27 s."""
MAX_FRAMES: Final = 6_000
"""Frames of a speaker that are counted, 200 s, which bounds time and memory of a draw."""
MEAN_WEIGHT: Final = 0.2
"""Weight of the network's probabilities beside the transitions where they are divided by means.
Neighbouring frames repeat each other, and a movement has 27 to 60 of them: with 1 a doubt between a
step and a shift of weight always ends as a shift.
"""
SMALLEST_MEAN: Final = 1e-4
"""Smallest mean that is divided by, so that a code the network never expects gains nothing."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class HistoryChain:
    """Statistics of the codes of one part in the training split, over histories of codes.

    A history is the codes of a frame and of the `MEMORY - 1` frames before it.
    """

    shares: Tensor
    """Share (K,) of each code."""
    histories: Tensor
    """Distinct histories (S, MEMORY) of every speaker, the latest code last, sorted by speaker."""
    speakers: Tensor
    """Row of the speaker embedding (S,) of each history."""
    counts: Tensor
    """Frames (S,) with each history."""
    earlier: Tensor
    """First history (E,) of each pair of histories that follow each other."""
    later: Tensor
    """Second history (E,) of each pair."""
    probabilities: Tensor
    """Probability (E,) of the second history after the first."""
    mean: Tensor | None = None
    """Mean probability (K,) of each code by the network over training speech. Without it, as in
    older bundles, the share of a code takes its place, which leaves the network's bias.
    """

    @classmethod
    def of_clips(
        cls, clips: Iterable[tuple[int, NDArray[np.integer]]], size: int
    ) -> "HistoryChain":
        """Count the histories of clips.

        Args:
            clips: Row of the speaker embedding and codes (n,) of each clip, each below `size`.
            size: Number of codes.

        """
        taken: dict[int, int] = {}
        rows = []
        first = []
        codes = []
        for speaker, sequence in clips:
            codes.append(sequence)
            kept = sequence[: MAX_FRAMES - taken.get(speaker, 0)].astype(np.int64)
            if not len(kept):
                continue
            taken[speaker] = taken.get(speaker, 0) + len(kept)
            # The frames before a clip count as its first code.
            padded = np.concatenate([np.repeat(kept[0], MEMORY - 1), kept])
            windows = np.lib.stride_tricks.sliding_window_view(padded, MEMORY)
            rows.append(np.column_stack([np.full(len(kept), speaker), windows]))
            first.append(np.arange(len(kept)) == 0)

        states, state, counts = np.unique(
            np.concatenate(rows), axis=0, return_inverse=True, return_counts=True
        )
        state = state.ravel()
        following = np.flatnonzero(~np.concatenate(first))
        pairs, pair_counts = np.unique(
            np.column_stack([state[following - 1], state[following]]), axis=0, return_counts=True
        )
        pairs, pair_counts = _with_ends(states, counts, pairs, pair_counts)
        followed = np.bincount(pairs[:, 0], pair_counts, minlength=len(states))
        return cls(
            shares=torch.from_numpy(code_shares(codes, size)).float(),
            histories=torch.from_numpy(states[:, 1:].copy()),
            speakers=torch.from_numpy(states[:, 0].copy()),
            counts=torch.from_numpy(counts).double(),
            earlier=torch.from_numpy(pairs[:, 0].copy()),
            later=torch.from_numpy(pairs[:, 1].copy()),
            probabilities=torch.from_numpy(pair_counts / followed[pairs[:, 0]]),
        )

    def to(self, device: torch.device | str) -> "HistoryChain":
        """Return the chain on a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return HistoryChain(
            **{name: value.to(device) for name, value in values.items() if value is not None}
        )

    def likelihoods(self, logits: Tensor) -> Tensor:
        """Return the weighted log-likelihoods (B, T, K) of logits (B, T, K)."""
        if self.mean is None:
            return code_likelihoods(logits, self.shares)
        return MEAN_WEIGHT * code_likelihoods(logits, self.mean.clamp_min(SMALLEST_MEAN))

    def draw(
        self, scores: Tensor, before: Tensor | None, noise: Tensor, speakers: Tensor
    ) -> Tensor:
        """Draw sequences of codes (B, T).

        Args:
            scores: Log-likelihood (B, T, K) of each code, up to a constant in each frame; -inf
                excludes a code, unless it excludes every code that may follow.
            before: Codes (B, n) of the frames before the first one. If None, the sequences follow
                no frame.
            noise: Gumbel noise (T, K) that decides the draw; the first column is used.
            speakers: Rows of the speaker embedding (B,). A speaker without training clips has the
                histories of the speaker with most.

        """
        # The distribution function of Gumbel noise maps it to uniform numbers.
        uniform = torch.exp(-torch.exp(-noise[:, 0].double()))
        scores = scores.double()
        likelihoods = (scores - scores.amax(dim=-1, keepdim=True)).exp()
        if has_kernels(scores):
            return self._draw_with_kernels(likelihoods, before, uniform, speakers)
        codes = speakers.new_empty(likelihoods.shape[:2])
        for speaker in speakers.unique().tolist():
            rows = speakers == speaker
            own_before = None if before is None else before[rows]
            codes[rows] = self._of_speaker(speaker)._draw(likelihoods[rows], own_before, uniform)
        return codes

    def _draw_with_kernels(
        self, likelihoods: Tensor, before: Tensor | None, uniform: Tensor, speakers: Tensor
    ) -> Tensor:
        from mambatalk.synthesis.triton_chain import draw_histories

        own = self._range(speakers)
        history = own[:, :1] + torch.arange(self._widest, device=own.device)
        inside = history < own[:, 1:]
        history = history * inside
        expected = _normalised(self.counts[history] * inside)
        if before is not None:
            expected = _matching(self.histories[history], before, expected)
        return draw_histories(
            likelihoods,
            expected,
            own,
            self.histories[:, -1],
            self._incoming,
            uniform,
            follows=before is not None,
        )

    def _draw(self, likelihoods: Tensor, before: Tensor | None, uniform: Tensor) -> Tensor:
        """Draw sequences of codes (B, T) from all histories.

        Args:
            likelihoods: Likelihood (B, T, K) of each code, up to a factor in each frame.
            before: Codes (B, n) of the frames before the first one. If None, the sequences follow
                no frame.
            uniform: Numbers (T,) in [0, 1] that decide the draw.

        """
        expected = _normalised(self.counts.expand(len(likelihoods), -1))
        if before is not None:
            expected = self._next(_matching(self.histories[None], before, expected))
        code = self.histories[:, -1]

        # Forward: the distribution of each frame's history given the frames up to it.
        filtered = []
        for likelihood in likelihoods.unbind(dim=1):
            weights = expected * likelihood[:, code]
            # If everything that may follow is excluded, the transitions decide.
            possible = weights.sum(dim=1, keepdim=True) > 0
            filtered.append(_normalised(torch.where(possible, weights, expected)))
            expected = self._next(filtered[-1])

        # Backward: each history given the one after it.
        state = _choose(filtered[-1], uniform[-1])
        states = [state]
        for t in range(len(filtered) - 2, -1, -1):
            flow = filtered[t][:, self.earlier] * self.probabilities
            pair = _choose(flow * (self.later == state[:, None]), uniform[t])
            state = self.earlier[pair]
            states.append(state)
        return code[torch.stack(states[::-1], dim=1)]

    def _of_speaker(self, speaker: int) -> "HistoryChain":
        """Return the chain of one speaker's histories (`_range`).

        They are few among those of a whole corpus, and no transition leads to or from others.
        """
        if speaker not in self._speaker_chains:
            first, end = self._range(self.speakers.new_tensor([speaker])).tolist()[0]
            own = (self.earlier >= first) & (self.earlier < end)
            self._speaker_chains[speaker] = HistoryChain(
                shares=self.shares,
                histories=self.histories[first:end],
                speakers=self.speakers[first:end],
                counts=self.counts[first:end],
                earlier=self.earlier[own] - first,
                later=self.later[own] - first,
                probabilities=self.probabilities[own],
            )
        return self._speaker_chains[speaker]

    @cached_property
    def _speaker_chains(self) -> "dict[int, HistoryChain]":
        return {}

    def _range(self, speakers: Tensor) -> Tensor:
        """Return the first history of each speaker and the one after the last (B, 2).

        They are sorted by speaker. A speaker without any has those of the speaker with most.
        """
        edges = [
            torch.searchsorted(self.speakers, speakers.contiguous(), side=side)
            for side in ("left", "right")
        ]
        own = torch.stack(edges, dim=1)
        return torch.where(own[:, :1] < own[:, 1:], own, self._largest)

    @cached_property
    def _largest(self) -> Tensor:
        """Range (2,) of the histories of the speaker with most."""
        counts = torch.bincount(self.speakers)
        end = counts.cumsum(0)[counts.argmax()]
        return torch.stack([end - counts.max(), end])

    @cached_property
    def _widest(self) -> int:
        """Number of histories of the speaker with most."""
        return int(self._largest[1] - self._largest[0])

    @cached_property
    def _incoming(self) -> "Incoming":
        """The pairs as the kernels read them."""
        from mambatalk.synthesis.triton_chain import Incoming

        return Incoming.of(self.earlier, self.later, self.probabilities, self.histories[:, -1])

    def _next(self, weights: Tensor) -> Tensor:
        """Return the distribution (B, S) of the next history."""
        flow = weights[:, self.earlier] * self.probabilities
        return torch.zeros_like(weights).index_add(1, self.later, flow)


def _with_ends(states: Ints, counts: Ints, pairs: Ints, pair_counts: Ints) -> tuple[Ints, Ints]:
    """Add pairs for histories that occur only at the end of clips, and so are never followed.

    Such a history is followed by all histories of the speaker that follow its last code. If no
    frame of the speaker follows that code, it is followed by all histories of the speaker.

    Args:
        states: Speaker and codes (S, 1 + MEMORY) of each history.
        counts: Frames (S,) with each history.
        pairs: Histories (E, 2) that followed each other.
        pair_counts: How often (E,) they did.

    Returns:
        Pairs and their counts, with the added ones.

    """
    added = []
    numbers = []
    for end in np.setdiff1d(np.arange(len(states)), pairs[:, 0]):
        own = states[:, 0] == states[end, 0]
        followers = np.flatnonzero(own & (states[:, -2] == states[end, -1]))
        if not len(followers):
            followers = np.flatnonzero(own)
        added.append(np.column_stack([np.full(len(followers), end), followers]))
        numbers.append(counts[followers])
    return np.concatenate([pairs, *added]), np.concatenate([pair_counts, *numbers])


def _matching(histories: Tensor, before: Tensor, weights: Tensor) -> Tensor:
    """Return the distribution (B, S) of the histories that end with the most of these codes.

    Args:
        histories: Codes of the histories (B or 1, S, MEMORY).
        before: Codes (B, n) of the last frames.
        weights: Weight (B, S) of each history.

    """
    longest = torch.ones_like(weights[:, :1], dtype=torch.bool)
    for back in range(1, min(before.shape[1], MEMORY) + 1):
        matching = weights * (histories[..., -back] == before[:, -back, None])
        longest = longest & (matching.sum(dim=1, keepdim=True) > 0)
        weights = torch.where(longest, matching, weights)
    return _normalised(weights)


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=1, keepdim=True)


def _choose(weights: Tensor, uniform: Tensor) -> Tensor:
    """Return indices (B,) drawn in proportion to weights (B, n), by a number () in [0, 1]."""
    cumulative = weights.cumsum(dim=1)
    total = cumulative[:, -1:]
    # At most the last index with a weight, because rounding may exceed the sum.
    last = (cumulative < total).sum(dim=1)
    return torch.minimum((cumulative <= uniform * total).sum(dim=1), last)


Chain = CodeChain | HistoryChain
Chains = Mapping[Part, Chain]
"""The chain of each part of the body."""


def chains_of_clips(
    clips: Iterable[tuple[int, Mapping[Part, NDArray[np.integer]]]], size: int
) -> Chains:
    """Count the codes of the body's parts in the training clips.

    Args:
        clips: Row of the speaker embedding, and codes (n,) by part, of each clip.
        size: Number of codes of a part.

    """
    chosen = list(clips)
    chains: dict[Part, Chain] = {}
    for part in CHAINED_PARTS:
        sequences = [(speaker, codes[part]) for speaker, codes in chosen]
        if part == "lower":
            chains[part] = HistoryChain.of_clips(sequences, size)
        else:
            chains[part] = CodeChain.of_clips([codes for _, codes in sequences], size)
    return chains
