"""Codes of a window as a sequence: the network's predictions, joined by transitions from training.

The network predicts the codes of each frame independently. Where speech leaves a choice open, the
best code of each frame is the same in all frames, so that a part stands still; a draw in each frame
jumps from choice to choice, so that it trembles. Here codes are the hidden states of a Markov chain
and the network's probabilities are its emissions, divided by the shares of the codes to become
likelihoods (H. Bourlard and N. Morgan, Connectionist Speech Recognition, 1994). Sequences are drawn
by forward filtering and backward sampling. The legs have a chain with a longer memory
(`synthesis/history_chain.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.models.parallel import has_kernels
from mambatalk.motion.skeleton import PARTS

CHAINED_PARTS: Final = PARTS[1:]
"""The body. The face has no probabilities: it takes the code nearest to its latent."""
EMISSION_WEIGHT: Final = 2.0
"""Weight of the network's probabilities beside the transitions. With 1 the arms follow speech less
well: on the sample the correlation of the upper body is 0.68 instead of 0.73.
"""
_PSEUDO_TRANSITIONS: Final = 0.5
"""Transitions added to every code, spread by the shares, so that none is impossible."""
_PSEUDO_FRAMES: Final = 0.01
"""Frames added to every code, so that one that training never used has a share."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeChain:
    """Statistics of the codes of one part in the training split."""

    shares: Tensor
    """Share (K,) of each code."""
    transitions: Tensor
    """Probability (K, K) of each code (column) in the frame after each code (row)."""

    @classmethod
    def of_clips(cls, clips: Iterable[NDArray[np.integer]], size: int) -> "CodeChain":
        """Count the codes (n,) of clips, each below `size`."""
        sequences = list(clips)
        shares = code_shares(sequences, size)
        pairs = np.zeros((size, size))
        for codes in sequences:
            np.add.at(pairs, (codes[:-1], codes[1:]), 1)
        pairs += _PSEUDO_TRANSITIONS * shares
        transitions = pairs / pairs.sum(axis=1, keepdims=True)
        return cls(
            shares=torch.from_numpy(shares).float(),
            transitions=torch.from_numpy(transitions).float(),
        )

    def to(self, device: torch.device | str) -> "CodeChain":
        """Return the chain on a device."""
        return CodeChain(shares=self.shares.to(device), transitions=self.transitions.to(device))

    def likelihoods(self, logits: Tensor) -> Tensor:
        """Return the weighted log-likelihoods (B, T, K) of logits (B, T, K)."""
        return EMISSION_WEIGHT * code_likelihoods(logits, self.shares)

    def draw(
        self, scores: Tensor, before: Tensor | None, noise: Tensor, speakers: Tensor
    ) -> Tensor:
        """Draw sequences of codes (B, T).

        Args:
            scores: Log-likelihood (B, T, K) of each code, up to a constant in each frame; -inf
                excludes a code.
            before: Codes (B, n) of the frames before the first one. If None, the sequences follow
                no frame.
            noise: Gumbel noise (T, K) that decides the draw.
            speakers: Rows of the speaker embedding (B,); not used, because the transitions are
                counted over all speakers.

        """
        prior = self.shares if before is None else self.transitions[before[:, -1]]
        if has_kernels(scores):
            from mambatalk.synthesis.triton_chain import draw_codes

            return draw_codes(scores, prior.expand(len(scores), -1), self.transitions, noise)
        emission = scores.float().unbind(dim=1)
        # Forward: the distribution of each frame's code given the frames up to it.
        filtered = [(prior.log() + emission[0]).softmax(dim=-1)]
        for frame in emission[1:]:
            predicted = filtered[-1] @ self.transitions
            filtered.append((predicted.log() + frame).softmax(dim=-1))

        # Backward: each code given the one after it. The largest of log-probability plus Gumbel
        # noise is a draw.
        codes = [(filtered[-1].log() + noise[-1]).argmax(dim=-1)]
        for t in range(len(filtered) - 2, -1, -1):
            given = filtered[t].log() + self.transitions[:, codes[-1]].T.log()
            codes.append((given + noise[t]).argmax(dim=-1))
        return torch.stack(codes[::-1], dim=1)


def code_shares(clips: Sequence[NDArray[np.integer]], size: int) -> NDArray[np.float64]:
    """Return the share (K,) of each code in the codes (n,) of clips; none is 0."""
    frames = np.full(size, _PSEUDO_FRAMES)
    for codes in clips:
        frames += np.bincount(codes, minlength=size)
    shares: NDArray[np.float64] = frames / frames.sum()
    return shares


def code_likelihoods(logits: Tensor, shares: Tensor) -> Tensor:
    """Return log-likelihoods (B, T, K): the network's probabilities, divided by the shares (K,)."""
    return logits.float().log_softmax(dim=-1) - shares.log()
