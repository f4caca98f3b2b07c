"""First weights that fit the data, so that training begins with what differs between poses.

In 6D form all poses of a person are nearly alike. Weights drawn without looking answer to what poses have in common:
training then rests at the mean pose for hundreds of steps before codes carry any motion. Here the first and the last
convolution take on the data's mean and scale; the network's shape, and what it can become, stay as they are.
"""

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn

from mambatalk.models.vqvae import VQVAE

CONSTANT: Final = 0.05
"""A channel that varies less than this (of 6D rotations, expressions, m/s) is taken to vary this much."""
WINDOWS: Final = 1024
"""So many windows say enough of the mean and scale of a corpus."""


@torch.no_grad()
def fit_scale(network: VQVAE, data: Iterable[Tensor]) -> None:
    """Make a new auto-encoder treat data as if each channel had mean 0 and deviation 1.

    Args:
        network: As built; changed in place.
        data: Its inputs, batches (B, T, D).

    """
    mean, deviation = _moments(data)
    first, last = network.encoder[0], network.decoder[-1]
    assert isinstance(first, nn.Conv1d)
    assert isinstance(last, nn.Conv1d)
    assert first.bias is not None
    assert last.bias is not None
    first.weight /= deviation[:, None]
    first.bias -= first.weight.sum(2) @ mean
    last.weight *= deviation[:, None, None]
    last.bias.mul_(deviation).add_(mean)


def _moments(data: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (D,), the latter at least `CONSTANT`."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in data:
        rows = batch.detach().flatten(0, -2).double().cpu()
        count, total, squares = count + len(rows), total + rows.sum(0), squares + rows.square().sum(0)
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=CONSTANT)
    return mean.to(batch), deviation.to(batch)
