"""Perplexity of the codes of a clip: how many different codes a motion is made of."""

import torch
from torch import Tensor

from mambatalk.metrics.variant import ClipMean


class CodePerplexity(ClipMean):
    """Number of equally frequent codes with the entropy of a clip's codes, averaged over clips.

    A generator whose codes have collapsed makes motion of a few codes, or of one (perplexity 1).
    Compare with the codes of the recording over the same clips.

    Formula: `exp(-sum of p log p)`, p being the share of each code among the clip's frames.

    Source: perplexity of codebooks (van den Oord et al., Neural Discrete Representation Learning,
    2017), of one clip.

    """

    def update(self, codes: Tensor) -> None:
        """Add one clip of codes (n,), not negative.

        Raises:
            ValueError: The codes are not whole numbers (n,) with n at least 1.

        """
        if codes.ndim != 1 or not len(codes) or codes.is_floating_point():
            raise ValueError(
                f"codes: expected whole numbers (n,) of one clip, found {codes.dtype} of shape"
                f" {tuple(codes.shape)}"
            )
        _, counts = codes.unique(return_counts=True)
        shares = counts.double() / len(codes)
        self.add(float(torch.exp(-(shares * shares.log()).sum())), len(codes))
