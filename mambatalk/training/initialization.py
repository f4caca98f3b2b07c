"""First weights that fit the data, so that training begins with what differs between poses.

In 6D form all poses of a person are nearly alike. Weights drawn without looking answer to what
poses have in common: training then rests at the mean pose for hundreds of steps before codes carry
any motion. Here the first and the last convolution take on the data's mean and scale; the network's
shape, and what it can become, stay as they are.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

CONSTANT: Final = 0.05
"""A channel that varies less than this (of 6D rotations, expressions, m/s) is taken to vary this
much.
"""


@torch.no_grad()
def fit_scale(data: Iterable[Tensor], *, readers: Sequence[nn.Conv1d], writer: nn.Conv1d) -> None:
    """Make a new auto-encoder treat data as if each channel had mean 0 and deviation 1.

    Args:
        data: What it will read and write, batches (B, T, D).
        readers: Its convolutions of the input, changed in place.
        writer: Its convolution to the output, changed in place.

    """
    mean, deviation = _moments(data)
    for reader in readers:
        reader.weight /= deviation[:, None]
        _bias(reader).sub_(reader.weight.sum(2) @ mean)
    writer.weight *= deviation[:, None, None]
    _bias(writer).mul_(deviation).add_(mean)


def _bias(layer: nn.Conv1d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _moments(data: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (D,), the latter at least `CONSTANT`."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in data:
        rows = batch.detach().flatten(0, -2).double().cpu()
        count, total, squares = (
            count + len(rows),
            total + rows.sum(0),
            squares + rows.square().sum(0),
        )
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=CONSTANT)
    return mean.to(batch), deviation.to(batch)
