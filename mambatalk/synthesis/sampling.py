"""Draw codes at random instead of taking the most likely one, so that speech has many motions."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.motion.skeleton import PARTS, Part

SAMPLED_PARTS = PARTS[1:]
"""The body. The face has no probabilities: it takes the code nearest to its latent."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How codes of the body are drawn (nucleus sampling).

    The same seed gives the same motion on every device, alone, in a batch or as a stream.

    Args:
        seed: Random seed, not negative.
        temperature: Divides the logits. Below 1 likely codes become more likely.
        top_p: Share of the probability that is drawn from: the most likely codes that reach it.

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

    def choose(self, part: Part, logits: Tensor, window: int) -> Tensor:
        """Draw codes (B, T).

        Args:
            part: Part of the body.
            logits: Logits (B, T, codes) of one window.
            window: Number of the window in its clip.

        """
        scaled = logits.float() / self.temperature
        ordered, order = scaled.sort(dim=-1, descending=True)
        probability = ordered.softmax(dim=-1)
        # The most likely code stays, however small top_p is.
        before = probability.cumsum(dim=-1) - probability
        kept = ordered.masked_fill(before >= self.top_p, -torch.inf)
        kept[..., 0] = ordered[..., 0]

        # The largest logit plus Gumbel noise is a draw of the softmax. All clips of a batch share
        # the noise, so that a clip's motion does not depend on its neighbours.
        random = np.random.default_rng([self.seed, window, PARTS.index(part)])
        gumbel = torch.from_numpy(random.gumbel(size=tuple(logits.shape[-2:])))
        noise = gumbel.to(scaled).expand_as(scaled).gather(-1, order)
        drawn = (kept + noise).argmax(dim=-1, keepdim=True)
        return order.gather(-1, drawn).squeeze(-1)
