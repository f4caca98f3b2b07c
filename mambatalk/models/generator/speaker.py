"""How the states of the generator depend on the speaker.

The published network adds the speaker's vector to the states (`AddedSpeaker`). `AdaptiveNorm` and
`SpeakerAttention` add a term that they compute from the states and the speaker. The last layer of
this term is zero at first: a new network does not depend on the speaker, and learns how far it
should.
"""

from typing import Final, Literal

from torch import Tensor, nn
from torch.nn import functional

from mambatalk.models.mamba.attention import attend

SpeakerForm = Literal["added", "adaptive", "attention"]

SPEAKER_VECTORS: Final = 8
"""Learned vectors of a speaker that `SpeakerAttention` attends to."""


class AddedSpeaker(nn.Module):
    """Add the vectors of the speaker (B, T, hidden) to the states (B, T, hidden)."""

    def forward(self, states: Tensor, speaker: Tensor) -> Tensor:
        """Return the sum."""
        return states + speaker


class AdaptiveNorm(nn.Module):
    """Add the normalised states, with scale and shift from the speaker's vector, to the states.

    Source: adaptive layer norm with zero initialisation (W. Peebles and S. Xie, Scalable Diffusion
    Models with Transformers, 2023).

    Args:
        hidden: Channels of the states and of the speaker's vector.

    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.projection = nn.Linear(hidden, 2 * hidden)
        nn.init.zeros_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def forward(self, states: Tensor, speaker: Tensor) -> Tensor:
        """Condition the states (B, T, hidden) on the vectors of the speaker (B, T, hidden)."""
        scale, shift = self.projection(functional.silu(speaker)).chunk(2, dim=-1)
        normalised = functional.layer_norm(states, states.shape[-1:])
        return states + scale * normalised + shift


class SpeakerAttention(nn.Module):
    """Attention from each state to the vectors of the speaker, whose output is zero at first.

    Args:
        hidden: Channels of the states and of the speaker's vectors.
        heads: Attention heads.
        dropout: Probability of dropout on the attention weights.

    """

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(hidden, heads, dropout, batch_first=True)
        nn.init.zeros_(self.attention.out_proj.weight)

    def forward(self, states: Tensor, speaker: Tensor) -> Tensor:
        """Condition the states (B, T, hidden) on the vectors of the speaker (B, K, hidden)."""
        normalised = functional.layer_norm(states, states.shape[-1:])
        return states + attend(self.attention, normalised, speaker)


def speaker_condition(form: SpeakerForm, hidden: int, heads: int, dropout: float) -> nn.Module:
    """Build a module that conditions states on the speaker.

    Args:
        form: Kind of conditioning.
        hidden: Channels of the states.
        heads: Heads of the attention to the speaker; only "attention" uses it.
        dropout: Probability of dropout in that attention.

    """
    if form == "adaptive":
        return AdaptiveNorm(hidden)
    if form == "attention":
        return SpeakerAttention(hidden, heads, dropout)
    return AddedSpeaker()
