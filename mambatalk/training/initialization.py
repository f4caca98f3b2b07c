"""Data-dependent initialisation of auto-encoders and of the global-motion net.

In 6D form all poses of a person are nearly alike. A network with ordinary initial weights responds
mostly to what all poses have in common, and its training stays at the mean pose for hundreds of
steps before codes carry any motion. Here the mean and the scale of the data are built into the
first and the last convolution. The architecture and the functions that it can represent stay the
same.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def data_dependent_init(
    data: Iterable[Tensor],
    *,
    inputs: Sequence[nn.Conv1d],
    output: nn.Conv1d,
    min_deviation: float,
    targets: Iterable[Tensor] | None = None,
) -> None:
    """Make a new network treat its data as if each channel had mean 0 and deviation 1.

    Args:
        data: Batches (B, T, D) of the network's input.
        inputs: The convolutions that read the input, changed in place.
        output: The convolution that writes the output, changed in place.
        min_deviation: Smallest standard deviation, in the unit of the channel (6D rotations and
            expressions have none, velocities are in m/s). A channel that varies less is scaled as
            if it varied this much, so that noise in a constant channel is not amplified.
        targets: Batches (B, T, D) of the network's output. If None, it reconstructs `data`.

    """
    mean, deviation = moments(data, min_deviation)
    for layer in inputs:
        layer.weight /= deviation[:, None]
        _bias(layer).sub_(layer.weight.sum(2) @ mean)
    if targets is not None:
        mean, deviation = moments(targets, min_deviation)
    output.weight *= deviation[:, None, None]
    _bias(output).mul_(deviation).add_(mean)


def _bias(layer: nn.Conv1d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def moments(data: Iterable[Tensor], min_deviation: float) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (D,) of the channels of batches (..., D).

    The deviation is at least `min_deviation`.
    """
    count = 0
    total = torch.zeros(())
    squares = torch.zeros(())
    for batch in data:
        # In double precision: the variance below is a small difference of large numbers.
        rows = batch.detach().flatten(0, -2).double().cpu()
        count += len(rows)
        total = total + rows.sum(0)
        squares = squares + rows.square().sum(0)

    mean = total / count
    variance = squares / count - mean.square()
    deviation = variance.clamp(min=0).sqrt().clamp(min=min_deviation)
    return mean.to(batch), deviation.to(batch)
