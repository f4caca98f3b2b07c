"""Draw codes at random, so that the same speech has many motions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.motion.skeleton import PARTS, Part
from mambatalk.synthesis.history_chain import Chain


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How codes of the body are drawn.

    The same seed gives the same motion alone, in a batch or as a stream.

    Args:
        seed: Random seed, not negative.
        temperature: Divides the logits. Below 1 likely codes become more likely.
        top_p: Share of the probability that is drawn from: the most likely codes that reach it
            (nucleus sampling).

    Raises:
        InputError: The seed is negative, the temperature not positive, or `top_p` not in (0, 1].

    """

    seed: int
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError("seed", f"expected 0 or more, found {self.seed}", "choose another")
        if not 0 < self.temperature < float("inf"):
            raise InputError(
                "temperature",
                f"expected a positive number, found {self.temperature}",
                "choose about 0.9",
            )
        if not 0 < self.top_p <= 1:
            raise InputError(
                "top-p", f"expected a share in (0, 1], found {self.top_p}", "choose about 0.9"
            )

    def noise(self, part: Part, window: int, rows: Sequence[int], size: int) -> Tensor:
        """Return the Gumbel noise (T, size) that decides the codes of a window.

        Args:
            part: Part of the body.
            window: Number of the window in its clip.
            rows: Number of frames that this window and the ones after it add, T in total, so that a
                frame is drawn with the same noise again.
            size: Number of codes.

        """
        # All clips of a batch share the noise, so that a clip's motion does not depend on its
        # neighbours.
        noise = np.empty((sum(rows), size))
        first = 0
        for number, count in enumerate(rows, start=window):
            random = np.random.default_rng([self.seed, number, PARTS.index(part)])
            random.random(out=noise[first : first + count])
            first += count
        # `random.gumbel` computes the same one number at a time, which takes four times as long.
        np.subtract(1, noise, out=noise)
        for _ in range(2):
            np.negative(np.log(noise, out=noise), out=noise)
        return torch.from_numpy(noise).float()

    def choose(
        self,
        logits: Tensor,
        noise: Tensor,
        *,
        chain: Chain | None = None,
        before: Tensor | None = None,
        speakers: Tensor | None = None,
    ) -> Tensor:
        """Draw codes (B, T).

        Args:
            logits: Logits (B, T, codes) of consecutive frames of one window.
            noise: Noise (T, codes) of these frames (`noise`), on the same device.
            chain: Draw sequences with its transitions. If None, draw each frame independently.
            before: Codes (B, n) of the frames before the first one, for the chain.
            speakers: Rows of the speaker embedding (B,), which a chain needs.

        """
        scores = logits.float() if chain is None else chain.likelihoods(logits)
        scores = self._likely(scores / self.temperature)
        if chain is not None:
            assert speakers is not None
            return chain.draw(scores, before, noise, speakers)
        # The largest logit plus Gumbel noise is a draw of the softmax.
        return (scores + noise).argmax(dim=-1)

    def _likely(self, scores: Tensor) -> Tensor:
        """Return scores (B, T, codes) with -inf for codes outside the likely share."""
        if self.top_p == 1:
            return scores
        ordered, order = scores.sort(dim=-1, descending=True)
        probability = ordered.softmax(dim=-1)
        # The most likely code stays, however small top_p is.
        outside = probability.cumsum(dim=-1) - probability >= self.top_p
        outside[..., 0] = False
        kept = ordered.masked_fill(outside, -torch.inf)
        return torch.empty_like(scores).scatter(-1, order, kept)
